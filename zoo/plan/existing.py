"""Number of images of a data set of existing images, without reading one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from zoo import registry
from zoo.data.about import all_params
from zoo.isolation import plugin_code
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
    dataset = registry.find(host, DatasetSpec, recipe.dataset)
    if dataset.simulated or dataset.check is None:
        return None
    from zoo.data.images import ListedImages, assign_splits

    try:
        check = registry.load_target(replace(dataset, target=dataset.check))
        with plugin_code(dataset.id, "check"):
            listed = check(**all_params(dataset, recipe.params))
        if not isinstance(listed, ListedImages):
            return None
        return {split: len(index) for split, index in assign_splits(listed, sizes, seed=recipe.seed).items()}
    except Exception:
        return None
