"""The journal of a study: one file to which several processes append, and which survives a killed process."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from zoo.data.recipe import short_hash
from zoo.errors import DataError
from zoo.locks import file_lock, lock_held
from zoo.paths import regular_file
from zoo.plan.study import write_best
from zoo.plurals import counted
from zoo_optuna.definition import STUDY, Definition, best_of, own_values
from zoo_optuna.sampling import AddressedTPE, make_pruner
from zoo_optuna.space import parameters_of, values_of

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from optuna import Study

JOURNAL, LOCK = "journal.log", ".lock"
MOST_DEATHS = 2
"""Number of times that the process of a trial may die before the trial fails, for example from lack of memory."""
ABANDONED = "abandoned"
"""Attribute of a trial whose process has died, until another one takes it, so that the death is counted once."""
TAKEN_FROM = "taken_from"
"""Attribute of a trial that another worker has taken before a death of its process was counted: the earlier worker."""
_DEFINITION = "definition"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a study, for example while a process takes a trial.

    Raises:
        DataError: The folder is not writable.
    """
    with lock_held(folder / LOCK):
        yield


def open_study(folder: Path, definition: Definition, *, create: bool = False) -> Study:
    """Open the journal of a study; the first trial of a new study uses the model's default settings.

    Args:
        folder: Folder of the study.
        definition: Definition of the study.
        create: Whether to create a missing journal. The caller must hold `alone(folder)`.

    Raises:
        DataError: The journal is missing or damaged.
    """
    digest = short_hash(definition.to_json())
    # Optuna logs every trial to stderr, where the progress is shown.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / JOURNAL
    if not create and not path.exists():
        raise DataError(f"The journal {path} is missing.", hint="Delete the study's folder to start again.")
    # A lock of the operating system, which is released when its holder is killed: optuna's own locks are files, which a
    # killed process leaves behind for half a minute.
    lock = file_lock(folder / f".{JOURNAL}.lock")
    try:
        _drop_torn_line(path, lock)
        # Optuna does not export the type of its locks; it only calls acquire and release.
        backend = JournalFileBackend(str(path), lock_obj=lock)  # type: ignore[arg-type]
        storage = JournalStorage(backend)
        there = [one.study_name for one in storage.get_all_studies()]
        if there and definition.study not in there:  # it would be added
            raise _foreign(path)
        study = optuna.create_study(
            study_name=definition.study,
            storage=storage,
            direction="maximize",
            sampler=AddressedTPE(definition.study),
            pruner=make_pruner(epochs=definition.cell.training.get("epochs", 1), after=definition.prune_after),
            load_if_exists=True,
        )
        if not there:
            study.set_user_attr(_DEFINITION, digest)
    except (OSError, ValueError, LookupError) as error:
        raise DataError(
            f"Cannot read the journal {path}: {type(error).__name__}: {error}.",
            hint="The file is damaged or the disk is full.",
        ) from error
    if study.user_attrs.get(_DEFINITION) != digest:
        raise _foreign(path)
    if create and not study.get_trials(deepcopy=False):
        study.enqueue_trial(parameters_of(own_values(definition.cell, definition.space), definition.space))
    return study


def _foreign(path: Path) -> DataError:
    return DataError(
        f"The journal {path} belongs to another study than the file {STUDY} beside it.",
        hint="Put back the file that belongs there, or delete the study's folder to start again.",
    )


def trial_folder(folder: Path, number: int) -> Path:
    """Return the folder of a trial's checkpoint and progress; it is deleted when the trial has ended."""
    return folder / f"{number:04d}"


def worker_name(process: int) -> str:
    """Return the name of a worker in the journal."""
    return f"{platform.node()}/{process}"


def give_up(study: Study, trial: Trial, cause: str) -> None:
    """Mark a trial as failed."""
    trial.set_user_attr("error", cause)
    study.tell(trial, state=TrialState.FAIL)


def count_deaths(study: Study, worker: str, *, cause: str) -> int:
    """Count a death for the trial of a worker whose process has died; the trial fails after `MOST_DEATHS` of them.

    Args:
        study: Journal of the study.
        worker: Name of the worker.
        cause: End of the process in words.

    Returns:
        Number of trials that the process had in hand, those that another worker has taken meanwhile included.
    """
    taken = sum(trial.user_attrs.get(TAKEN_FROM) == worker for trial in study.get_trials(deepcopy=False))
    victims = [
        Trial(study, trial._trial_id)  # optuna offers no public way from a number to a trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if trial.user_attrs.get("worker") == worker and not trial.user_attrs.get(ABANDONED)
    ]
    for trial in victims:
        trial.set_user_attr(ABANDONED, True)
        deaths = trial.user_attrs.get("deaths", 0) + 1
        trial.set_user_attr("deaths", deaths)
        if deaths >= MOST_DEATHS:
            give_up(study, trial, f"its process died {counted(deaths, 'time')}, last with {cause}")
    return len(victims) + taken


def keep_best(study: Study, definition: Definition, folder: Path) -> None:
    """Write the best completed trial to a file that can be read without optuna.

    Raises:
        DataError: The file cannot be written.
    """
    with alone(folder):
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if ended:
            best = study.best_trial
            values = values_of(best.params, definition.space)
            trials = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
            found = best_of(definition, trial=best.number, val_auc=best.values[0], trials=trials, values=values)
            write_best(folder, found)


def _drop_torn_line(path: Path, lock: BaseFileLock) -> None:
    """Remove an incomplete last line: a record appended to it would be lost as well."""
    if not path.exists():
        return
    with lock, regular_file(path).open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        # A line has a few hundred bytes.
        start = max(0, size - 65_536)
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)
