"""Runs cells on this machine, each in a process of its own: one after the other, or several side by side."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import UsageError, ZooError
from zoo.paths import open_log, regular_file
from zoo.plurals import counted
from zoo.processor import computing_environment, gpu_names
from zoo.results.store import LOG, locked
from zoo.run.launcher import Job, JobState, exit_state
from zoo.stopping import PARENT_VARIABLE

STOP_SECONDS = 30.0
"""Time for a process to end its step and write its checkpoint before it is killed."""


@dataclass(frozen=True, kw_only=True)
class _Running:
    process: subprocess.Popen[bytes]
    gpus: tuple[str, ...]


class LocalLauncher:
    """A queue of child processes. What they print goes to log.txt in the run's folder.

    Args:
        jobs: Cells at a time; 0: one on each GPU, or one.
        gpu_ids: GPUs, such as "0,1,2,3"; each cell gets as many of them as it needs, those with the fewest cells.

    Raises:
        UsageError: The GPUs are not those of this machine, or the number of jobs is negative.
    """

    poll_seconds = 0.2

    def __init__(self, *, jobs: int = 0, gpu_ids: str = "") -> None:
        if jobs < 0:
            raise UsageError(f"--jobs {jobs} must be 1 or more.")
        self._gpus = gpu_names(gpu_ids)
        self._most = jobs
        self._jobs: dict[str, Job] = {}
        self._waiting: list[str] = []
        self._running: dict[str, _Running] = {}
        self._ended: dict[str, JobState] = {}

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse limits that a child process is not held to.

        Raises:
            UsageError: A job states one.
        """
        for name in ("cpus", "memory_gb", "minutes"):
            if any(getattr(job.resources, name) is not None for job in jobs):
                raise UsageError(
                    f"--launcher-set {name}: core/local starts processes on this machine and limits none of them.",
                    hint=f"Leave out {name}; a scheduler keeps it: zoo list-launchers",
                )

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Queue jobs and return a handle for each: this machine, this process, and a number."""
        first = len(self._jobs)
        handles = [f"{_here()} {number}" for number in range(first, first + len(jobs))]
        self._jobs |= dict(zip(handles, jobs, strict=True))
        self._waiting += handles
        return handles

    def poll(self, handles: Sequence[str]) -> list[JobState]:
        """Return the state of each; start the next jobs where there is room."""
        for handle, running in list(self._running.items()):
            if (code := running.process.poll()) is not None:
                del self._running[handle]
                self._ended[handle] = exit_state(code)
        while self._waiting and self._has_room(self._jobs[self._waiting[0]]):
            handle = self._waiting.pop(0)
            job = self._jobs[handle]
            try:
                gpus = self._free(max(1, job.resources.gpus)) if self._gpus else ()
                process = _start(job, gpus=gpus, processes=self._room(job))
                self._running[handle] = _Running(process=process, gpus=gpus)
            except (OSError, ZooError) as error:
                self._ended[handle] = JobState(kind="ended", reason="failed", detail=str(error))
        return [self._state(handle) for handle in handles]

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs that wait or run. A stopped cell goes on from its last step, a killed one from its last epoch."""
        ours = [handle for handle in handles if handle in self._jobs]
        for handle in set(ours) & set(self._waiting):
            self._waiting.remove(handle)
            self._ended[handle] = JobState(kind="ended", reason="cancelled")
        processes = [self._running.pop(handle).process for handle in ours if handle in self._running]
        for process in processes:
            process.terminate()
        until = time.monotonic() + STOP_SECONDS
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, until - time.monotonic()))
            process.kill()
            process.wait()
        for handle in ours:
            self._ended.setdefault(handle, JobState(kind="ended", reason="cancelled"))

    def _has_room(self, job: Job) -> bool:
        """Whether a job may start beside those that run, which may need other numbers of GPUs."""
        needed = max(1, job.resources.gpus)
        if self._most or not self._gpus or needed > len(self._gpus):  # the last cannot start, and fails with a cause
            return len(self._running) < self._room(job)
        return sum(len(running.gpus) for running in self._running.values()) + needed <= len(self._gpus)

    def _room(self, job: Job) -> int:
        """Return the number of jobs like this one that run side by side."""
        return self._most or max(1, len(self._gpus) // max(1, job.resources.gpus))

    def _free(self, count: int) -> tuple[str, ...]:
        """Return the GPUs with the fewest jobs.

        Raises:
            UsageError: There are not as many.
        """
        if count > len(self._gpus):
            raise UsageError(f"The cell needs {counted(count, 'GPU')}; --gpus lists {len(self._gpus)}.")
        used = Counter(gpu for running in self._running.values() for gpu in running.gpus)
        return tuple(sorted(self._gpus, key=lambda gpu: used[gpu])[:count])

    def _state(self, handle: str) -> JobState:
        if handle in self._jobs:
            if handle in self._running:
                return JobState(kind="running")
            return JobState(kind="waiting") if handle in self._waiting else self._ended[handle]
        if _lives(handle):
            return JobState(kind="waiting", detail="in the queue of another zoo bench on this machine")
        return JobState(kind="lost", detail="the zoo bench that queued it has ended")


def _here() -> str:
    return f"{platform.node()} {os.getpid()} {_started(os.getpid())}"


def _lives(handle: str) -> bool:
    """Whether another process of this machine has a job in its queue. Processes of other machines are not seen."""
    words = handle.split()
    if len(words) != 4 or words[0] != platform.node() or not words[1].isdecimal() or int(words[1]) == os.getpid():
        return False
    try:
        os.kill(int(words[1]), 0)
    except PermissionError:
        pass
    except (OSError, OverflowError):
        return False
    return _started(int(words[1])) == words[2]


def _started(pid: int) -> str:
    """Return the time at which a process started, by which it is distinguished from a later one with its number."""
    try:
        return regular_file(Path(f"/proc/{pid}/stat")).read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "?"  # not Linux


def _start(job: Job, *, gpus: Sequence[str], processes: int) -> subprocess.Popen[bytes]:
    environment = computing_environment({**os.environ, **job.env}, processes=processes, gpus=gpus)
    # Another process may run the cell already: our child will see this and leave; its log must not be lost.
    with os.fdopen(open_log(job.run_dir / LOG, append=locked(job.run_dir)), "wb") as log:
        # A session of its own: Ctrl-C reaches the parent alone, which then cancels in order.
        return subprocess.Popen(
            job.command,
            cwd=job.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment, PARENT_VARIABLE: str(os.getpid())},
            start_new_session=True,
        )
