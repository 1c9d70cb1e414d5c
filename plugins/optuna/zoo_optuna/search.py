"""Run a study: create or find it, start worker processes for its trials, and report their progress."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from zoo import registry
from zoo.errors import DataError, UsageError
from zoo.paths import log_tail, make_dir, open_log, user_path
from zoo.plan.cells import make_plan
from zoo.plan.overrides import SHARED_OWNERS
from zoo.plan.request import Request
from zoo.plan.study import study_folder, unknown_study
from zoo.plan.tasks import require_area
from zoo.processor import computing_environment, gpu_names
from zoo.progress import Progress, read_progress
from zoo.results.store import LOG, PROGRESS, locked
from zoo.specs import DatasetSpec, ModelSpec
from zoo.stopping import PARENT_VARIABLE, STOPPED
from zoo_optuna.definition import Definition, check_same, read_definition, write_definition
from zoo_optuna.journal import alone, count_deaths, keep_best, open_study, trial_folder, worker_name
from zoo_optuna.space import choose_space

if TYPE_CHECKING:
    from optuna import Study

    from zoo.host import Host

POLL_SECONDS = 0.25
MOST_TRIALS, MOST_WORKERS = 100_000, 1024
_LOG_LINES = 12


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of a study.

    Args:
        definition: Definition of the study.
        trials: All trials that have started, by number.
        wanted: Number of trials requested.
        running: Last progress of each running trial, by its number; see `zoo.progress`.
        workers: Number of worker processes of this call.
    """

    definition: Definition
    trials: Sequence[FrozenTrial]
    wanted: int
    running: Mapping[int, Progress | None] = field(default_factory=dict)
    workers: int = 0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What of a study has started, runs, and is left.

    Args:
        begun: All trials that have started.
        held: Those of them that a process runs.
        left: Number of trials that are to be started or resumed.
    """

    begun: Sequence[FrozenTrial]
    held: Sequence[FrozenTrial]
    left: int


def make_study(
    host: Host, request: Request, *, name: str, searched: Sequence[str] = (), prune_after: int = 5
) -> tuple[Definition, Path]:
    """Create a study, or check that an existing one has the same definition; return its definition and folder.

    Args:
        host: Host with the installed plugins.
        request: Request for one model and one data set, with the fixed settings.
        name: Name of the study.
        searched: Names of the searched settings; empty for all settings of the model and the trainer.
        prune_after: Number of completed trials required before one is pruned.

    Raises:
        UsageError: A name is unknown, a value is invalid, or a different study of this name exists.
        MissingError: A required plugin or library is missing.
        DataError: The store is not writable.
    """
    folder = study_folder(user_path(request.store), name)
    for kind, names in ((ModelSpec, request.models), (DatasetSpec, request.data)):
        found = registry.match(host, kind, names)
        if len(found) > 1:
            ids = ", ".join(spec.id for spec in found[:3])
            raise UsageError(
                f"A study needs exactly one {kind.kind}; {', '.join(names)} matches {len(found)}: {ids} ..."
            )
    [model] = registry.match(host, ModelSpec, request.models)
    for setting in request.settings:
        if setting.rpartition(".")[0] not in SHARED_OWNERS:
            # "MODEL.NAME" would override the values of the trials.
            raise UsageError(
                f"--set {setting}: unknown prefix. A study has one model; the only prefixes are 'model.', 'data.' and "
                "'train.'.",
                hint=f"Try: --set {setting.rpartition('.')[2]}=...; write parameters of the data set as data.NAME.",
            )
    [cell] = make_plan(host, request)
    require_area(host, cell)
    # Phases divide a number of epochs, which a trial must not change.
    phases = {"epochs": None} if cell.phases else {}
    space = choose_space(model, searched=searched, fixed={**request.settings, **phases})
    wanted = Definition(
        study=name, cell=cell, space=space, settings=dict(request.settings), prune_after=prune_after
    )  # fmt: skip
    make_dir(folder)
    with alone(folder):
        try:
            check_same(read_definition(folder), wanted)
        except FileNotFoundError:
            libraries = ("lens-zoo", "lens-zoo-optuna", "optuna", "torch")
            made_with = {library: importlib.metadata.version(library) for library in libraries}
            write_definition(folder, wanted, made_with=made_with)
        open_study(folder, wanted, create=True)
    return wanted, folder


def find_study(store: Path, name: str) -> tuple[Definition, Path, Study]:
    """Return the definition, folder and journal of an existing study.

    Raises:
        UsageError: The study does not exist.
        DataError: The study is damaged.
    """
    folder = study_folder(store, name)
    try:
        definition = read_definition(folder)
    except FileNotFoundError as error:
        raise unknown_study(store, name) from error
    return definition, folder, open_study(folder, definition)


def check_numbers(*, trials: int, workers: int) -> None:
    """Check the numbers of trials and workers.

    Raises:
        UsageError: A number is out of range.
    """
    for name, value, most in (("trials", trials, MOST_TRIALS), ("workers", workers, MOST_WORKERS)):
        if not 1 <= value <= most:
            raise UsageError(f"--{name} {value} must be a whole number from 1 to {most:,}.")


def run_study(
    host: Host,
    definition: Definition,
    folder: Path,
    *,
    trials: int,
    workers: int = 1,
    device: str = "cpu",
    images: Path | None = None,
    watch: Callable[[State], None] | None = None,
) -> None:
    """Run trials until the study has the requested number and all of them have ended.

    Other processes may work on the same study: this function waits for their trials, and takes over a trial whose
    process was killed.

    Args:
        host: Host with the installed plugins.
        definition, folder: Definition and folder returned by `make_study`.
        trials: Total number of trials, those of earlier calls included.
        workers: Number of parallel processes.
        device: Device for training: "cpu", "cuda" or "mps".
        images: Folder with simulated images; default: the cache, where missing images are added.
        watch: Function called with the state of the study several times a second.

    Raises:
        UsageError: A number is out of range.
        DataError: A worker cannot start.
        KeyboardInterrupt: The call was interrupted; the workers have been stopped.
    """
    check_numbers(trials=trials, workers=workers)
    study = open_study(folder, definition)
    crew = _Crew(host=host, folder=folder, trials=trials, workers=workers, device=device, images=images)
    try:
        while True:
            crew.bury(study)
            standing = standing_of(study, folder, trials=trials)
            if watch is not None:
                progress = {t.number: progress_of(folder, t) for t in standing.held}
                begun, size = standing.begun, crew.size
                watch(State(definition=definition, trials=begun, wanted=trials, running=progress, workers=size))
            if not standing.left and not standing.held:
                keep_best(study, definition, folder)  # a worker may have been killed just before it wrote this file
                return
            crew.hire(left=standing.left, held=standing.held)
            time.sleep(POLL_SECONDS)
    finally:
        crew.stop()


def standing_of(study: Study, folder: Path, *, trials: int) -> Standing:
    """Return what of a study has started, runs, and is left.

    Args:
        study, folder: Journal and folder of the study.
        trials: Number of trials requested.
    """
    begun = begun_trials(study)
    running = [trial for trial in begun if trial.state == TrialState.RUNNING]
    held = [trial for trial in running if locked(trial_folder(folder, trial.number))]
    return Standing(begun=begun, held=held, left=max(0, trials - len(begun)) + len(running) - len(held))


def begun_trials(study: Study) -> list[FrozenTrial]:
    """Return all trials that have started."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]


