"""Work that a job does, as its files show it whatever a launcher states: the contract of a queue, and a cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from zoo.results import store as result_store
from zoo.results.cell import Cell
from zoo.results.schema import RunResult
from zoo.run.failure import failure_of, keep_failure
from zoo.run.launcher import JobState

R_co = TypeVar("R_co", covariant=True)


class Work(Protocol[R_co]):
    """What one job does. Its process holds the lock of `run_dir` while it is at work."""

    @property
    def run_dir(self) -> Path:
        """Folder of its files, as `zoo.run.launcher.Job` describes it."""
        ...

    @property
    def label(self) -> str:
        """Name for people."""
        ...

    def has_ended(self) -> bool:
        """Whether the file of a result is there; asked often."""
        ...

    def result(self) -> R_co | None:
        """Return the result that its files hold; None without a readable one."""
        ...

    def has_advanced(self, since: float) -> bool:
        """Whether the attempt that was submitted at this time, in seconds since 1970, has made progress that stays."""
        ...

    def goes_on(self, state: JobState) -> bool:
        """Whether another attempt is worthwhile after a job has ended in this state without a result."""
        ...

    def failed(self, *, detail: str = "", engine_log: str = "", summary: str = "", keep: bool = True) -> R_co:
        """Return the result of work whose process left none.

        Args:
            detail: Cause in words, by its launcher.
            engine_log: Last lines of what the launcher's engine has written.
            summary: First line in place of the usual one; the logs are left out.
            keep: Whether it is stored, unless a result is there.
        """
        ...


Mark = tuple[int, int]
"""Inode and time of change of a file, by which another file of its name is distinguished from it."""


def mark_of(run_dir: Path) -> Mark | None:
    """Return the mark of the result in a folder; None without one."""
    try:
        found = (run_dir / result_store.RESULT).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@dataclass(frozen=True, kw_only=True)
class CellWork:
    """A cell.

    Args:
        cell: Cell.
        run_dir: Folder of its run.
        replaces: Mark of the stored result that the cell is run again for; it stays until a process begins the cell.
    """

    cell: Cell
    run_dir: Path
    replaces: Mark | None = None

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{self.cell.model} on {self.cell.data}, seed {self.cell.seed}"

    def has_ended(self) -> bool:
        """Whether result.json is there, and not the one that is to be replaced."""
        return mark_of(self.run_dir) not in (None, self.replaces)

    def result(self) -> RunResult | None:
        """Return the stored result."""
        return result_store.read_result(self.run_dir) if self.has_ended() else None

    def has_advanced(self, since: float) -> bool:
        """Whether the attempt has added a checkpoint."""
        try:
            return (self.run_dir / result_store.CHECKPOINT).stat().st_mtime >= since
        except OSError:
            return False

    def goes_on(self, state: JobState) -> bool:
        """Whether the cell was stopped from outside; one that has failed would fail again."""
        return state.again

    def failed(self, *, detail: str = "", engine_log: str = "", summary: str = "", keep: bool = True) -> RunResult:
        """Return a failed result; arguments as those of `Work.failed`."""
        failure = failure_of(self.cell, self.run_dir, detail=detail, engine_log=engine_log, summary=summary)
        kept = keep_failure(failure) if keep else failure
        return kept if self.has_ended() else failure  # the result that was to be replaced stays
