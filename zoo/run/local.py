"""Runs cells on this machine, one after the other, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence

from zoo.paths import open_log
from zoo.processor import computing_environment
from zoo.results.store import LOG, locked
from zoo.run.launcher import Job, JobState
from zoo.stopping import PARENT_VARIABLE


class LocalLauncher:
    """A queue of child processes. What they print goes to log.txt in the run's folder."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._waiting: list[str] = []
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Queue jobs and return a handle for each."""
        handles = [str(job.run_dir) for job in jobs]
        self._jobs |= dict(zip(handles, jobs, strict=True))
        self._waiting += handles
        return handles

    def poll(self, handles: Sequence[str]) -> list[JobState]:
        """Return "waiting", "running" or "ended" for each; start the next job when none runs."""
        self._running = {handle: process for handle, process in self._running.items() if process.poll() is None}
        if self._waiting and not self._running:
            handle = self._waiting.pop(0)
            self._running[handle] = _start(self._jobs[handle])
        return [
            "running" if handle in self._running else "waiting" if handle in self._waiting else "ended"
            for handle in handles
        ]

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs that wait or run. A killed cell loses at most the epoch or shard in hand."""
        self._waiting = [handle for handle in self._waiting if handle not in handles]
        for handle in set(handles) & set(self._running):
            process = self._running.pop(handle)
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            process.kill()
            process.wait()


def _start(job: Job) -> subprocess.Popen[bytes]:
    environment = {**computing_environment(), PARENT_VARIABLE: str(os.getpid())}
    # Another process may run the cell already: our child will see this and leave; its log must not be lost.
    with os.fdopen(open_log(job.run_dir / LOG, append=locked(job.run_dir)), "wb") as log:
        # A session of its own: Ctrl-C reaches the parent alone, which then cancels in order.
        return subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
