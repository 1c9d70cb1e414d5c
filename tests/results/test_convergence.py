"""End of a training: what it states of synthetic histories."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from zoo.data.phases import Phase
from zoo.data.recipe import Recipe
from zoo.results.cell import Cell
from zoo.results.convergence import describe_plateau, epochs_at_chance, training_end
from zoo.results.schema import Epoch
from zoo.specs import DatasetSpec
from zoo.tasks.task import entropy


def history(train: list[float], val: list[float] | None = None) -> list[Epoch]:
    rest: dict[str, Any] = {"lr": 0.0, "val_auc": 0.9, "val_accuracy": 0.5, "train_seconds": 1.0, "waited_seconds": 0.0}
    rest |= {"train_images_per_second": 1.0, "micro_batches": 1, "seconds": 1.0}
    return [
        Epoch(epoch=number, train_loss=loss, val_loss=other, **rest)
        for number, (loss, other) in enumerate(zip(train, val or train, strict=True), 1)
    ]


def test_of_epochs_with_the_same_area_a_rule_prefers_the_lower_validation_loss() -> None:
    """On an easy problem the area is 1 from the first epoch on, in which a third of the images is still wrong."""
    entries = history([0.5, 0.2, 0.1, 0.1], val=[0.48, 0.02, 0.01, 0.03])
    assert max(entries, key=lambda entry: entry.rank("val_auc")).epoch == 3
    worse = [*entries, replace_auc(entries[0], 0.91)]
    assert max(worse, key=lambda entry: entry.rank("val_auc")) is worse[-1]
    assert max(entries, key=lambda entry: entry.rank("val_loss")).epoch == 3


def replace_auc(entry: Epoch, auc: float) -> Epoch:
    return structs.replace(entry, epoch=9, val_auc=auc)


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
    assert training_end(CELL, history(losses), epoch=1).fall == (fall if fall is None else pytest.approx(fall))


def test_losses_are_those_of_the_epoch_whose_weights_were_kept() -> None:
    epochs = history([1.0, 0.5, 0.2], [1.0, 0.6, 0.8])
    kept, last = training_end(CELL, epochs, epoch=1), training_end(CELL, epochs, epoch=3)
    assert (kept.train_loss, kept.val_loss, kept.overfits) == (1.0, 1.0, False)
    assert (last.train_loss, last.val_loss, last.overfits) == (0.2, 0.8, True)
    assert last.in_words() == "training loss 0.200, validation 0.800: overfits; last fall 0.300"
    assert "overfits" not in kept.in_words()


@pytest.mark.parametrize(
    ("changes", "alike"),
    [
        ({}, True),
        ({"task": "substructure"}, True),
        ({"task": "anomaly"}, False),
        ({"task": "regress:shear"}, False),
        ({"task": "others/count"}, False),
        ({"training": {"epochs": 9, "loss": "others/focal@1"}}, False),
        ({"training": {"epochs": 9, "label_smoothing": 0.1}}, False),
    ],
)
def test_losses_of_two_kinds_are_not_compared(changes: dict[str, Any], alike: bool) -> None:
    """Those of Gaussians are negative, and a plugin's loss or smoothing changes the training loss alone."""
    ended = training_end(replace(CELL, **changes), history([1.0, 0.5, 0.2], [1.0, 0.6, 0.8]), epoch=3)
    assert (ended.overfits, "overfits" in ended.in_words()) == (alike, alike)


def test_an_epoch_of_an_easier_phase_is_not_compared_with_validation_images() -> None:
    epochs = [
        structs.replace(entry, phase=phase) for entry, phase in zip(history([0.9, 0.5, 0.3]), (1, 1, 2), strict=True)
    ]
    epochs = [structs.replace(entry, val_loss=0.9) for entry in epochs]
    cell = replace(CELL, training={"epochs": 3}, phases=(Phase(epochs=2, params={}), Phase(epochs=1, params={})))
    assert [training_end(cell, epochs, epoch=epoch).overfits for epoch in (2, 3)] == [False, True]


def test_a_schedule_that_ends_at_zero_hides_nothing() -> None:
    """The validation AUC of the last epochs stands still, while the training loss fell until the rate did."""
    epochs = history([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2])
    assert epochs[-1].val_auc == epochs[-2].val_auc
    assert training_end(CELL, epochs, epoch=10).fall == pytest.approx(0.1)


