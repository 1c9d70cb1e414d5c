"""Run the trials of a study in this process, one after the other, until the study has the requested number.

A trial belongs to the process that holds the lock of its folder. If a trial has started and its lock is free, its
process was killed: the next process resumes the trial from its last epoch, under the same number.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import torch
from optuna.trial import Trial, TrialState

from zoo.errors import ZooError
from zoo.isolation import contained
from zoo.paths import make_dir
from zoo.results.store import claim, locked
from zoo.train.fit import fit, prepare
from zoo_optuna.definition import Definition, read_definition, trial_cell
from zoo_optuna.journal import ABANDONED, TAKEN_FROM, alone, give_up, keep_best, open_study, trial_folder, worker_name
from zoo_optuna.space import suggest

if TYPE_CHECKING:
    from optuna import Study

    from zoo.host import Host
    from zoo.results.schema import Epoch

logger = logging.getLogger(__name__)


def run_trials(
    host: Host, folder: Path, *, trials: int, device: str, images: Path | None = None, worker: str = ""
) -> bool:
    """Run trials until the study has the requested number, or other processes run all that are left.

    Returns False after a failure that may have corrupted this process, for example an error on the GPU: another process
    has to go on.

    Args:
        host: Host with the installed plugins.
        folder: Folder of the study.
        trials: Total number of trials of the study.
        device: Device for training: "cpu", "cuda" or "mps".
        images: Folder with simulated images; default: the cache, where missing images are added.
        worker: Name of this worker in the journal; default: that of this process.

    Raises:
        DataError: The study cannot be read or written.
        KeyboardInterrupt: The process was interrupted; the unfinished trial can be resumed.
    """
    definition = read_definition(folder)
    study = open_study(folder, definition)
    sound = True
    while sound:
        with _next_trial(study, folder, trials=trials, worker=worker or worker_name(os.getpid())) as trial:
            if trial is None:
                return True
            sound = _run(host, definition, study, trial, folder, device=torch.device(device), images=images)
        if device == "cuda":
            torch.cuda.empty_cache()
    return False


@contextlib.contextmanager
def _next_trial(study: Study, folder: Path, *, trials: int, worker: str) -> Iterator[Trial | None]:
    """Yield a trial that this process holds the lock of, or None if all trials are taken."""
    with contextlib.ExitStack() as stack:
        with alone(folder):
            trial = _orphan(study, folder)
            everything = study.get_trials(deepcopy=False)
            waiting = any(other.state == TrialState.WAITING for other in everything)
            if trial is None and (waiting or len(everything) < trials):
                trial = study.ask()
            if trial is not None:
                stack.enter_context(claim(make_dir(trial_folder(folder, trial.number))))
                if trial.user_attrs.get(ABANDONED):
                    trial.set_user_attr(ABANDONED, False)
                elif earlier := trial.user_attrs.get("worker"):
                    trial.set_user_attr(TAKEN_FROM, earlier)
                trial.set_user_attr("worker", worker)
        yield trial


def _orphan(study: Study, folder: Path) -> Trial | None:
    """Return a trial that has started and that no process is running."""
    for begun in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not locked(trial_folder(folder, begun.number)):
            return Trial(study, begun._trial_id)  # optuna offers no public way from a number to a trial
    return None


def _run(
    host: Host,
    definition: Definition,
    study: Study,
    trial: Trial,
    folder: Path,
    *,
    device: torch.device,
    images: Path | None,
) -> bool:
    """Run a trial and record its outcome in the study; return whether this process can run another trial."""
    started = time.perf_counter()
    run_dir = trial_folder(folder, trial.number)
    earlier = trial.user_attrs.get("seconds", 0.0)
    sound = True

    def keep_seconds() -> None:
        trial.set_user_attr("seconds", earlier + time.perf_counter() - started)

    try:
        with contained():  # a network may raise SystemExit or KeyboardInterrupt
            values = suggest(trial, definition.space)
            cell = trial_cell(definition, trial.number, values)
            prepared = prepare(host, cell, run_dir, device=device, images=images)
            trial.set_user_attr("parameters", prepared.trial.cost.parameters)
            trial.set_user_attr("macs", prepared.trial.cost.macs)

            def epoch_ended(entry: Epoch) -> None:
                keep_seconds()
                trial.report(entry.selects("val_auc"), step=entry.epoch)
                unfinished = not cell.fits_itself and entry.epoch < prepared.settings.epochs
                if unfinished and trial.should_prune():
                    raise optuna.TrialPruned

            fitted = fit(prepared, cell, run_dir, epoch_ended=epoch_ended)
            trial.set_user_attr("epoch", fitted.epoch)
            keep_seconds()
            # If the process was killed just after an epoch, its checkpoint exists but its report does not. The pruner
            # needs the report to judge other trials.
            reported = study.get_trials(deepcopy=False)[trial.number].intermediate_values
            for entry in fitted.history:
                if entry.epoch not in reported:
                    trial.report(entry.selects("val_auc"), step=entry.epoch)
            study.tell(trial, fitted.val_auc)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except Exception as error:
        keep_seconds()
        text = str(error) if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
        logger.warning("trial %d failed: %s", trial.number, text, exc_info=not isinstance(error, ZooError))
        give_up(study, trial, text)
        sound = isinstance(error, ZooError)
    keep_best(study, definition, folder)
    shutil.rmtree(run_dir, ignore_errors=True)
    return sound
