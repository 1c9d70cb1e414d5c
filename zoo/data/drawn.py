"""Scenes that a population draws: the first ones of a data set, and checks of their types and lengths."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo import registry
from zoo.data.recipe import Recipe
from zoo.errors import UsageError, nearest
from zoo.lensing.scenes import Scenes
from zoo.plurals import counted
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.lensing.population import Population


def first_scenes(
    host: Host, dataset: str, *, images: int, params: Mapping[str, Any] | None, seed: int
) -> tuple[DatasetSpec, Population, Scenes]:
    """Return spec, population and the scenes of the first images of a data set's training split.

    Args:
        host: The plugins.
        dataset: Id or name of a simulated data set.
        images: Number of images.
        params: Parameters that differ from the data set's own.
        seed: Seed of the images, as in a recipe.

    Raises:
        UsageError: The data set is unknown or not simulated, or a number or parameter is impossible.
        MissingError: A plugin or library is absent.
    """
    spec = registry.find(host, DatasetSpec, dataset)
    if not spec.simulated:
        raise UsageError(
            f"{spec.id} is not simulated, so its images cannot be rendered again.", hint="See: zoo list-datasets --json"
        )
    if type(images) is not int or images < 1:
        raise UsageError(f"images={images!r} must be a whole number, at least 1.")
    for name in params or {}:
        if name not in spec.params:
            raise UsageError(f"{spec.id} has no parameter '{name}'.{nearest(name, spec.params)}")
    population: Population = registry.load_target(spec)(**{**spec.params, **(params or {})})
    stream = Recipe(dataset=spec.id, dataset_version=spec.version, seed=seed).stream("train")
    return spec, population, population.sample(np.arange(images), stream)


def check_scenes(scenes: object, count: int) -> None:
    """Check the type and the lengths of what a population drew.

    Raises:
        TypeError: It is not `Scenes`.
        ValueError: An array has not one entry for each image, a label is not a whole number, or an exposure is
            impossible.
    """
    if not isinstance(scenes, Scenes):
        raise TypeError(f"the population drew a {type(scenes).__name__}, not Scenes")
    if np.asarray(scenes.label).dtype.kind not in "iu":
        raise ValueError(f"the population drew labels of type {np.asarray(scenes.label).dtype}, not whole numbers")
    for name, array in _arrays(scenes, "scenes"):
        if array.ndim == 0 or len(array) != count:
            raise ValueError(f"the population drew {name} of shape {list(array.shape)} for {counted(count, 'image')}")
    for name, possible in _EXPOSURES.items():
        values = np.asarray(getattr(scenes.exposure, name), np.float64)
        known = values[~np.isnan(values)] if "NaN" in possible else values
        enough = known >= 0 if name == "sky" else known > 0
        if len(wrong := known[~(enough & np.isfinite(known))]):
            raise ValueError(f"the population drew exposure.{name} {wrong[0]:g}; it must be {possible}")


_EXPOSURES = {
    "seconds": "above 0",
    "sky": "at least 0",
    "snr": "above 0, or NaN for none",
    "peak": "above 0, or NaN for none",
}
"""Field of an exposure -> its possible values, which are finite."""


def _arrays(value: object, name: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield every array inside nested dataclasses and dictionaries with its name."""
    if isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _arrays(item, f"{name}.{key}")
    elif dataclasses.is_dataclass(value):
        for one in dataclasses.fields(value):
            yield from _arrays(getattr(value, one.name), f"{name}.{one.name}")
