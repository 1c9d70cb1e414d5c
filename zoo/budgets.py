"""Budgets: numbers of images and epochs, and the difficulty of the problem that suits them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import UsageError, nearest


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A named problem size. A table never mixes results of different budgets.

    Args:
        name: Name of the budget: "smoke", "laptop" or "paper".
        sizes: Number of images for each split.
        training: Settings that differ from the defaults of `zoo.plan.settings`.
        data: Parameters of simulated data sets that differ from the published values; a data set without a parameter
            ignores its value.
        yields: For a parameter of `data`, the parameters that determine the same quantity. If the user sets one of
            them, the budget's value is dropped.
        note: Information that readers need to judge the scores.
    """

    name: str
    sizes: Mapping[str, int]
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    yields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    note: str = ""


# Masses that the user sets are used as they are, not multiplied by the budget's factor.
_MASSES = {
    "mass_scale": (
        "mass_fraction", "subhalo_mass_fraction", "vortex_mass_fraction", "subhalo_mass_low", "subhalo_mass_high",
    )
}  # fmt: skip

BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(
            name="smoke",
            sizes={"train": 512, "val": 256, "test": 256},
            training={"epochs": 1, "batch_size": 32},
            data={"image_size": 32, "pixel_scale": 0.2, "mass_scale": 4.0},
            yields=_MASSES,
            note="smoke: checks that everything runs; the scores are not meaningful",
        ),
        Budget(
            name="laptop",
            sizes={"train": 9216, "val": 1024, "test": 2048},
            training={"epochs": 8, "batch_size": 64},
            data={"image_size": 64, "pixel_scale": 0.1, "mass_scale": 4.0},
            yields=_MASSES,
            note=(
                "a laptop-size problem: smaller images and, unless --set says otherwise, four times the published "
                "substructure mass; the paper-size problem (150 x 150 pixels, published masses, 67,500 training "
                "images) needs a GPU: --budget paper"
            ),
        ),
        Budget(
            name="paper",
            # 75,000 images as in the published sets, a tenth of them reserved for choosing the checkpoint.
            sizes={"train": 67_500, "val": 7_500, "test": 7_500},
            training={"epochs": 30, "batch_size": 128},
            note="paper-size: 67,500 training, 7,500 validation and 7,500 test images at the published settings",
        ),
    )
}


def find_budget(name: str) -> Budget:
    """Return a budget by name.

    Raises:
        UsageError: The name is unknown.
    """
    if name not in BUDGETS:
        raise UsageError(f"budget '{name}' is not one of {', '.join(BUDGETS)}.{nearest(name, BUDGETS)}")
    return BUDGETS[name]
