"""The same jobs as processes of this machine, by submitit's local executor: all of them at once, without a queue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from zoo.paths import make_dir
from zoo.run.launcher import Job, JobState
from zoo_submitit.ending import read_ending
from zoo_submitit.jobs import Handle, by_resources, check_folder, engine_log, folder_of, parse_handle, run_cell
from zoo_submitit.task import STOP_SECONDS

if TYPE_CHECKING:
    from submitit import Job as Process

_MINUTES = 60 * 24 * 365
"""Time limit of a job that states none."""
END_SECONDS = 5.0
"""Time for a task of submitit to end after its cell has ended or was killed."""


class _Started(NamedTuple):
    """A job that this launcher has started.

    Args:
        process: Process of submitit.
        cancelled: File that cancels it.
    """

    process: Process[Any]
    cancelled: Path


class ProcessLauncher:
    """Jobs that submitit starts on this machine, each in processes of their own.

    Args:
        folder: Folder of submitit; "": inside the store.
        setup: Lines of the shell before the cell.
        poll_seconds: Interval between questions, in seconds.
    """

    def __init__(self, *, folder: str = "", setup: str = "", poll_seconds: float = 1.0) -> None:
        self.poll_seconds = poll_seconds
        self._folder, self._setup = folder, setup
        self._jobs: dict[str, _Started] = {}
        self._cancelled: set[str] = set()

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse a folder that cannot be written.

        Raises:
            UsageError: It cannot.
        """
        check_folder(self._folder, jobs)

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Start the jobs and return the handles: process id and folder."""
        if not jobs:
            return []
        import submitit

        folder = make_dir(folder_of(self._folder, jobs))
        handles: dict[int, str] = {}
        for resources, places in by_resources(jobs).items():
            executor = submitit.LocalExecutor(folder=folder)
            executor.update_parameters(
                timeout_min=resources.minutes or _MINUTES,
                gpus_per_node=resources.gpus,
                tasks_per_node=resources.tasks_per_node,
                nodes=resources.nodes,
                stderr_to_stdout=True,
                setup=self._setup.splitlines(),
            )
            for place in places:
                cancelled = folder / f"{uuid4().hex}_cancelled"
                process = executor.submit(run_cell(jobs[place], folder, cancelled=cancelled))
                handles[place] = str(Handle(process.job_id, folder))
                self._jobs[handles[place]] = _Started(process, cancelled)
        return [handles[place] for place in range(len(jobs))]

    def poll(self, handles: Sequence[str]) -> list[JobState]:
        """Return the state of each; jobs of another process are known by what they wrote at their end."""
        return [self._state(handle) for handle in handles]

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs that run: a cell writes its checkpoint first."""
        running = {handle: one for handle, one in self._jobs.items() if handle in handles and not one.process.done()}
        for handle, one in running.items():
            self._cancelled.add(handle)
            one.cancelled.touch()
        until = time.monotonic() + STOP_SECONDS + END_SECONDS
        while time.monotonic() < until and not all(one.process.done() for one in running.values()):
            time.sleep(0.05)

    def log(self, handle: str) -> str:
        """Return the last lines of what submitit has written about a job."""
        return engine_log(handle)

    def _state(self, text: str) -> JobState:
        handle, job = parse_handle(text), self._jobs.get(text)
        if handle is None:
            return JobState(kind="lost", detail="it was not submitted by this launcher")
        if job is not None and not job.process.done():
            return JobState(kind="running")
        if text in self._cancelled:
            return JobState(kind="ended", reason="cancelled")
        if (ending := read_ending(handle.folder, handle.id)) is not None:
            return ending.state()
        if job is not None:
            words = "submitit has ended without its cell; check the lines of setup="
            return JobState(kind="ended", reason="failed", detail=words)
        return JobState(kind="lost", detail="the command that started it has ended")
