"""The contract of a launcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

JobState: TypeAlias = Literal["waiting", "running", "ended"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell to run.

    Args:
        run_dir: Holds cell.json; the result will appear there.
        command: Run this, in a process of its own; its exit status is 0 when the result is good.
    """

    run_dir: Path
    command: tuple[str, ...]


class Launcher(Protocol):
    """Starts jobs somewhere and reports whether they still run. No call blocks; results come from the store only."""

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Queue jobs and return a handle for each."""
        ...

    def poll(self, handles: Sequence[str]) -> list[JobState]:
        """Return the state of each: "waiting", "running" or "ended"; also the moment to start what waits."""
        ...

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs that wait or run; ended ones are left alone."""
        ...
