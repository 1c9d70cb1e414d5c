"""End of a training: the fall of its loss, and the losses of the epoch whose weights were kept.

The validation AUC of the last epoch does not show whether a longer training would score higher: the learning rate falls
to zero, and so does every change, in a short training as in a long one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from zoo.results.schema import Epoch
from zoo.schema import Record

OVERFITTING = 1.1
"""A validation loss above this multiple of the training loss is overfitting. Without overfitting the two also differ a
little: the training loss is a mean over an epoch of changing weights and augmented images."""


class TrainingEnd(Record):
    """End of a training.

    Args:
        fall: Training loss before the last fifth of the epochs, less that of the last epoch; None for a single epoch.
        train_loss: Training loss of the epoch whose weights were kept.
        val_loss: Validation loss of that epoch.
    """

    fall: float | None
    train_loss: float
    val_loss: float

    @property
    def overfits(self) -> bool:
        """Whether the validation loss is clearly above the training loss (`OVERFITTING`)."""
        return self.val_loss > OVERFITTING * self.train_loss

    def in_words(self) -> str:
        """Return the three numbers for a table."""
        fall = "" if self.fall is None else f"; last fall {self.fall:.3f}"
        overfits = ": overfits" if self.overfits else ""
        return f"training loss {self.train_loss:.3f}, validation {self.val_loss:.3f}{overfits}{fall}"


def training_end(history: Sequence[Epoch], *, epoch: int) -> TrainingEnd:
    """Return the end of a training.

    Args:
        history: Its epochs, at least up to `epoch`.
        epoch: Number of the epoch whose weights were kept, counted from 1.
    """
    fifth = math.ceil(len(history) / 5)
    fall = None
    if len(history) > fifth:
        fall = history[-1 - fifth].train_loss - history[-1].train_loss
    kept = history[epoch - 1]
    return TrainingEnd(fall=fall, train_loss=kept.train_loss, val_loss=kept.val_loss)