LN_3 = 1.0986
CELL = Cell(
    model="toy/net", model_version=1, hparams={}, sizes={"train": 9, "val": 9, "test": 9}, training={"epochs": 9},
    recipe=Recipe(dataset="mine/data", dataset_version=1, params={"depth": 1.0, "flat": False}),
    seed=0, budget="smoke", rule="last", precision="fp32", versions={},
)  # fmt: skip
DATA = DatasetSpec(
    id="mine/data", target="mine:data", classes=("a", "b", "c"), params={"depth": 1.0, "flat": False},
    simulated=True, budget_phases={"laptop": "depth=4*4, depth=U(1, 4)*2, depth=1*12"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("losses", "counts", "epochs"),
    [
        ([LN_3] * 3, [30, 30, 30], 3),
        ([1.3, LN_3, 1.09, 1.097, 1.1], [30, 30, 30], 5),
        ([LN_3] * 2, [30, 30, 30], 0),
        ([LN_3, LN_3, 1.08], [30, 30, 30], 0),
        ([1.0, LN_3, LN_3, LN_3], [30, 30, 30], 0),
        ([1.33, 1.3, 1.27, 1.25], [30, 30, 30], 0),
        ([1.33, 1.3, LN_3, LN_3], [30, 30, 30], 0),
        ([0.325] * 3, [90, 10], 3),
        ([0.325] * 3, [90, 10, 0], 3),
        ([0.325] * 3, [50, 50], 0),
    ],
)
def test_a_loss_that_stays_at_that_of_the_frequencies_has_not_begun(
    losses: list[float], counts: list[int], epochs: int
) -> None:
    assert epochs_at_chance(history(losses), chance=entropy(counts)) == epochs


@pytest.mark.parametrize("budget", ["laptop", "smoke"])
def test_the_advice_is_the_phases_that_the_data_set_declares_at_the_length_of_the_training(budget: str) -> None:
    text = describe_plateau(replace(CELL, budget=budget), DATA, epochs=3)
    assert text.startswith("has not begun to learn after 3 epochs")
    assert "--set 'train.phases=depth=4*2, depth=U(1, 4)*1, depth=1*6' or --set init=WEIGHTS" in text


def test_of_truths_in_other_units_only_the_last_phase_counts() -> None:
    """At four times the mass, the loss in units of the published one is above chance however much is learned."""
    entries = [structs.replace(entry, phase=1 + (entry.epoch > 4)) for entry in history([4.0] * 4 + [0.5] * 4)]
    assert epochs_at_chance(entries[:4], chance=0.5, phases=2, in_units=True) == 0
    assert epochs_at_chance(entries, chance=0.5, phases=2, in_units=True) == 4
    assert epochs_at_chance(history([0.5] * 4), chance=0.5, in_units=True) == 4


def test_a_training_that_learns_from_easier_images_alone_has_not_begun() -> None:
    entries = [structs.replace(entry, phase=1 + (entry.epoch > 2)) for entry in history([1.0, 0.6] + [LN_3] * 4)]
    assert [epochs_at_chance(entries[:count], chance=LN_3, phases=2) for count in range(7)] == [0] * 5 + [3, 4]
    never = [structs.replace(entry, train_loss=LN_3) for entry in entries]
    assert epochs_at_chance(never, chance=LN_3, phases=2) == 6


def test_a_cell_of_an_earlier_version_may_lack_a_parameter() -> None:
    older = replace(CELL, recipe=replace(CELL.recipe, params={"flat": False}))
    stated = replace(DATA, yields={"depth": ["flat"]})
    assert "train.phases=" in describe_plateau(older, stated, epochs=3)


def test_phases_of_the_own_budget_come_before_those_of_another() -> None:
    both = replace(DATA, budget_phases={**DATA.budget_phases, "smoke": "depth=2*1, depth=1*2"})
    assert "'train.phases=depth=2*3, depth=1*6'" in describe_plateau(CELL, both, epochs=3)


def test_the_advice_leaves_out_what_would_not_be_easier() -> None:
    deeper = replace(CELL, recipe=replace(CELL.recipe, params={"depth": 4.0, "flat": False}))
    tried = replace(CELL, phases=(Phase(epochs=9, params={"depth": 4.0}),))
    for cell, dataset in ((deeper, DATA), (tried, DATA), (CELL, replace(DATA, budget_phases={})), (CELL, None)):
        text = describe_plateau(cell, dataset, epochs=9)
        assert "train." not in text
        assert "init=WEIGHTS" in text
    phases = (Phase(epochs=4, params={"depth": 4.0}), Phase(epochs=5, params={"depth": 1.0}))
    text = describe_plateau(replace(CELL, phases=phases), DATA, epochs=9)
    assert text.startswith("has not begun to learn images as those of the test after 9 epochs")
    assert "try more epochs in the phases before the last or --set init" in text
    before = describe_plateau(replace(CELL, phases=phases), DATA, epochs=3, in_last_phase=False)
    assert before.startswith("has not begun to learn after 3 epochs")