def progress_of(folder: Path, trial: FrozenTrial) -> Progress | None:
    """Return the last progress of a trial."""
    return read_progress(trial_folder(folder, trial.number) / PROGRESS)


@dataclass(kw_only=True)
class _Crew:
    """The worker processes of this call."""

    host: Host
    folder: Path
    trials: int
    workers: int
    device: str
    images: Path | None = None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started: int = 0

    @property
    def size(self) -> int:
        return len(self.processes)

    def hire(self, *, left: int, held: Sequence[FrozenTrial]) -> None:
        """Start workers for the trials that no idle worker will take."""
        busy = {trial.user_attrs.get("worker") for trial in held}
        idle = sum(worker_name(process.pid) not in busy for process in self.processes)
        for _ in range(min(self.workers - self.size, left - idle)):
            self.processes.append(self._start())

    def bury(self, study: Study) -> None:
        """Remove workers that have ended, and mark a trial as failed if its process has died repeatedly.

        Raises:
            DataError: A worker failed before it started a trial.
        """
        ended = [process for process in self.processes if process.poll() is not None]
        self.processes = [process for process in self.processes if process.poll() is None]
        for process in ended:
            if process.returncode in (0, STOPPED):
                continue
            cause = f"status {process.returncode}"
            with alone(self.folder):  # no other worker takes the trial meanwhile
                had = count_deaths(study, worker_name(process.pid), cause=cause)
            if not had:
                tail = log_tail(self.folder / LOG, _LOG_LINES)
                raise DataError(f"A worker exited with status {process.returncode}. Last lines of its log:\n{tail}")

    def stop(self) -> None:
        """Stop the workers; an unfinished trial loses at most one epoch."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            process.kill()
            process.wait()

    def _next_gpu(self) -> list[str]:
        """Return the GPU of the next worker, one after the other; nothing where there is no choice."""
        if self.device != "cuda" or self.workers == 1:
            return []
        import torch

        count = torch.cuda.device_count()
        self.started += 1
        return gpu_names(str((self.started - 1) % count)) if count > 1 else []

    def _start(self) -> subprocess.Popen[bytes]:
        files = [record.distribution for record in self.host.records.values() if record.version == "file"]
        environment = {
            # Parallel workers that each use all cores would be slower than sequential ones.
            **computing_environment(processes=self.workers, gpus=self._next_gpu()),
            PARENT_VARIABLE: str(os.getpid()),
            "ZOO_PLUGIN_FILES": os.pathsep.join(os.path.abspath(file) for file in files),
        }
        words = ["run-trials", str(self.folder), "--trials", str(self.trials), "--device", self.device]
        words += ["--images", str(self.images)] if self.images else []
        with os.fdopen(open_log(self.folder / LOG), "ab") as log:
            # In a separate session Ctrl-C reaches only the parent, which then stops its workers.
            return subprocess.Popen(
                [sys.executable, "-m", "zoo", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
