"""Budgets: numbers of images and epochs. `DatasetSpec.budgets` holds what a budget changes in a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import UsageError, nearest


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A named problem size. A table never mixes results of different budgets.

    Args:
        name: Name of the budget.
        sizes: Number of images for each split.
        training: Settings that differ from the defaults of `zoo.plan.settings`.
        note: Information that readers need to judge the scores, whatever the images.
        size_note: Information on the numbers of images; true of simulated images in the budget's own numbers only.
    """

    name: str
    sizes: Mapping[str, int]
    training: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    size_note: str = ""


# `DatasetSpec.budget_phases` divides the epochs.
BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(
            name="smoke",
            sizes={"train": 512, "val": 256, "test": 256},
            training={"epochs": 1, "batch_size": 32},
            note="smoke: checks that everything runs; the scores are not meaningful",
        ),
        Budget(
            name="laptop",
            sizes={"train": 16_384, "val": 1024, "test": 2048},
            training={"epochs": 14, "batch_size": 64},
            size_note="a laptop-size problem; 67,500 training images: --budget evening",
        ),
        Budget(
            name="evening",
            # As many training images as paper, with larger pixels, for a computer without a GPU.
            sizes={"train": 67_500, "val": 4096, "test": 7_500},
            training={"epochs": 32, "batch_size": 128},
            size_note="an evening-size problem; larger images, with a GPU: --budget paper",
        ),
        Budget(
            name="paper",
            # 75,000 images as in the published sets, a tenth of them reserved for choosing the checkpoint.
            sizes={"train": 67_500, "val": 7_500, "test": 7_500},
            training={"epochs": 30, "batch_size": 128},
            size_note="paper-size: 67,500 training, 7,500 validation and 7,500 test images",
        ),
    )
}

BUDGET_NAMES = " or ".join([", ".join([*BUDGETS][:-1]), [*BUDGETS][-1]])
"""Names of the budgets for help texts."""


def find_budget(name: str) -> Budget:
    """Return a budget by name.

    Raises:
        UsageError: The name is unknown.
    """
    if name not in BUDGETS:
        raise UsageError(f"budget '{name}' is not one of {', '.join(BUDGETS)}.{nearest(name, BUDGETS)}")
    return BUDGETS[name]
