"""Workers of a study as jobs of a launcher: each runs trials until the study has its number of them."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from zoo.devices import planned_device, resolve_device
from zoo.errors import BusyError, DataError
from zoo.paths import absolute_variables, make_dir, read_json
from zoo.plan.unchanged import check_versions
from zoo.results.store import CHECKPOINT, claim, locked, remove_unless_locked, write_json
from zoo.run.failure import failure_text
from zoo.run.job_queue import Entry
from zoo.run.launch import LOCAL, Launch, Resolved
from zoo.run.launcher import Job, JobState
from zoo.run.queued import make_job, make_queue, wait_for
from zoo.schema import Record, read_record
from zoo_optuna.definition import Definition, read_definition
from zoo_optuna.journal import alone, count_deaths, keep_best, open_study, trial_folder
from zoo_optuna.search import POLL_SECONDS, State, begun_trials, check_numbers, progress_of, standing_of
from zoo_optuna.trials import run_trials

if TYPE_CHECKING:
    from optuna import Study

    from zoo.host import Host

ENDED = "ended.json"
TRIALS_PER_LOOK = 12
"""With more workers the progress of their trials is read less often: four times a second for one, once for fifty."""


class WorkerEnd(Record):
    """The content of ended.json.

    Args:
        worker: Number of the worker.
        error: Error that ended it; "" where it found no further trial.
    """

    worker: int
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkerWork:
    """A worker of a study as work of a queue.

    Args:
        study, folder: Journal and folder of the study.
        number: Number of the worker, from 0.
        complete: Function that returns whether the study has its number of trials.
    """

    study: Study
    folder: Path
    number: int
    complete: Callable[[], bool]

    @property
    def run_dir(self) -> Path:
        """Folder of its end and of its job."""
        return worker_folder(self.folder, self.number)

    @property
    def label(self) -> str:
        """Name for people."""
        return f"worker {self.number} of study {self.folder.name}"

    def prepare(self) -> None:
        """Remove the end of an earlier attempt unless one is at work.

        Raises:
            DataError: The folder cannot be written.
        """
        make_dir(self.run_dir)
        remove_unless_locked(self.run_dir, ENDED)

    def has_ended(self) -> bool:
        """Whether ended.json is there, or the study needs no further worker."""
        return self.complete() or (self.run_dir / ENDED).exists()

    def result(self) -> WorkerEnd | None:
        """Return its end; a worker that has not started when the study is complete has ended well."""
        try:
            return read_record(read_json(self.run_dir / ENDED), WorkerEnd, what=ENDED)
        except (OSError, ValueError, DataError):
            idle = self.complete() and not locked(self.run_dir)
            return WorkerEnd(worker=self.number) if idle else None

    def has_advanced(self, since: float) -> bool:
        """Whether the attempt has ended a trial, or added a checkpoint to the one that it had in hand."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.user_attrs.get("worker") != self.run_dir.name:
                continue
            if trial.datetime_complete is not None and trial.datetime_complete.timestamp() >= since:
                return True
            with contextlib.suppress(OSError):
                checkpoint = trial_folder(self.folder, trial.number) / CHECKPOINT
                if trial.state == TrialState.RUNNING and checkpoint.stat().st_mtime >= since:
                    return True
        return False

    def goes_on(self, state: JobState) -> bool:
        """Whether it was not cancelled. Where its process has died, the trial in hand is charged with the death."""
        if state.kind == "ended" and state.reason in ("failed", "oom", "unknown"):
            with alone(self.folder):  # no other worker takes the trial meanwhile
                count_deaths(self.study, self.run_dir.name, cause=state.detail or state.reason)
        return state.reason != "cancelled"

    def failed(self, *, detail: str = "", engine_log: str = "", summary: str = "", keep: bool = True) -> WorkerEnd:
        """Return a failure; arguments as those of `Work.failed`. It is not stored: the same command goes on with it."""
        text = failure_text(self.run_dir, detail=detail, engine_log=engine_log, summary=summary)
        return WorkerEnd(worker=self.number, error=text)


def worker_folder(folder: Path, number: int) -> Path:
    """Return the folder of a worker of a study."""
    return folder / f"worker-{number:04d}"


def resolved_launch(host: Host, launch: Launch, *, device: str, workers: int) -> tuple[Resolved, str]:
    """Return a launcher with its options, and the device of the trials.

    Args:
        host: Host with the installed plugins.
        launch: Launcher, its options, and the resources of each worker.
        device: Device requested.
        workers: Number of workers, which `core/local` runs side by side unless its options state another number.

    Raises:
        UsageError: The launcher, an option or the device is unknown.
        MissingError: This machine lacks the device of `core/local`.
    """
    resolved = launch.resolved(host, ())
    here = resolved.spec.id == LOCAL
    device = (resolve_device if here else planned_device)(device)
    if device == "cuda":
        resolved = launch.resolved(host, (), gpus=1)
    if here and not resolved.options["jobs"]:
        resolved = replace(resolved, options={**resolved.options, "jobs": workers})
    return resolved.on_all_gpus() if here and device == "cuda" else resolved, device


