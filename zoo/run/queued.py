"""Makes queues and their jobs, and waits for the ends of jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from zoo import registry
from zoo.errors import Interrupted
from zoo.processor import ALLOCATOR, gpu_names
from zoo.progress import INTERVAL_VARIABLE, interval_beside
from zoo.run.checked import CALL_SECONDS, CheckedLauncher
from zoo.run.job_queue import Entry, Queue
from zoo.run.launch import LOCAL, Resolved
from zoo.run.launcher import Job, Resources

R = TypeVar("R")

POLL_SECONDS = 0.2
JOBS_PER_TICK = 12
"""With more jobs the files of all of them are looked at less often, so that a shared disk is not kept busy."""


def make_queue(launch: Resolved, entries: Sequence[Entry[R]], *, job: Callable[[Entry[R]], Job]) -> Queue[R]:
    """Start a launcher and return a queue for it; nothing is queued yet.

    Args:
        launch: Spec of the launcher, its options, and the number of further attempts.
        entries: Work without a result.
        job: Function that returns the job of an entry.

    Raises:
        UsageError: An option is impossible, or a job needs what the launcher does not have.
        MissingError: This machine lacks what the launcher needs.
        LauncherError: It cannot be started.
    """
    job = partial(_with_interval, job, seconds=interval_beside(jobs_at_once(launch, len(entries))))
    make = partial(registry.load_target(launch.spec), **launch.options)
    # The core's own launcher needs no thread that watches it.
    engine = CheckedLauncher(launch.spec.id, make, limit=None if launch.spec.id == LOCAL else CALL_SECONDS)
    engine.check([job(entry) for entry in entries])
    return Queue(
        engine=engine, launch=launch, entries=entries, job=job, poll_seconds=engine.poll_seconds or POLL_SECONDS
    )


def jobs_at_once(launch: Resolved, jobs: int) -> int:
    """Return how many of these jobs may run at the same time: on this machine, most of them wait for the others."""
    if launch.spec.id != LOCAL:
        return jobs
    return launch.options["jobs"] or max(1, len(gpu_names(launch.options["gpu_ids"])))


def _with_interval(job: Callable[[Entry[R]], Job], entry: Entry[R], *, seconds: float) -> Job:
    """Return the job of an entry, whose progress file is written at most that often."""
    made = job(entry)
    return replace(made, env={INTERVAL_VARIABLE: str(seconds), **made.env})


def make_job(
    run_dir: Path, command: Sequence[str], *, files: Sequence[str], resources: Resources = Resources(), label: str = ""
) -> Job:
    """Return a job that runs a command of zoo with the plugins and variables of this process.

    Args:
        run_dir: Folder of its files.
        command: Command.
        files: Files of plugins.
        resources: Resources that it needs.
        label: Name for people.
    """
    env = {name: value for name, value in os.environ.items() if name.startswith("ZOO_")}
    if files:
        env["ZOO_PLUGIN_FILES"] = os.pathsep.join(files)
    return Job(
        run_dir=run_dir.absolute(),  # a launcher may start it in another folder
        command=tuple(command),
        cwd=Path.cwd(),
        env={**ALLOCATOR, **env},
        resources=resources,
        label=label,
    )


def wait_for(
    queue: Queue[R],
    *,
    look: Callable[[], None] = lambda: None,
    submitted: Callable[[], bool | None] = lambda: False,
) -> None:
    """Run all work of a queue to its end.

    Jobs of a launcher that outlives this process (`LauncherSpec.outlives`) are cancelled by Ctrl-C only, not by a
    closed terminal.

    Args:
        queue: Queue.
        look: Function called several times a second.
        submitted: Function called when all work has been given to the launcher; if it returns True, this function
            returns, and the jobs go on.

    Raises:
        LauncherError: The launcher does not know whether jobs submitted earlier still wait.
        KeyboardInterrupt: After the running jobs have been stopped.
    """
    cancel, first = True, True
    try:
        queue.attach()
        while True:
            queue.advance()
            look()
            if all(entry.result is not None for entry in queue.entries):
                return
            if first and submitted():
                cancel = False
                return
            first = False
            time.sleep(POLL_SECONDS * max(1.0, len(queue.entries) / JOBS_PER_TICK))
    except Interrupted:
        cancel = not queue.launch.spec.outlives
        raise
    finally:
        if cancel:
            queue.cancel()
