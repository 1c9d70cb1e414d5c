"""End of a training: what it states of synthetic histories."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.results.convergence import training_end
from zoo.results.schema import Epoch


def history(train: list[float], val: list[float] | None = None) -> list[Epoch]:
    rest: dict[str, Any] = {"lr": 0.0, "val_auc": 0.9, "val_accuracy": 0.5, "train_seconds": 1.0, "waited_seconds": 0.0}
    rest |= {"train_images_per_second": 1.0, "micro_batches": 1, "seconds": 1.0}
    return [
        Epoch(epoch=number, train_loss=loss, val_loss=other, **rest)
        for number, (loss, other) in enumerate(zip(train, val or train, strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("losses", "fall"),
    [
        ([1.0], None),
        ([1.0, 0.7], 0.3),
        ([1.0, 0.9, 0.8, 0.7, 0.5], 0.2),
        ([1.0] * 6 + [0.8, 0.5], 0.5),
        ([0.5, 0.6], -0.1),
    ],
)
def test_the_fall_is_that_of_the_last_fifth_of_the_epochs(losses: list[float], fall: float | None) -> None:
    assert training_end(history(losses), epoch=1).fall == (fall if fall is None else pytest.approx(fall))


def test_losses_are_those_of_the_epoch_whose_weights_were_kept() -> None:
    epochs = history([1.0, 0.5, 0.2], [1.0, 0.6, 0.8])
    kept, last = training_end(epochs, epoch=1), training_end(epochs, epoch=3)
    assert (kept.train_loss, kept.val_loss, kept.overfits) == (1.0, 1.0, False)
    assert (last.train_loss, last.val_loss, last.overfits) == (0.2, 0.8, True)
    assert last.in_words() == "training loss 0.200, validation 0.800: overfits; last fall 0.300"
    assert "overfits" not in kept.in_words()


def test_a_schedule_that_ends_at_zero_hides_nothing() -> None:
    """The validation AUC of the last epochs stands still, while the training loss fell until the rate did."""
    epochs = history([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2])
    assert epochs[-1].val_auc == epochs[-2].val_auc
    assert training_end(epochs, epoch=10).fall == pytest.approx(0.1)
