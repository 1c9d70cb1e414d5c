"""One split of a data set, opened: mapped images, labels, ids and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.data.image_groups import ImageGroups
from zoo.data.images import ROWS_AT_A_TIME, Rows
from zoo.data.truth import OFFSET, PREFIX, joined, scenes_of, truth_arrays
from zoo.errors import DataError
from zoo.plurals import counted

if TYPE_CHECKING:
    from zoo.lensing.scenes import Scenes


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images that stay on disk until they are used.

    Args:
        name: "train", "val" or "test".
        classes: Names of the labels.
        chunks: Arrays [n_i, C, H, W] float32, or rows of one on disk, whose concatenation is the split.
        labels: [N] int64.
        ids: N texts.
        parameters: Scene parameters: name -> [N] float64.
        targets: [N, T] truths that a task estimates; None where it asks for labels.
        auxiliary: [N, T] truths that a network estimates beside them while it trains, NaN where undefined.
        truth: Scenes of simulated images, as `zoo.data.truth` stores them; empty for others.
        grouped_by: Name of the parameter that images which are not independent share; "" where all are independent.

    Raises:
        DataError: A label is not the index of a class, or the images lack the parameter that they are grouped by.
    """

    name: str
    classes: tuple[str, ...]
    chunks: Sequence[NDArray[np.float32] | Rows]
    labels: NDArray[np.int64]
    ids: list[str]
    parameters: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    targets: NDArray[np.float64] | None = None
    auxiliary: NDArray[np.float64] | None = None
    truth: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False)
    grouped_by: str = ""

    def __post_init__(self) -> None:
        check_labels(self.name, self.labels, self.classes)
        if self.grouped_by and self.grouped_by not in self.parameters:
            raise DataError(
                f"The data set groups its images by {self.grouped_by}, which is not among their stored parameters: "
                f"{', '.join(sorted(self.parameters)) or 'none'}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.chunks[0].shape[1:]
        return channels, height, width

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Number of images of each class."""
        return tuple(np.bincount(self.labels, minlength=len(self.classes)).tolist())

    @property
    def groups(self) -> ImageGroups | None:
        """Groups of images that are not independent; None where all are."""
        return ImageGroups.by(self.grouped_by, self.shared) if self.grouped_by else None

    @property
    def shared(self) -> NDArray[Any]:
        """[N] values of the parameter that images of one group share."""
        return np.asarray(self.parameters[self.grouped_by])

    @property
    def asked(self) -> NDArray[Any]:
        """Copy of the values that a network is trained on: labels [N], or targets [N, T] in float32.

        With auxiliary truths, these follow in further columns, and a label is the first one.
        """
        asked = np.array(self.labels, np.int64) if self.targets is None else self.targets.astype(np.float32)
        if self.auxiliary is None:
            return asked
        return np.column_stack([asked.astype(np.float32), self.auxiliary.astype(np.float32)])

    @property
    def images(self) -> NDArray[np.float32]:
        """[N, C, H, W], copied into memory."""
        return np.concatenate([np.asarray(chunk) for chunk in self.chunks])

    def images_at(self, index: ArrayLike) -> NDArray[np.float32]:
        """Return a few images [n, C, H, W].

        Args:
            index: [n] places in the split.
        """
        places = np.asarray(index, dtype=np.int64)
        starts = np.cumsum([0] + [len(chunk) for chunk in self.chunks])
        which = np.searchsorted(starts, places, side="right") - 1
        return np.stack([self.chunks[p][i - starts[p]] for i, p in zip(places, which, strict=True)])

    def first(self, count: int) -> NDArray[np.float32]:
        """Return the first images [n, C, H, W], at most `count`."""
        return self.images_at(np.arange(min(count, len(self))))

    def select(self, index: NDArray[np.int64]) -> Split:
        """Return some images of the split as a split of their own.

        Args:
            index: [n] places in the split, in rising order.
        """
        chunks, start = [], 0
        ends = np.searchsorted(index, np.cumsum([len(chunk) for chunk in self.chunks]))
        for chunk, begin, end in zip(self.chunks, [0, *ends], ends, strict=False):
            own = index[begin:end] - start
            start += len(chunk)
            if len(own):
                array, rows = (chunk.array, chunk.index[own]) if isinstance(chunk, Rows) else (chunk, own)
                chunks.append(Rows(array, rows))
        return Split(
            name=self.name,
            classes=self.classes,
            chunks=chunks,
            labels=self.labels[index],
            ids=[self.ids[i] for i in index],
            parameters={name: values[index] for name, values in self.parameters.items()},
            targets=None if self.targets is None else self.targets[index],
            auxiliary=None if self.auxiliary is None else self.auxiliary[index],
            truth=truth_arrays(self.scenes(index)) if OFFSET in self.truth else {},
            grouped_by=self.grouped_by,
        )

    def scenes(self, indices: ArrayLike | None = None) -> Scenes:
        """Return the scenes of simulated images: lens, every mass, source and exposure.

        `zoo.data.simulate.Simulation.observe` renders them again, to the same bits on the same type of device.

        Args:
            indices: [n] places in the split; None stands for all.

        Raises:
            DataError: The images are not simulated, or were stored by an earlier version.
        """
        index = np.arange(len(self)) if indices is None else np.atleast_1d(np.asarray(indices, dtype=np.int64))
        return scenes_of(self.truth, index, label=self.labels, parameters=self.parameters)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of each channel over all pixels."""
        count = sum(chunk.shape[0] * chunk.shape[2] * chunk.shape[3] for chunk in self.chunks)

        def read() -> Iterator[NDArray[np.float32]]:
            for chunk in self.chunks:  # a few at a time: sums in float64 need twice the memory of their images
                for row in range(0, len(chunk), ROWS_AT_A_TIME):
                    yield np.asarray(chunk[row : row + ROWS_AT_A_TIME])

        mean = sum(chunk.sum((0, 2, 3), dtype=np.float64) for chunk in read()) / count
        # Two passes: the difference of large sums would lose the small variance of a bright, flat image.
        squares = sum(((chunk - mean[:, None, None]) ** 2).sum((0, 2, 3), dtype=np.float64) for chunk in read())
        return np.asarray(mean), np.sqrt(np.asarray(squares) / count)


def check_labels(name: str, labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Check that the labels of a split are indices of classes.

    Raises:
        DataError: A label is below 0 or too high.
    """
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise DataError(
            f"The split '{name}' has labels from {labels.min()} to {labels.max()} "
            f"for {counted(len(classes), 'class')}, which are counted from 0."
        )


def from_shards(
    name: str,
    classes: tuple[str, ...],
    shards: list[dict[str, NDArray[Any]]],
    count: int,
    *,
    first: int = 0,
    grouped_by: str = "",
) -> Split:
    """Return the first `count` images of some shards as a split.

    Args:
        name, classes, grouped_by: Arguments of `Split`.
        shards: Arrays of each shard.
        count: Number of images.
        first: Number of the first image.
    """
    chunks, left = [], count
    for shard in shards:
        chunks.append(shard["image"][:left])
        left -= len(chunks[-1])
    # Shards of one recipe that were made by different releases may differ in what is stored beside the images.
    shared = [key for key in shards[0] if all(key in shard for shard in shards)]
    beside = [key for key in shared if key != "image" and not key.startswith(PREFIX)]
    columns = {key: np.concatenate([shard[key] for shard in shards])[:count] for key in beside}
    known = [{key: values for key, values in shard.items() if key.startswith(PREFIX)} for shard in shards]
    return Split(
        name=name,
        classes=classes,
        chunks=chunks,
        labels=columns.pop("label"),
        ids=[f"{name}-{i:07d}" for i in range(first, first + count)],
        parameters={key.removeprefix("parameter."): values for key, values in columns.items()},
        truth=joined(known, count=count) if all(OFFSET in one and set(one) == set(known[0]) for one in known) else {},
        grouped_by=grouped_by,
    )
