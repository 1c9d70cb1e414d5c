"""Runs a study: makes it or finds it again, keeps worker processes at its trials, and says how they stand."""

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

from optuna.trial import FrozenTrial, Trial, TrialState

from zoo import registry
from zoo.errors import DataError, UsageError
from zoo.paths import make_dir
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.plan.study import study_folder, unknown_study
from zoo.progress import PARENT_VARIABLE, Progress, read_progress
from zoo.results.store import LOG, PROGRESS, locked
from zoo.specs import DatasetSpec, ModelSpec
from zoo_optuna.definition import Definition, check_same, read_definition, write_definition
from zoo_optuna.journal import alone, give_up, keep_best, open_study, trial_folder, worker_name
from zoo_optuna.space import choose_space

if TYPE_CHECKING:
    from optuna import Study

    from zoo.host import Host

POLL_SECONDS = 0.25
MOST_TRIALS, MOST_WORKERS = 100_000, 1024
MOST_DEATHS = 2
"""A trial whose process died so often while its parent lived is what kills it, for example by its memory."""
_LOG_LINES = 12


@dataclass(frozen=True, kw_only=True)
class State:
    """How a study stands.

    Args:
        definition: of it.
        trials: all that have begun, in the order of their numbers.
        wanted: how many there are to be.
        running: number -> what a trial that runs last said of itself; see `zoo.progress`.
        workers: how many processes of ours are at it.
    """

    definition: Definition
    trials: Sequence[FrozenTrial]
    wanted: int
    running: Mapping[int, Progress | None] = field(default_factory=dict)
    workers: int = 0


def make_study(
    host: Host, request: Request, *, name: str, searched: Sequence[str] = (), prune_after: int = 5
) -> tuple[Definition, Path]:
    """Return a study's definition and folder; begin it, or check that it is the one that is asked for.

    Args:
        host: the plugins.
        request: one model, one data set, and the settings that stay fixed.
        name: of the study.
        searched: names of what is searched; empty for all that the model and the trainer offer.
        prune_after: trials that must have run to their end before one is stopped.

    Raises:
        UsageError: an unknown name, an impossible value, or a study of that name that is another one.
        MissingError: a plugin or library that is needed is absent.
        DataError: the store cannot be written.
    """
    folder = study_folder(Path(request.store), name)
    for kind, names in ((ModelSpec, request.models), (DatasetSpec, request.data)):
        found = registry.match(host, kind, names)
        if len(found) > 1:
            ids = ", ".join(spec.id for spec in found[:3])
            raise UsageError(f"A study is of one {kind.kind}; {', '.join(names)} are {len(found)}: {ids} ...")
    [model] = registry.match(host, ModelSpec, request.models)
    for setting in request.settings:
        if setting.rpartition(".")[0] not in ("", "data", "model"):
            # As "MODEL.NAME" it would hold instead of what a trial tries.
            raise UsageError(
                f"--set {setting}: a study is of one model, whose settings need no other prefix than 'model.'.",
                hint=f"Write: --set {setting.rpartition('.')[2]}=...; parameters of the data are data.NAME.",
            )
    space = choose_space(model, searched=searched, fixed=request.settings)
    [cell] = make_plan(host, request)
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
    """Return a study that exists: its definition, folder and journal.

    Raises:
        UsageError: there is none of that name.
        DataError: it is damaged.
    """
    folder = study_folder(store, name)
    try:
        definition = read_definition(folder)
    except FileNotFoundError as error:
        raise unknown_study(store, name) from error
    return definition, folder, open_study(folder, definition)


def check_numbers(*, trials: int, workers: int) -> None:
    """Refuse numbers of trials or workers that cannot be meant.

    Raises:
        UsageError: names the number.
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
    """Return when the study has so many trials, all of which have ended.

    Other processes may work on the same study: their trials are waited for, and taken over when they are killed.

    Args:
        host: the plugins.
        definition, folder: as `make_study` gave them.
        trials: how many the study is to have in all, those of earlier calls included.
        workers: processes that run a trial each at the same time.
        device: "cpu", "cuda" or "mps".
        images: folder that holds the simulated images; default: the cache, which is filled.
        watch: called several times a second.

    Raises:
        UsageError: an impossible number.
        DataError: a worker cannot start.
        KeyboardInterrupt: after the workers have been stopped.
    """
    check_numbers(trials=trials, workers=workers)
    study = open_study(folder, definition)
    crew = _Crew(host=host, folder=folder, trials=trials, workers=workers, device=device, images=images)
    try:
        while True:
            crew.bury(study)
            begun = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
            running = [trial for trial in begun if trial.state == TrialState.RUNNING]
            held = [trial for trial in running if locked(trial_folder(folder, trial.number))]
            left = max(0, trials - len(begun)) + len(running) - len(held)
            if watch is not None:
                said = {t.number: read_progress(trial_folder(folder, t.number) / PROGRESS) for t in held}
                watch(State(definition=definition, trials=begun, wanted=trials, running=said, workers=crew.size))
            if not left and not running:
                keep_best(study, definition, folder)  # whose worker may have been killed just before it did
                return
            crew.hire(left=left, held=held)
            time.sleep(POLL_SECONDS)
    finally:
        crew.stop()


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

    @property
    def size(self) -> int:
        return len(self.processes)

    def hire(self, *, left: int, held: Sequence[FrozenTrial]) -> None:
        """Start workers, if there are trials left that none of ours is about to take."""
        busy = {trial.user_attrs.get("worker") for trial in held}
        idle = sum(worker_name(process.pid) not in busy for process in self.processes)
        for _ in range(min(self.workers - self.size, left - idle)):
            self.processes.append(self._start())

    def bury(self, study: Study) -> None:
        """Look for workers that have ended, and give up a trial that has killed several of them.

        Raises:
            DataError: a worker ended without having begun a trial.
        """
        ended = [process for process in self.processes if process.poll() is not None]
        self.processes = [process for process in self.processes if process.poll() is None]
        for process in ended:
            if process.returncode == 0:
                continue
            victims = [
                Trial(study, trial._trial_id)  # optuna offers no public way from a number to a trial
                for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
                if trial.user_attrs.get("worker") == worker_name(process.pid)
            ]
            tail = _tail(self.folder / LOG)
            if not victims:
                raise DataError(f"A worker ended with status {process.returncode}; the end of its log:\n{tail}")
            for trial in victims:
                deaths = trial.user_attrs.get("deaths", 0) + 1
                trial.set_user_attr("deaths", deaths)
                if deaths >= MOST_DEATHS:
                    give_up(study, trial, f"its process died {deaths} times, last with status {process.returncode}")

    def stop(self) -> None:
        """End the workers; a trial in hand loses at most an epoch."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        files = [record.distribution for record in self.host.records.values() if record.version == "file"]
        environment = {
            **os.environ,
            PARENT_VARIABLE: str(os.getpid()),
            "ZOO_PLUGIN_FILES": os.pathsep.join(os.path.abspath(file) for file in files),
        }
        if self.workers > 1 and self.device == "cpu":
            # Side by side, each with all cores, they would be slower than one after the other.
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.workers)))
        words = ["run-trials", str(self.folder), "--trials", str(self.trials), "--device", self.device]
        words += ["--images", str(self.images)] if self.images else []
        with (self.folder / LOG).open("ab") as log:
            # A session of its own: Ctrl-C reaches the parent alone, which then stops its workers in order.
            return subprocess.Popen(
                [sys.executable, "-m", "zoo", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-_LOG_LINES:]) or "(empty)"
