"""The cells of a store, where they run, and how far they are; their cancellation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo import registry
from zoo.errors import ZooError
from zoo.progress import Progress, read_progress
from zoo.results import store as result_store
from zoo.results.cell import Cell
from zoo.run.checked import CALL_SECONDS, CheckedLauncher
from zoo.run.launch import LOCAL
from zoo.run.launcher import JobState
from zoo.run.submission import Submission, ask_to_cancel, forget_submission, read_submission
from zoo.specs import LauncherSpec

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)

Standing = Literal["done", "failed", "running", "waiting", "stopped"]


@dataclass(frozen=True, kw_only=True)
class CellStatus:
    """State of a cell of a store.

    Args:
        cell: Cell.
        run_dir: Folder of its run.
        state: "done"; "failed"; "running", by a process that holds its lock; "waiting", for a launcher; or "stopped",
            which the same `zoo bench` goes on with.
        where: Launcher, and its words on the place.
        detail: Cause of a failure.
        progress: Last progress report of a cell that runs.
    """

    cell: Cell
    run_dir: Path
    state: Standing
    where: str = ""
    detail: str = ""
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """State of a job that is not a cell: a share of a split, or a worker of a study.

    Args:
        run_dir: Folder of its files.
        state: "running", "waiting" or "stopped", as those of a cell; "done" where its launcher states that it ended
            well, and a command still has to take up what it made.
        where: Launcher, and its words on the place.
        progress: Last progress report of a job that runs.
    """

    run_dir: Path
    state: Standing
    where: str = ""
    progress: Progress | None = None


def cell_states(host: Host, run_dirs: Sequence[Path]) -> list[CellStatus]:
    """Return the state of each cell; each launcher is asked once. Folders without a readable cell are left out.

    Args:
        host: The plugins.
        run_dirs: Folders of runs.
    """
    submissions = {run_dir: submission for run_dir in run_dirs if (submission := read_submission(run_dir)) is not None}
    said = _ask(host, submissions)
    found = []
    for run_dir in run_dirs:
        try:
            cell = Cell.read(run_dir / result_store.CELL)
        except ZooError as error:
            logger.warning("left out: %s: %s", run_dir, error)
            continue
        found.append(_status(cell, run_dir, submissions.get(run_dir), said.get(run_dir)))
    return found


def job_states(host: Host, run_dirs: Sequence[Path]) -> list[JobStatus]:
    """Return the state of jobs that a launcher has been given, and that are not cells.

    Args:
        host: The plugins.
        run_dirs: Their folders.
    """
    submissions = {run_dir: submission for run_dir in run_dirs if (submission := read_submission(run_dir)) is not None}
    said = _ask(host, submissions)
    found = []
    for run_dir, submission in submissions.items():
        state, where = _place(run_dir, submission, said[run_dir])
        if state == "stopped" and said[run_dir].reason == "ok":
            state = "done"
        progress = read_progress(run_dir / result_store.PROGRESS) if state == "running" else None
        found.append(JobStatus(run_dir=run_dir, state=state, where=where, progress=progress))
    return found


def cancel_cells(host: Host, run_dirs: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Cancel what waits or runs. A cell that runs writes a checkpoint, and the same `zoo bench` goes on with it.

    Other jobs are cancelled in the same way.

    Args:
        host: The plugins.
        run_dirs: Folders of runs.

    Returns:
        The cells whose cancellation has been requested, and those that run without a launcher, which are left alone.
    """
    requested, alone = [], []
    by_launcher: dict[tuple[str, str], list[tuple[Path, Submission]]] = {}
    for run_dir in run_dirs:
        submission = read_submission(run_dir)
        if _has_ended(run_dir, submission):
            forget_submission(run_dir)
        elif submission is not None:
            ask_to_cancel(run_dir)  # to the command that waits for it, if there is one
            requested.append(run_dir)
            key = (submission.launcher, repr(sorted(submission.options.items())))
            by_launcher.setdefault(key, []).append((run_dir, submission))
        elif result_store.locked(run_dir):
            alone.append(run_dir)
    for group in by_launcher.values():
        spec, engine = _engine(host, group[0][1])
        handles = [submission.handle for _, submission in group]
        if spec.outlives:
            engine.cancel(handles)
            for run_dir, _ in group:
                forget_submission(run_dir, keep_request=True)
        else:
            for (run_dir, _), state in zip(group, engine.poll(handles), strict=True):
                if state.kind in ("lost", "ended") and not result_store.locked(run_dir):
                    forget_submission(run_dir)
    return requested, alone


