"""Scenes of Models A and B for the tests of the population."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from scipy import stats
from zoo_deeplense.population import SUBHALO, LensPopulation, build
from zoo_deeplense.tables import MODEL_A, MODEL_B

from zoo.lensing.scenes import Scenes

TABLES = {"modelA": MODEL_A, "modelB": MODEL_B}
MANY = 6000
UNLIKELY = (
    1e-4  # smallest p-value that is not yet called a difference; the draws are fixed, so it fails never or always
)


def population(table: str = "modelA", **changes) -> LensPopulation:
    assert set(changes) <= set(MODEL_A)
    return build(**(TABLES[table] | changes))


def sample(table: str = "modelA", count: int = 300, **changes) -> Scenes:
    return population(table, **changes).sample(np.arange(count), "stream")


@functools.cache
def drawn(table: str) -> Scenes:
    return sample(table, MANY)


def uniform(values, low: float, high: float) -> bool:
    return stats.kstest(np.ravel(values), stats.uniform(low, high - low).cdf).pvalue > UNLIKELY


def every_leaf(value: object, name: str = "") -> dict[str, np.ndarray]:
    """Return every array of some scenes by its dotted name."""
    if isinstance(value, np.ndarray):
        return {name: value}
    if value is None or isinstance(value, str):
        return {}
    items = value if isinstance(value, dict) else {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return {k: v for key, item in items.items() for k, v in every_leaf(item, f"{name}.{key}".lstrip(".")).items()}


@functools.cache
def every_scene(table: str) -> Scenes:
    return sample(table, 300)


def subhaloes(scenes: Scenes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return radius, polar angle and mass in solar masses of all sub-haloes, and forget whose they are."""
    chosen = scenes[scenes.label == SUBHALO]
    total = chosen.parameters["total_einstein_radius"][:, None]
    present = chosen.points.einstein_radius > 0
    position = (chosen.points.x + 1j * chosen.points.y)[present]
    return np.abs(position), np.angle(position), ((chosen.points.einstein_radius / total) ** 2 * 1e12)[present]


def total_mass(scenes: Scenes) -> np.ndarray:
    """Return halo plus substructure over the wanted total: squared Einstein radii are masses."""
    mass = scenes.halo.einstein_radius**2 + (scenes.points.einstein_radius**2).sum(1)
    return mass / scenes.parameters["total_einstein_radius"] ** 2


INSIDE = {"halo.einstein_radius", "parameters.substructure_mass_fraction_inside"}  # the ring's mass is conserved
SUBSTRUCTURE = {"points.einstein_radius", "parameters.substructure_mass_fraction", *INSIDE}
POSITIONS = {"points.x", "points.y", *INSIDE}
