"""End of a training: the fall of its loss, and the losses of the epoch whose weights were kept.

A training whose loss has stayed at chance from its first epoch on, or in its whole last phase, has not begun to learn,
whatever its score is.
The validation AUC of the last epoch does not show whether a longer training would score higher: the learning rate falls
to zero, and so does every change, in a short training as in a long one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from zoo.data.phases import budget_phases
from zoo.plurals import counted
from zoo.results.cell import Cell
from zoo.results.schema import Epoch
from zoo.schema import Record
from zoo.specs import CLASSIFY, DatasetSpec
from zoo.tasks.find import CORE

OVERFITTING = 1.1
"""A validation loss above this multiple of the training loss is overfitting. Without overfitting the two also differ a
little: the training loss is a mean over an epoch of changing weights and augmented images."""

PLATEAU, PLATEAU_EPOCHS = 0.01, 3
"""Relative distance of the training loss from chance, and least number of epochs within it: learning has not begun."""


class TrainingEnd(Record):
    """End of a training.

    Args:
        fall: Training loss before the last fifth of the epochs, less that of the last epoch; None for a single epoch,
            which sees each image once.
        train_loss: Training loss of the epoch whose weights were kept.
        val_loss: Validation loss of that epoch.
        alike: Whether both are cross entropies of images with the same parameters, so that they can be compared.
    """

    fall: float | None
    train_loss: float
    val_loss: float
    alike: bool

    @property
    def overfits(self) -> bool:
        """Whether the validation loss is clearly above the training loss (`OVERFITTING`), after several epochs."""
        return self.alike and self.fall is not None and self.val_loss > OVERFITTING * self.train_loss

    def in_words(self) -> str:
        """Return the three numbers for a table."""
        fall = "" if self.fall is None else f"; last fall {self.fall:.3f}"
        overfits = ": overfits" if self.overfits else ""
        return f"training loss {self.train_loss:.3f}, validation {self.val_loss:.3f}{overfits}{fall}"


def training_end(cell: Cell, history: Sequence[Epoch], *, epoch: int) -> TrainingEnd:
    """Return the end of a training.

    Args:
        cell: Cell of the training.
        history: Its epochs, at least up to `epoch`.
        epoch: Number of the epoch whose weights were kept, counted from 1.
    """
    fifth = math.ceil(len(history) / 5)
    fall = None
    if len(history) > fifth:
        fall = history[-1 - fifth].train_loss - history[-1].train_loss
    kept = history[epoch - 1]
    task = cell.task.partition(":")[0]
    classifies = "/" not in task and (task == CLASSIFY or task not in CORE)  # or a grouping of the classes
    # A plugin's loss and label smoothing change the training loss only; easier images of an earlier phase lower it.
    own = cell.training.get("loss") or cell.training.get("label_smoothing")
    alike = classifies and not own and (kept.phase or 0) == len(cell.phases)
    return TrainingEnd(fall=fall, train_loss=kept.train_loss, val_loss=kept.val_loss, alike=alike)


def epochs_at_chance(history: Sequence[Epoch], *, chance: float | None, phases: int = 0, in_units: bool = False) -> int:
    """Return the number of epochs of a training that has not begun to learn; 0 if it has, or is too short to tell.

    In phases, these are all epochs, or those of the last phase: what a network learns from easier images, it may lose.

    Args:
        history: Its epochs from the first one on.
        chance: Loss of a network that has learned the frequencies of the classes alone (`zoo.tasks.task.Task`); None
            where the task has no such number.
        phases: Number of phases of the training.
        in_units: Whether the training estimates truths: its losses are in units of the truths of the last phase, so
            that those of the others say nothing.
    """
    of_last = [entry for entry in history if not phases or entry.phase == phases]
    for epochs in (of_last,) if in_units else (history, of_last):
        if chance is not None and _stays_at([entry.train_loss for entry in epochs], chance):
            return len(epochs)
    return 0


def _stays_at(losses: Sequence[float], chance: float) -> bool:
    """Whether enough losses are close to chance, and none is lower; those of the first epochs may be higher."""
    close = [loss for loss in losses if loss <= (1 + PLATEAU) * chance]
    return len(close) >= PLATEAU_EPOCHS and min(close) >= (1 - PLATEAU) * chance


def describe_plateau(cell: Cell, dataset: DatasetSpec | None, *, epochs: int, in_last_phase: bool = True) -> str:
    """Return a sentence on a training that has not begun to learn, with settings to try.

    Args:
        cell: Cell of the training.
        dataset: Spec of its data set; None where its plugin is not installed.
        epochs: Number of epochs so far.
        in_last_phase: Whether the last phase has begun, whose images are as those of the test.
    """
    tries = []
    total = int(cell.training.get("epochs", epochs))
    if dataset is not None and not cell.phases:
        # Where its own budget has none, those of another one that lead to the same images.
        names = (cell.budget, *dataset.budget_phases)
        texts = (budget_phases(dataset, cell.recipe, name, epochs=total) for name in names)
        tries = [f"--set 'train.phases={text}'" for text in filter(None, texts)][:1]
    if len(cell.phases) > 1:
        tries.append("more epochs in the phases before the last")
    tries.append("--set init=WEIGHTS of a classifier, or of a network for easier images")
    images = " images as those of the test" if len(cell.phases) > 1 and in_last_phase else ""
    so_far = f"has not begun to learn{images} after {counted(epochs, 'epoch')} (its loss is that of chance)"
    return f"{so_far}; try {' or '.join(tries)}"
