"""Number of images of a data set of existing images, without reading one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zoo import registry
from zoo.errors import ZooError
from zoo.plan.recipes import run_check
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from zoo.data.recipe import Recipe
    from zoo.host import Host


def count_existing(host: Host, recipe: Recipe, sizes: Mapping[str, int]) -> dict[str, int] | None:
    """Return split -> number of images that a training gets, at most as many as wanted.

    Args:
        host: The plugins.
        recipe: Recipe of the images.
        sizes: Split -> number of wanted images.

    Returns:
        The numbers; None where `DatasetSpec.check` does not list the images, or where they cannot be divided, for a
        reason that the run will state.
    """
    from zoo.data.images import ListedImages, assign_splits

    dataset = registry.find(host, DatasetSpec, recipe.dataset)
    if dataset.simulated:
        return None
    try:
        listed = run_check(dataset, recipe)
        if not isinstance(listed, ListedImages):
            return None
        return {split: len(index) for split, index in assign_splits(listed, sizes, seed=recipe.seed).items()}
    except ZooError:
        return None
