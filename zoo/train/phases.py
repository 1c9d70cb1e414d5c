"""Opens the training images of a cell, which may change from phase to phase."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.data.loader import Batches
from zoo.data.new_noise import NewNoise
from zoo.data.open import Dataset, SimulationProgress
from zoo.data.part import BatchPart
from zoo.data.phases import Phase, describe_params, last_epochs, phase_number, phase_recipe
from zoo.data.split import Split
from zoo.data.stream import Stream
from zoo.errors import DataError, MissingError, ZooError, described
from zoo.results.cell import Cell
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from zoo.host import Host


class PhasedBatches:
    """Stored training images of which one phase at a time is open; see `zoo.data.loader.Batches`.

    Args:
        splits: Training images of each phase, the same number in all.
        phases: Phases of the training.
        device: Device that receives the batches.
        make: Function that makes the batches of a split; None makes those of the stored images.
    """

    def __init__(
        self,
        splits: Sequence[Split],
        phases: Sequence[Phase],
        *,
        device: torch.device,
        make: Callable[[Split], Batches] | None = None,
    ) -> None:
        self.device = device
        self._splits, self._phases = splits, phases
        self._make = make or functools.partial(Batches, device=device)
        self._number = 0
        self._open: Batches | None = None

    def __len__(self) -> int:
        """The images of an epoch."""
        return len(self._splits[0])

    @property
    def resident(self) -> bool:
        """Whether the images of the phase in work are held on the device."""
        return self._open is not None and self._open.resident

    def epoch(
        self,
        number: int,
        batch_size: int,
        *,
        shuffle: torch.Generator | None = None,
        part: BatchPart | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of an epoch in full batches; see `zoo.data.loader.Batches.epoch`."""
        return self._batches(number).epoch(number, batch_size, shuffle=shuffle, part=part, skip=skip)

    def image_at(self, number: int, position: int, *, shuffle: torch.Generator) -> str:
        """Return the name of an image by its position in an epoch; see `zoo.data.loader.Batches.image_at`."""
        phase = phase_number(self._phases, number)
        return f"{self._batches(number).image_at(number, position, shuffle=shuffle)} of phase {phase}"

    def _batches(self, epoch: int) -> Batches:
        number = phase_number(self._phases, epoch) or len(self._phases)
        if self._open is None or number != self._number:
            self._open = None  # its memory is needed for the images of the next phase
            self._open, self._number = self._make(self._splits[number - 1]), number
        return self._open


def open_phases(
    host: Host, cell: Cell, data: Dataset, *, folder: Path | None, progress: SimulationProgress | None = None
) -> list[Dataset]:
    """Return the data set of each phase's training images; that of the cell where there are no phases.

    Args:
        host: The plugins.
        cell: Cell to train.
        data: Data set of the cell.
        folder: Folder that simulated images are only read from; default: the cache, which is filled.
        progress: Function called with split, images made, images to be made while a phase is simulated.
    """
    return [
        Dataset(
            host,
            phase_recipe(data.spec, cell.recipe, phase),
            cell.sizes,
            folder=folder,
            question=data.question,
            train_seed=cell.train_seed,
            new_noise=data.new_noise,
            progress=progress,
        )
        for phase in cell.phases
    ] or [data]


@contextlib.contextmanager
def faults_of(dataset: DatasetSpec, cell: Cell) -> Iterator[None]:
    """Name the data set and its files in every error of a block that opens images: it is not the network's.

    Raises:
        DataError: The block raised an error other than exhausted memory, or one that names the data set already.
    """
    try:
        yield
    except (MissingError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        text = str(error.args[0]) if isinstance(error, ZooError) else described(error)
        if isinstance(error, ZooError) and dataset.id in text:
            raise
        params = cell.recipe.params
        files = ", ".join(f"{name}={params[name]}" for name in dataset.paths if params.get(name))
        what = f"{dataset.id} ({files})" if files else dataset.id
        raise DataError(f"{what}: {text}", hint=error.hint if isinstance(error, ZooError) else "") from error


def open_stream(phases: Sequence[Dataset], cell: Cell, *, device: torch.device) -> Stream:
    """Return a stream of as many new images an epoch as the train split would have.

    Args:
        phases: Data set of each phase.
        cell: Cell to train.
        device: Device that receives the batches.
    """
    images = cell.sizes["train"]
    expected = images * int(cell.training["epochs"])
    simulations = [phase.simulation(expected_images=expected, split="train") for phase in phases]
    earlier = list(zip(last_epochs(cell.phases), simulations, strict=False))[:-1]
    return Stream(simulations[-1], images=images, device=device, question=phases[-1].question, earlier=earlier)


def training_batches(splits: Sequence[Split], cell: Cell, *, device: torch.device) -> Batches | PhasedBatches:
    """Return the stored training images of all phases in batches.

    Args:
        splits: Training images of each phase; of one without phases.
        cell: Cell to train.
        device: Device that receives the batches.
    """
    make: Callable[[Split], Batches] = functools.partial(Batches, device=device)
    if cell.training.get("new_noise"):
        make = functools.partial(NewNoise, device=device, seed=cell.seed)
    return PhasedBatches(splits, cell.phases, device=device, make=make) if cell.phases else make(splits[0])


def images_of(cell: Cell, epoch: int) -> str | None:
    """Return the parameters of the training images in an epoch; None where they are those of all images."""
    number = phase_number(cell.phases, epoch)
    if number is None:
        return None
    return f"{describe_params(cell.phases[number - 1].params)}, phase {number} of {len(cell.phases)}"
