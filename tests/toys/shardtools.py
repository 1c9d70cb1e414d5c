"""Simulations of toy images, and their shards, for the tests of cache and folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from toysky import Discs, Painter

from zoo.data.folder import fill_folder
from zoo.data.recipe import Recipe
from zoo.data.simulate import Simulation

RECIPE = Recipe(dataset="toy/discs", dataset_version=1, simulator="toy/fake", simulator_version=1)


def simulation(*, render: Callable | None = None, recipe: Recipe = RECIPE, population=None, expected=1) -> Simulation:
    return Simulation(
        recipe=recipe, classes=("a", "b", "c"), population=population or Discs(), render=render or Painter(),
        device="cpu", expected_images=expected,
    )  # fmt: skip


def make(count: int, *, split: str = "train", render: Callable | None = None, recipe: Recipe = RECIPE, **options):
    return fill_folder(simulation(render=render, recipe=recipe, expected=count), split, count, **options).shards


def equal(first: list[dict], second: list[dict]) -> bool:
    return len(first) == len(second) and all(
        one.keys() == other.keys() and all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)
        for one, other in zip(first, second, strict=True)
    )


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())
