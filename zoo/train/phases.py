"""Training images of several phases, of which one phase at a time is open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zoo.data.loader import Batches
from zoo.data.part import BatchPart
from zoo.data.phases import Phase, phase_number
from zoo.data.split import Split


class PhasedBatches:
    """Stored training images that change from phase to phase; see `zoo.data.loader.Batches`.

    Args:
        splits: Training images of each phase, the same number in all.
        phases: Phases of the training.
        device: Device that receives the batches.
    """

    def __init__(self, splits: Sequence[Split], phases: Sequence[Phase], *, device: torch.device) -> None:
        self.device = device
        self._splits, self._phases = splits, phases
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
        self, number: int, batch_size: int, *, shuffle: torch.Generator | None = None, part: BatchPart | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of an epoch in full batches; see `zoo.data.loader.Batches.epoch`."""
        return self._batches(number).epoch(number, batch_size, shuffle=shuffle, part=part)

    def image_at(self, number: int, position: int, *, shuffle: torch.Generator) -> str:
        """Return the name of an image by its position in an epoch; see `zoo.data.loader.Batches.image_at`."""
        phase = phase_number(self._phases, number)
        return f"{self._batches(number).image_at(number, position, shuffle=shuffle)} of phase {phase}"

    def _batches(self, epoch: int) -> Batches:
        number = phase_number(self._phases, epoch) or len(self._phases)
        if self._open is None or number != self._number:
            self._open = None  # its memory is needed for the images of the next phase
            self._open, self._number = Batches(self._splits[number - 1], device=self.device), number
        return self._open
