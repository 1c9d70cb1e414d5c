"""The journal of a study: one file that any number of processes append to, and survives any of them being killed."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from zoo.errors import DataError
from zoo.plan.study import write_best
from zoo_optuna.definition import Definition, best_of, own_values
from zoo_optuna.sampling import AddressedTPE, make_pruner
from zoo_optuna.space import parameters_of, values_of

if TYPE_CHECKING:
    from optuna import Study

JOURNAL, LOCK = "journal.log", ".lock"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process that decides something about a study, such as who runs which trial.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        lock = filelock.FileLock(folder / LOCK)
        lock.acquire()
    except OSError as error:
        raise DataError(f"Cannot write to the folder {folder}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def open_study(folder: Path, definition: Definition, *, create: bool = False) -> Study:
    """Open a study's journal; a new one begins with the model's own settings as its first trial.

    Args:
        folder: of the study.
        definition: of it.
        create: begin the journal where there is none; the caller holds `alone(folder)`.

    Raises:
        DataError: the journal is missing or damaged.
    """
    # Optuna tells every trial on stderr, where the progress is.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / JOURNAL
    if not create and not path.exists():
        raise DataError(f"The study in {folder} has lost its journal.", hint="Remove the folder to begin again.")
    # One of the operating system, which lets go of it when its holder is killed: optuna's own are files, which a killed
    # process leaves behind for half a minute.
    lock = filelock.FileLock(folder / f".{JOURNAL}.lock")
    try:
        _drop_torn_line(path, lock)
        # Optuna does not export the class that it wants of a lock; it calls acquire and release, which this one has.
        backend = JournalFileBackend(str(path), lock_obj=lock)  # type: ignore[arg-type]
        storage = JournalStorage(backend)
        study = optuna.create_study(
            study_name=definition.study,
            storage=storage,
            direction="maximize",
            sampler=AddressedTPE(definition.study),
            pruner=make_pruner(epochs=definition.cell.training["epochs"], after=definition.prune_after),
            load_if_exists=True,
        )
    except (OSError, ValueError, LookupError) as error:
        raise DataError(
            f"Cannot read the journal {path}: {type(error).__name__}: {error}.",
            hint="It is damaged, or the disk is full.",
        ) from error
    if create and not study.get_trials(deepcopy=False):
        study.enqueue_trial(parameters_of(own_values(definition.cell, definition.space), definition.space))
    return study


def trial_folder(folder: Path, number: int) -> Path:
    """Return where a trial keeps its checkpoint and progress while it runs; gone when it has ended."""
    return folder / f"{number:04d}"


def worker_name(process: int) -> str:
    """Return how a worker is known in the journal."""
    return f"{platform.node()}/{process}"


def give_up(study: Study, trial: Trial, cause: str) -> None:
    """Mark a trial as failed."""
    trial.set_user_attr("error", cause)
    study.tell(trial, state=TrialState.FAIL)


def keep_best(study: Study, definition: Definition, folder: Path) -> None:
    """Write down the best trial so far, if there is one, for whoever has no optuna.

    Raises:
        DataError: it cannot be written.
    """
    with alone(folder):
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if ended:
            best = study.best_trial
            values = values_of(best.params, definition.space)
            write_best(folder, best_of(definition, trial=best.number, val_auc=best.values[0], values=values))


def _drop_torn_line(path: Path, lock: filelock.BaseFileLock) -> None:
    """Cut off a last line that its writer did not finish: whatever is appended to it would be lost, too."""
    if not path.exists():
        return
    with lock, path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        # Lines are a few hundred bytes.
        start = max(0, size - 65_536)
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)