def run_on_launcher(
    host: Host,
    definition: Definition,
    folder: Path,
    *,
    trials: int,
    workers: int,
    launch: Resolved,
    device: str,
    images: Path | None = None,
    watch: Callable[[State], None] | None = None,
) -> list[WorkerEnd]:
    """Run trials by workers that are jobs of a launcher, until the study has the requested number.

    A worker that an earlier call has submitted and that still waits or runs is not submitted again. A worker that dies
    is submitted again, and the trial that it had in hand goes on from its last epoch. Trials of other processes are
    waited for, and taken over when these are killed.

    Args:
        host: Host with the installed plugins.
        definition, folder: Definition and folder returned by `make_study`.
        trials: Total number of trials, those of earlier calls included.
        workers: Number of workers.
        launch, device: Launcher and device, as `resolved_launch` returns them.
        images: Folder with simulated images; default: the cache, where missing images are added.
        watch: Function called with the state of the study several times a second.

    Returns:
        The workers that have failed; without them the study may lack trials.

    Raises:
        UsageError: A number is out of range, or the launcher refuses an option.
        MissingError: This machine lacks what the launcher needs.
        LauncherError: The launcher cannot be started, or cannot find out whether workers submitted earlier still wait.
        KeyboardInterrupt: The call was interrupted; its workers have been stopped.
    """
    check_numbers(trials=trials, workers=workers)
    folder = folder.absolute()
    study = open_study(folder, definition)
    absolute_variables()
    words = ["--trials", str(trials), "--device", device]
    words += ["--images", str(images.absolute())] if images else []

    def job(entry: Entry[WorkerEnd]) -> Job:
        number = entry.run_dir.name.rpartition("-")[2]
        command = (sys.executable, "-m", "zoo", "run-trials", str(folder), *words, "--worker", number)
        return make_job(entry.run_dir, command, files=host.files, resources=launch.basis, label=entry.work.label)

    shown, complete = -math.inf, False

    def look(size: int) -> None:
        """Show the study. What is read does not grow with the trials that have ended."""
        nonlocal shown, complete
        if size and time.monotonic() - shown < POLL_SECONDS * max(1.0, size / TRIALS_PER_LOOK):
            return
        shown, begun = time.monotonic(), begun_trials(study)
        running = {t.number: progress_of(folder, t) for t in begun if t.state == TrialState.RUNNING}
        complete = len(begun) >= trials and not running
        if watch is not None:
            watch(State(definition=definition, trials=begun, wanted=trials, running=running, workers=size))

    failed: list[WorkerEnd] = []
    while True:
        standing = standing_of(study, folder, trials=trials)
        if not standing.left and not standing.held:
            keep_best(study, definition, folder)  # a worker may have been killed just before it wrote this file
            look(0)
            return failed
        if not standing.left:
            look(0)  # other processes run the last trials
            time.sleep(POLL_SECONDS)
            continue
        if failed:
            return failed
        count = min(workers, standing.left + len(standing.held))
        works = [
            WorkerWork(study=study, folder=folder, number=number, complete=lambda: complete) for number in range(count)
        ]
        entries: list[Entry[WorkerEnd]] = [Entry(work=work) for work in works]
        queue = make_queue(launch, entries, job=job)
        for work in works:
            work.prepare()
        wait_for(queue, look=partial(look, count))
        failed = [entry.result for entry in entries if entry.result is not None and entry.result.error]


def run_worker(host: Host, folder: Path, number: int, *, trials: int, device: str, images: Path | None = None) -> bool:
    """Run trials in this process as a worker that a launcher has started; its end goes into its folder.

    Args:
        host: Host with the installed plugins.
        folder: Folder of the study.
        number: Number of the worker.
        trials: Total number of trials of the study.
        device: Device for training: "cpu", "cuda" or "mps".
        images: Folder with simulated images; default: the cache, where missing images are added.

    Returns:
        Whether it has ended; otherwise it has to go on in another process.

    Raises:
        BusyError: Another process is this worker.
        ZooError: The study cannot be read or written, or was planned with other versions.
    """
    run_dir = make_dir(worker_folder(folder, number))
    with claim(run_dir):
        (run_dir / ENDED).unlink(missing_ok=True)
        try:
            cell = read_definition(folder).cell
            check_versions(host, cell.versions, cell.model, *cell.recipe.plugins)
            ended = run_trials(host, folder, trials=trials, device=device, images=images, worker=run_dir.name)
        except Exception as error:
            if not isinstance(error, BusyError):
                write_json(run_dir / ENDED, {"worker": number, "error": str(error) or type(error).__name__})
            raise
        if ended:
            write_json(run_dir / ENDED, {"worker": number, "error": ""})
        return ended
