"""Batches of scenes: the Sersic constant against the incomplete gamma function, and selection."""

import dataclasses

import numpy as np
import pytest
from scipy import integrate, special

from zoo.lensing.scenes import Exposure, Isothermal, PointMasses, Scenes, Sersic, Shear, sersic_b, with_sersic_b


@pytest.mark.parametrize(
    ("index", "accuracy"), [(0.5, 2e-4), (0.8, 3e-6), (1, 3e-6), (1.5, 1e-6), (2.5, 1e-7), (4, 1e-8), (10, 1e-10)]
)
def test_sersic_b_puts_half_of_the_light_inside_the_effective_radius(index, accuracy):
    assert sersic_b(np.array(index)) == pytest.approx(special.gammaincinv(2 * index, 0.5), rel=accuracy)


def test_half_light_radius_by_quadrature():
    index, b = 1.5, float(sersic_b(np.array(1.5)))

    def light(radius: float) -> float:
        return radius * np.exp(-b * (radius ** (1 / index) - 1))

    inside, total = integrate.quad(light, 0, 1)[0], integrate.quad(light, 0, np.inf)[0]
    assert inside / total == pytest.approx(0.5, abs=1e-6)


def test_another_constant_describes_the_same_light():
    profile = Sersic(
        x=np.zeros(3),
        y=np.zeros(3),
        axis_ratio=np.ones(3),
        angle=np.zeros(3),
        index=np.array([0.8, 1.5, 4.0]),
        effective_radius=np.array([0.3, 1.0, 0.6]),
        intensity=np.array([1.0, 2.0, 0.5]),
    )
    constant = 1.9992 * profile.index - 0.3271
    written = with_sersic_b(profile, constant)
    for radius in (0.0, 0.01, 0.5, 3.0):

        def light(of: Sersic, b: np.ndarray, radius: float = radius) -> np.ndarray:
            return of.intensity * np.exp(-b * ((radius / of.effective_radius) ** (1 / of.index) - 1))

        np.testing.assert_allclose(light(written, constant), light(profile, profile.b), rtol=1e-13)
    assert not np.allclose(written.effective_radius, profile.effective_radius, rtol=1e-4)


def make_scenes(count: int = 5, *, lens_light: bool = True) -> Scenes:
    """Scenes whose every value says its own scene: scene i holds i, 100 + i, ... in turn."""
    block = iter(range(100))

    def column(width: int | None = None) -> np.ndarray:
        start = 100.0 * next(block)
        if width is None:
            return start + np.arange(count)
        return start + np.arange(count)[:, None] + np.zeros(width)

    def filled(kind: type, **widths: int):
        return kind(**{field.name: column(widths.get(field.name)) for field in dataclasses.fields(kind)})

    return Scenes(
        label=np.arange(count, dtype=np.int64),
        halo=filled(Isothermal),
        shear=filled(Shear),
        points=filled(PointMasses, x=3, y=3, einstein_radius=3),
        source=filled(Sersic),
        exposure=filled(Exposure),
        lens_light=filled(Sersic) if lens_light else None,
        parameters={"redshift": column(), "mass": column()},
    )


def leaves(value: object) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if value is None:
        return []
    return [leaf for field in dataclasses.fields(value) for leaf in leaves(getattr(value, field.name))]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (slice(1, 3), [1, 2]),
        (slice(None, None, -2), [4, 2, 0]),
        (2, [2]),
        (-1, [4]),
        ([3, 3, 0], [3, 3, 0]),
        (np.array([True, False, True, False, False]), [0, 2]),
        (slice(0, 0), []),
        (np.array([], dtype=np.int64), []),
    ],
    ids=str,
)
@pytest.mark.parametrize("lens_light", [True, False])
def test_selection_takes_the_same_scenes_of_every_array(index, expected, lens_light):
    scenes = make_scenes(lens_light=lens_light)
    chosen = scenes[index]
    assert isinstance(chosen, Scenes)
    assert len(chosen) == len(expected)
    assert (chosen.lens_light is None) is not lens_light
    whole = leaves(scenes)
    assert len(whole) == (32 if lens_light else 25)
    for before, after in zip(whole, leaves(chosen), strict=True):
        assert after.shape == (len(expected), *before.shape[1:])
        np.testing.assert_array_equal(after.reshape(len(expected), before[0].size)[:, 0] % 100, expected)


def test_a_scene_that_is_not_there():
    with pytest.raises(IndexError):
        make_scenes()[5]
