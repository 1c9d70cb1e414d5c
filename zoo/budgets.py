"""Budgets: how many images and how many epochs. What a budget changes in a data set, `DatasetSpec.budgets` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import UsageError, nearest


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A named size. A table never mixes two of them.

    Args:
        name: "smoke", "laptop" or "paper".
        sizes: split -> images.
        training: settings that differ from the defaults of `zoo.plan.settings`.
        note: what a reader must know to judge the scores.
    """

    name: str
    sizes: Mapping[str, int]
    training: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(
            name="smoke",
            sizes={"train": 512, "val": 256, "test": 256},
            training={"epochs": 1, "batch_size": 32},
            note="smoke: shows that everything runs; the scores mean nothing",
        ),
        Budget(
            name="laptop",
            sizes={"train": 9216, "val": 1024, "test": 2048},
            training={"epochs": 8, "batch_size": 64},
            note="a laptop-size problem; the paper-size one (67,500 training images) needs a GPU: --budget paper",
        ),
        Budget(
            name="paper",
            # 75,000 images as in the published sets, a tenth of them kept back to choose the checkpoint.
            sizes={"train": 67_500, "val": 7_500, "test": 7_500},
            training={"epochs": 30, "batch_size": 128},
            note="paper-size: 67,500 training, 7,500 validation and 7,500 test images at the published settings",
        ),
    )
}


def find_budget(name: str) -> Budget:
    """Return a budget by name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in BUDGETS:
        raise UsageError(f"budget '{name}' is not one of {', '.join(BUDGETS)}.{nearest(name, BUDGETS)}")
    return BUDGETS[name]
