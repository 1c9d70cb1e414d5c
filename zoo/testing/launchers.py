"""Checks of launchers: jobs that end well, fail, and are cancelled."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo import registry
from zoo.run.launcher import CheckedLauncher, Job
from zoo.specs import LauncherSpec
from zoo.testing.outcome import named, require

if TYPE_CHECKING:
    from zoo.host import Host

MOST_SECONDS, LONGEST_CALL = 60.0, 5.0
"""Time for a small job to end, and time of a call from which it counts as blocking."""


@dataclass
class LauncherSubject:
    """A launcher.

    Args:
        host: The plugins.
        spec: Spec of the launcher.
    """

    host: Host
    spec: LauncherSpec

    def start(self) -> CheckedLauncher:
        """Return the launcher, whose answers are compared with the contract."""
        return CheckedLauncher(self.spec.id, registry.load_target(self.spec))


@contextmanager
def _jobs(*codes: str) -> Iterator[list[Job]]:
    """Yield jobs that run Python code, each in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = []
        for number, code in enumerate(codes):
            run_dir = Path(folder) / f"job{number}"
            run_dir.mkdir()
            jobs.append(Job(run_dir=run_dir, command=(sys.executable, "-c", code)))
        yield jobs


def _wait(launcher: CheckedLauncher, handles: list[str]) -> list[str]:
    """Return the states once all jobs have ended, or when the time is over."""
    deadline = time.monotonic() + MOST_SECONDS
    while (states := launcher.poll(handles)) != ["ended"] * len(handles) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [*states]


def starts(subject: LauncherSubject) -> None:
    """Its target, called without arguments, returns an object with submit, poll and cancel."""
    launcher = registry.load_target(subject.spec)()
    for name in ("submit", "poll", "cancel"):
        require(callable(getattr(launcher, name, None)), f"It has no method {name}.")


def runs_jobs(subject: LauncherSubject) -> None:
    """Jobs are run, each once, and end; one that fails ends, too."""
    launcher = subject.start()
    with _jobs("open('ran', 'a').write('x')", "raise SystemExit(3)", "open('ran', 'a').write('x')") as jobs:
        inside = [
            Job(run_dir=job.run_dir, command=(*job.command[:2], f"import os; os.chdir({str(job.run_dir)!r}); {code}"))
            for job, code in ((job, job.command[2]) for job in jobs)
        ]
        handles = launcher.submit(inside)
        states = _wait(launcher, handles)
        require(states == ["ended"] * 3, f"After {MOST_SECONDS:.0f} s, three small jobs are {', '.join(states)}.")
        for job in (jobs[0], jobs[2]):
            ran = job.run_dir / "ran"
            require(ran.is_file(), "A job is reported as ended and was not run.")
            require(ran.read_text() == "x", "A job was run more than once.")


def cancels(subject: LauncherSubject) -> None:
    """A cancelled job ends; cancelling an ended one does nothing."""
    launcher = subject.start()
    with _jobs("import time; time.sleep(300)", "pass") as jobs:
        handles = launcher.submit(jobs)
        launcher.poll(handles)
        launcher.cancel(handles)
        launcher.cancel(handles)
        states = _wait(launcher, handles)
        require(states == ["ended"] * 2, f"{MOST_SECONDS:.0f} s after they were cancelled, jobs are {states}.")


def never_blocks(subject: LauncherSubject) -> None:
    """No call waits for a job."""
    launcher = subject.start()
    with _jobs(f"import time; time.sleep({3 * LONGEST_CALL})") as jobs:
        started = time.monotonic()
        handles = launcher.submit(jobs)
        for _ in range(3):
            launcher.poll(handles)
        taken = time.monotonic() - started
        launcher.cancel(handles)
        _wait(launcher, handles)
        require(taken < LONGEST_CALL, f"submit and three polls took {taken:.0f} s.", hint="Start a process.")


CHECKS = named(starts, runs_jobs, cancels, never_blocks)
