"""Batches on the device: images that fit stay there, others stream from the mapped shards."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from zoo.data.images import ROWS_AT_A_TIME
from zoo.data.part import BatchPart
from zoo.processor import memory_left

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.data.split import Split

T = TypeVar("T")
R = TypeVar("R")

CPU = torch.device("cpu")
RESIDENT_FRACTION = 0.5
"""Fraction of the free memory that images may take before they are streamed."""


class TrainingData(Protocol):
    """Images to train on: those of a split, or a stream of new ones."""

    device: torch.device

    @property
    def resident(self) -> bool:
        """Whether the images are held on the device, so that no thread fetches or renders them."""
        ...

    def __len__(self) -> int:
        """The images of an epoch."""
        ...

    def epoch(
        self,
        number: int,
        batch_size: int,
        *,
        shuffle: torch.Generator | None = None,
        part: BatchPart | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of an epoch, counted from 1, in full batches, or a part of each; skip the first."""
        ...

    def image_at(self, number: int, position: int, *, shuffle: torch.Generator) -> str:
        """Return the name of an image by its position in an epoch."""
        ...


class Batches:
    """A split, ready to be read in batches.

    Args:
        split: Images and labels on disk.
        device: Device that receives the batches.
        resident: Whether all images are kept on the device; None decides by free memory.
    """

    def __init__(self, split: Split, *, device: torch.device, resident: bool | None = None) -> None:
        self.device = device
        self.labels = torch.as_tensor(split.asked, device=device)
        self.ids = split.ids
        self._chunks = split.chunks
        self._starts = np.cumsum([0] + [len(chunk) for chunk in self._chunks])
        size = sum(chunk.nbytes for chunk in self._chunks)
        self.resident = size < RESIDENT_FRACTION * free_memory(device) if resident is None else resident
        self._images: Tensor | None = None
        if self.resident:
            self._images = torch.empty((len(self), *split.image_shape), device=device)
            for start, chunk in zip(self._starts, self._chunks, strict=False):
                for row in range(0, len(chunk), ROWS_AT_A_TIME):  # a copy of all images would need their memory twice
                    rows = _tensor(np.asarray(chunk[row : row + ROWS_AT_A_TIME]))
                    self._images[start + row : start + row + len(rows)] = rows

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, index: Tensor) -> Tensor:
        """Return the images [n, C, H, W] on the device.

        Args:
            index: [n] positions in the split, on the CPU.
        """
        if self._images is not None:
            return self._images.index_select(0, index.to(self.device, non_blocking=True))
        wanted = index.numpy()
        rows = np.empty((len(wanted), *self._chunks[0].shape[1:]), np.float32)
        which = np.searchsorted(self._starts, wanted, side="right") - 1
        for chunk in np.unique(which):
            chosen = which == chunk
            rows[chosen] = self._chunks[chunk][wanted[chosen] - self._starts[chunk]]
        host = torch.from_numpy(rows)
        if self.device.type == "cuda":
            return host.pin_memory().to(self.device, non_blocking=True)
        return host.to(self.device)

    def epoch(
        self,
        number: int,
        batch_size: int,
        *,
        shuffle: torch.Generator | None = None,
        part: BatchPart | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of an epoch in full batches; what would be left of a last one is left out.

        Args:
            number: Number of the epoch, from 1.
            batch_size: Number of images in a batch.
            shuffle: CPU generator of the order; None keeps the order of the split.
            part: Part of each batch that is yielded.
            skip: Number of batches at the start that are left out.
        """
        return self.batches(batch_size, shuffle=shuffle, drop_last=True, part=part, skip=skip)

    def image_at(self, number: int, position: int, *, shuffle: torch.Generator) -> str:
        """Return the name of an image by its position in an epoch.

        Args:
            number: Number of the epoch.
            position: Position of the image, from 0.
            shuffle: Generator of the order, in the state in which `epoch` gets it.
        """
        return self.ids[int(torch.randperm(len(self), generator=shuffle)[position])]

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: torch.Generator | None = None,
        drop_last: bool = False,
        part: BatchPart | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels.

        Args:
            batch_size: Number of images in a batch.
            shuffle: CPU generator of the order; None keeps the order of the split.
            drop_last: Whether a last, smaller batch is left out (never the only one).
            part: Part of each batch that is yielded; all batches are full ones then.
            skip: Number of batches at the start that are left out.
        """
        order = torch.arange(len(self)) if shuffle is None else torch.randperm(len(self), generator=shuffle)
        stop = len(self)
        if drop_last and stop > batch_size:
            stop -= stop % batch_size
        starts = range(skip * batch_size, stop, batch_size)
        positions = [order[start : min(start + batch_size, stop)] for start in starts]
        if part is not None:
            positions = [part.take(batch) for batch in positions]
        images = map(self.gather, positions) if self.resident else ahead(self.gather, positions)
        for index, batch in zip(positions, images, strict=True):
            yield batch, self.labels[index.to(self.device, non_blocking=True)]


def ahead(produce: Callable[[T], R], items: Sequence[T], *, depth: int = 3) -> Iterator[R]:
    """Yield produce(item) of each item, which a thread makes ahead of the reader.

    Args:
        produce: Function called in the thread, one item after the other.
        items: Arguments of `produce`.
        depth: Number of results that may wait to be read; one more is in work.
    """
    ready: queue.Queue[R | BaseException] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def offer(item: R | BaseException) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for item in items:
                if not offer(produce(item)):
                    return
        except BaseException as error:  # handed over to the reader's side
            offer(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        for _ in items:
            made = ready.get()
            if isinstance(made, BaseException):
                raise made
            yield made
    finally:
        stopped.set()
        thread.join()


def _tensor(array: NDArray[Any]) -> Tensor:
    """Return a CPU tensor with a copy of a read-only mapped array."""
    return torch.from_numpy(np.array(array, dtype=np.float32))


def free_memory(device: torch.device) -> int:
    """Return the free bytes of the device; for the CPU, those of the machine that this process may use."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = 8 << 30  # not Linux: assume a laptop
    with contextlib.suppress(OSError), open("/proc/meminfo") as file:
        available = next((int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:")), available)
    left = memory_left()
    return available if left is None else min(available, left)
