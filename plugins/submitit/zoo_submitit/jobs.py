"""Parts that both launchers share: folder and handle of a job, its log, and the value that submitit pickles for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import DataError, UsageError
from zoo.paths import log_tail, make_dir, user_path
from zoo.run.launcher import Job, Resources
from zoo_submitit.task import RunCell

FOLDER = "submitit"
"""Folder of scripts, pickles and logs inside a store."""
LOG_LINES = 20
_HANDLE = re.compile(r"(?P<id>\d+(_\d+)?) (?P<folder>/.*)", re.DOTALL)


@dataclass(frozen=True)
class Handle:
    """A job: its id, and the folder of its files.

    Args:
        id: Id of Slurm, NUMBER or ARRAY_INDEX; without Slurm that of a process.
        folder: Folder of submitit.
    """

    id: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.id} {self.folder}"

    @property
    def array(self) -> str:
        """Id of the array that the job belongs to, or its own."""
        return self.id.partition("_")[0]


def parse_handle(text: str) -> Handle | None:
    """Return what a handle stands for; None for a text of another form, which was not given by these launchers."""
    match = _HANDLE.fullmatch(text)
    return Handle(match["id"], Path(match["folder"])) if match else None


def folder_of(option: str, jobs: Sequence[Job]) -> Path:
    """Return the folder of submitit: that of the option, or one in the store of the jobs.

    Raises:
        UsageError: The home folder in the option is unknown.
    """
    # The folder of a run is STORE/DATA/MODEL/RUN_ID.
    return user_path(option).absolute() if option else jobs[0].run_dir.parents[2] / FOLDER


def check_folder(option: str, jobs: Sequence[Job]) -> None:
    """Create the folder of submitit where an option names it, and refuse one that cannot be written.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        if option:
            make_dir(folder_of(option, jobs))
    except DataError as error:
        raise UsageError(f"--launcher-set folder={option}: {str(error).partition(chr(10))[0]}") from error


def by_resources(jobs: Iterable[Job]) -> dict[Resources, list[int]]:
    """Return the places of the jobs that need the same: each group is one array."""
    groups: dict[Resources, list[int]] = {}
    for place, job in enumerate(jobs):
        groups.setdefault(job.resources, []).append(place)
    return groups


def run_cell(job: Job, folder: Path, *, requeues: int = 0, cancelled: Path | None = None) -> RunCell:
    """Return what submitit runs for a job."""
    return RunCell(
        command=job.command, cwd=str(job.cwd), env=dict(job.env), run_dir=str(job.run_dir), folder=str(folder),
        requeues=requeues, cancelled=str(cancelled or ""),
    )  # fmt: skip


def engine_log(text: str) -> str:
    """Return the last lines of what submitit and Slurm have written about a job, or ""."""
    handle = parse_handle(text)
    if handle is None:
        return ""
    path = handle.folder / f"{handle.id}_0_log.out"
    return log_tail(path, LOG_LINES) if path.exists() else ""
