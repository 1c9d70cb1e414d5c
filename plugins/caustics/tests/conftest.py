"""Scenes for this plugin's tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import pytest
from zoo_caustics import native

from zoo.lensing.scenes import Exposure, Isothermal, PointMasses, Scenes, Sersic, Shear
from zoo.native import COMPILERS


def _scenes(
    count: int = 1,
    *,
    masses: int = 0,
    seed: int = 0,
    halo: dict[str, float] | None = None,
    shear: dict[str, float] | None = None,
    source: dict[str, float] | None = None,
    lens_light: dict[str, float] | None = None,
) -> Scenes:
    """Return random scenes; values named in `halo`, `shear`, `source`, `lens_light` are the same in all."""
    random = np.random.default_rng(seed)

    def draw(low: float, high: float, *shape: int) -> np.ndarray:
        return random.uniform(low, high, shape or (count,))

    def fixed(values: dict[str, float] | None, drawn: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {**drawn, **{name: np.full(count, value) for name, value in (values or {}).items()}}

    def sersic(values: dict[str, float] | None) -> Sersic:
        drawn = {
            "x": draw(-0.3, 0.3),
            "y": draw(-0.3, 0.3),
            "axis_ratio": draw(0.4, 1),
            "angle": draw(0, 2 * np.pi),
            "index": np.full(count, 1.5),
            "effective_radius": draw(0.25, 1),
            "intensity": draw(0.7, 0.9),
        }
        return Sersic(**fixed(values, drawn))

    ellipsoid = {
        "einstein_radius": draw(1, 1.7),
        "axis_ratio": draw(0.5, 0.95),
        "angle": draw(0, 2 * np.pi),
        "x": draw(-0.1, 0.1),
        "y": draw(-0.1, 0.1),
    }
    return Scenes(
        label=np.zeros(count, dtype=np.int64),
        halo=Isothermal(**fixed(halo, ellipsoid)),
        shear=Shear(**fixed(shear, {"gamma_1": draw(-0.1, 0.1), "gamma_2": draw(-0.1, 0.1)})),
        points=PointMasses(
            x=draw(-2, 2, count, masses),
            y=draw(-2, 2, count, masses),
            einstein_radius=draw(0.01, 0.15, count, masses),
        ),
        source=sersic(source),
        exposure=Exposure(**{name: np.ones(count) for name in ("seconds", "sky", "snr", "peak")}),
        lens_light=None if lens_light is None else sersic(lens_light),
    )


@pytest.fixture
def make_scenes() -> Callable[..., Scenes]:
    return _scenes


@pytest.fixture(scope="session")
def has_compiled_path() -> bool:
    """Compile once for all tests; the code stays in zoo's cache folder between runs."""
    if not any(shutil.which(name) for name in COMPILERS):
        pytest.skip("no C++ compiler on this machine: the compiled path cannot be tested")
    assert native.native_library() is not None
    return True
