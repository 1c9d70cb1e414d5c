"""The part of each batch that one of several processes takes when they train one network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BatchPart:
    """The images `start` to `stop` of every batch of `whole` images."""

    start: int
    stop: int
    whole: int

    @classmethod
    def of_process(cls, rank: int, *, processes: int, whole: int) -> BatchPart:
        """Return the part of a process; the parts are disjoint, complete, and differ by one image at most.

        Args:
            rank: Rank of the process, from 0.
            processes: Number of processes; at most `whole`.
            whole: Number of images in a batch.
        """
        return cls(start=rank * whole // processes, stop=(rank + 1) * whole // processes, whole=whole)

    def __len__(self) -> int:
        return self.stop - self.start

    def take(self, batch: Tensor) -> Tensor:
        """Return this part of [whole, ...]."""
        return batch[self.start : self.stop]