def launcher_log(host: Host, run_dir: Path) -> str:
    """Return the last lines of what the engine of a cell's launcher has written about its job, or ""."""
    submission = read_submission(run_dir)
    if submission is None:
        return ""
    try:
        return _engine(host, submission)[1].log(submission.handle)
    except ZooError as error:
        return str(error)


def _status(cell: Cell, run_dir: Path, submission: Submission | None, said: JobState | None) -> CellStatus:
    waits = said is not None and said.kind in ("waiting", "running")
    if _has_ended(run_dir, submission if waits else None):
        try:
            result = result_store.open_result(run_dir)
        except (OSError, ZooError) as error:
            return CellStatus(cell=cell, run_dir=run_dir, state="failed", detail=str(error))
        if result.status == "ok":
            return CellStatus(cell=cell, run_dir=run_dir, state="done")
        return CellStatus(cell=cell, run_dir=run_dir, state="failed", detail=result.cause)
    state, where = _place(run_dir, submission, said)
    progress = read_progress(run_dir / result_store.PROGRESS) if state == "running" else None
    return CellStatus(cell=cell, run_dir=run_dir, state=state, where=where, progress=progress)


def _has_ended(run_dir: Path, submission: Submission | None) -> bool:
    """Return whether a cell has a result that is not older than its job: a job by --force replaces one when it begins.

    Args:
        run_dir: Folder of its run.
        submission: Its job; None where there is none, or its launcher does not know it any more.
    """
    try:
        written = (run_dir / result_store.RESULT).stat().st_mtime
    except OSError:
        return False
    return submission is None or written >= submission.submitted


def _place(run_dir: Path, submission: Submission | None, said: JobState | None) -> tuple[Standing, str]:
    """Return the state of a job without a result, and where it is."""
    where = "" if submission is None else submission.launcher
    if submission is not None and submission.launcher == LOCAL:
        where += f" on {submission.handle.partition(' ')[0]}"
    elif said is not None and said.detail:
        where += f": {said.detail}"
    if result_store.locked(run_dir):
        return "running", where
    if said is not None and said.kind in ("waiting", "running"):
        return "waiting", where
    return "stopped", ""


def _ask(host: Host, submissions: dict[Path, Submission]) -> dict[Path, JobState]:
    """Return what the launchers say about jobs; of a launcher that does not answer, that they wait."""
    groups: dict[tuple[str, str], list[Path]] = {}
    for run_dir, one in submissions.items():
        groups.setdefault((one.launcher, repr(sorted(one.options.items()))), []).append(run_dir)
    said: dict[Path, JobState] = {}
    for run_dirs in groups.values():
        try:
            _, engine = _engine(host, submissions[run_dirs[0]])
            states = engine.poll([submissions[run_dir].handle for run_dir in run_dirs])
        except ZooError as error:
            logger.warning("%s", error)
            states = [JobState(kind="waiting", detail="does not answer")] * len(run_dirs)
        said |= dict(zip(run_dirs, states, strict=True))
    return said


def _engine(host: Host, submission: Submission) -> tuple[LauncherSpec, CheckedLauncher]:
    """Return the launcher of a submission.

    Raises:
        ZooError: Its plugin is not installed any more, or it cannot be started.
    """
    spec = registry.find(host, LauncherSpec, submission.launcher)
    make = partial(registry.load_target(spec), **submission.options)
    return spec, CheckedLauncher(spec.id, make, limit=None if spec.id == LOCAL else CALL_SECONDS)
