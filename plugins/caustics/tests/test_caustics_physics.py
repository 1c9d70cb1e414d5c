"""The images against analytic limits, and against the formulas written once more in NumPy."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from zoo_caustics.simulator import render

from zoo.lensing.instrument import Instrument
from zoo.lensing.scenes import PointMasses, Scenes

SMALL = Instrument(image_size=40, pixel_scale=0.1, psf_width=0.1)
SHARP = Instrument(image_size=80, pixel_scale=0.05, psf="none")
NO_HALO = {"einstein_radius": 0.0, "axis_ratio": 1.0}
NO_SHEAR = {"gamma_1": 0.0, "gamma_2": 0.0}
ROUND_HALO = {"einstein_radius": 1.2, "axis_ratio": 1.0, "x": 0.0, "y": 0.0}
DOT = {"x": 0.0, "y": 0.0, "axis_ratio": 1.0, "index": 0.6, "effective_radius": 0.03, "intensity": 1.0}


def image(scenes: Scenes, instrument: Instrument) -> np.ndarray:
    """Return the first scene's lensed source in float64."""
    return render(scenes, instrument, device="cpu", dtype=torch.float64).source[0].numpy()


def pixel_centres(instrument: Instrument) -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(instrument.image_size) - (instrument.image_size - 1) / 2) * instrument.pixel_scale
    return np.meshgrid(axis, axis)


# The formulas, written independently: SIE after Kormann et al. 1994, with no softening.


def halo_deflection(scenes: Scenes, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    halo = scenes.halo
    q, angle = float(halo.axis_ratio[0]), float(halo.angle[0])
    x, y = x - halo.x[0], y - halo.y[0]
    if q == 1:
        radius = np.hypot(x, y)
        return halo.einstein_radius[0] * x / radius, halo.einstein_radius[0] * y / radius
    along, across = x * math.cos(angle) + y * math.sin(angle), -x * math.sin(angle) + y * math.cos(angle)
    major = halo.einstein_radius[0] / math.sqrt((1 + q**2) / (2 * q))
    scale = major * math.sqrt((1 + q**2) / 2) / math.sqrt(1 - q**2)
    psi = np.sqrt(q**2 * along**2 + across**2)
    alpha_along = scale * np.arctan(math.sqrt(1 - q**2) * along / psi)
    alpha_across = scale * np.arctanh(math.sqrt(1 - q**2) * across / psi)
    return (
        alpha_along * math.cos(angle) - alpha_across * math.sin(angle),
        alpha_along * math.sin(angle) + alpha_across * math.cos(angle),
    )


def points_deflection(scenes: Scenes, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    alpha_x, alpha_y = np.zeros_like(x), np.zeros_like(x)
    points = scenes.points
    for mass_x, mass_y, radius in zip(points.x[0], points.y[0], points.einstein_radius[0], strict=True):
        distance_squared = (x - mass_x) ** 2 + (y - mass_y) ** 2
        alpha_x += radius**2 * (x - mass_x) / distance_squared
        alpha_y += radius**2 * (y - mass_y) / distance_squared
    return alpha_x, alpha_y


def line_deflection(*, strength: float, length: float, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the deflection of a straight string along x through 0: the exact limit of many masses."""
    half, density = length / 2, strength / length
    alpha_x = density / 2 * np.log(((x + half) ** 2 + y**2) / ((x - half) ** 2 + y**2))
    return alpha_x, density * (np.arctan((x + half) / y) - np.arctan((x - half) / y))


def expected_image(
    scenes: Scenes,
    instrument: Instrument,
    points: Callable[..., tuple[np.ndarray, np.ndarray]] = points_deflection,
) -> np.ndarray:
    x, y = np.meshgrid(*instrument.ray_grid())
    halo_x, halo_y = halo_deflection(scenes, x, y)
    point_x, point_y = points(scenes, x, y)
    gamma_1, gamma_2 = scenes.shear.gamma_1[0], scenes.shear.gamma_2[0]
    beta_x = x - halo_x - (gamma_1 * x + gamma_2 * y) - point_x
    beta_y = y - halo_y - (gamma_2 * x - gamma_1 * y) - point_y
    source = scenes.source
    q, angle = source.axis_ratio[0], source.angle[0]
    dx, dy = beta_x - source.x[0], beta_y - source.y[0]
    along, across = dx * np.cos(angle) + dy * np.sin(angle), -dx * np.sin(angle) + dy * np.cos(angle)
    radius = np.sqrt(q * along**2 + across**2 / q)
    exponent = (radius / source.effective_radius[0]) ** (1 / source.index[0]) - 1
    rays = source.intensity[0] * np.exp(-source.b[0] * exponent)
    over = instrument.over_sampling
    size = len(x) // over
    pixels = rays.reshape(size, over, size, over).mean((1, 3))
    return fftconvolve(pixels, instrument.psf_kernel(), mode="valid")


@pytest.mark.parametrize("axis_ratio", [0.3, 0.8, 1 - 1e-9, 1.0])
@pytest.mark.parametrize("psf", ["gaussian", "airy", "none"])
def test_image_follows_the_formulas(make_scenes: Callable[..., Scenes], axis_ratio: float, psf: str) -> None:
    instrument = dataclasses.replace(SMALL, psf=psf, psf_width=0.2)
    for seed in range(3):
        scenes = make_scenes(1, masses=9, seed=seed, halo={"axis_ratio": axis_ratio})
        np.testing.assert_allclose(image(scenes, instrument), expected_image(scenes, instrument), rtol=0, atol=1e-9)


def test_float32_is_close_to_float64(make_scenes: Callable[..., Scenes]) -> None:
    scenes = make_scenes(12, masses=25)
    single = render(scenes, SMALL, device="cpu").source
    double = render(scenes, SMALL, device="cpu", dtype=torch.float64).source
    assert single.dtype == torch.float32
    error = (single.double() - double).abs().amax((1, 2)) / double.amax((1, 2))
    assert error.max() < 1e-4


def test_point_behind_a_sphere_is_a_ring(make_scenes: Callable[..., Scenes]) -> None:
    scenes = make_scenes(1, halo=ROUND_HALO, shear=NO_SHEAR, source=DOT)
    ring = image(scenes, dataclasses.replace(SHARP, over_sampling=8))
    radius = np.hypot(*pixel_centres(SHARP))
    assert np.average(radius, weights=ring) == pytest.approx(1.2, abs=2e-3)
    assert np.average((radius - 1.2) ** 2, weights=ring) < 0.04**2
    np.testing.assert_allclose(ring, ring.T, atol=1e-12)


def test_ellipsoid_becomes_a_sphere(make_scenes: Callable[..., Scenes]) -> None:
    def at(axis_ratio: float) -> np.ndarray:
        return image(make_scenes(1, masses=3, halo={"axis_ratio": axis_ratio}), SMALL)

    differences = [np.abs(at(1 - step) - at(1.0)).max() for step in (1e-2, 1e-4, 1e-6, 1e-8)]
    assert differences[0] > 1e-3
    for coarse, fine in itertools.pairwise(differences):
        assert fine < coarse / 50


@pytest.mark.parametrize("axis_ratio", [0.5, 1.0])
def test_unlensed_source_keeps_its_flux(make_scenes: Callable[..., Scenes], axis_ratio: float) -> None:
    index, effective_radius, intensity = 1.0, 0.2, 0.8
    shape = {"x": 0.03, "y": -0.06, "axis_ratio": axis_ratio, "angle": 0.7, "index": index}
    scenes = make_scenes(
        1,
        halo=NO_HALO,
        shear=NO_SHEAR,
        source={**shape, "effective_radius": effective_radius, "intensity": intensity},
    )
    instrument = Instrument(image_size=150, over_sampling=4)
    b = float(scenes.source.b[0])
    total = 2 * math.pi * index * effective_radius**2 * intensity * math.exp(b) * b ** (-2 * index)
    total *= math.gamma(2 * index)
    assert image(scenes, instrument).sum() * instrument.pixel_scale**2 == pytest.approx(total, rel=1e-3)


@pytest.mark.parametrize("psf", ["gaussian", "airy"])
def test_psf_is_a_convolution_that_knows_beyond_the_edge(make_scenes: Callable[..., Scenes], psf: str) -> None:
    blurred = dataclasses.replace(SMALL, psf=psf, psf_width=0.17, image_size=37)
    wide = dataclasses.replace(blurred, psf="none", image_size=37 + 2 * blurred.psf_radius_pixels)
    scenes = make_scenes(1, masses=5, source={"effective_radius": 1.0})
    expected = fftconvolve(image(scenes, wide), blurred.psf_kernel(), mode="valid")
    np.testing.assert_allclose(image(scenes, blurred), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("over_sampling", [2, 3])
def test_pixel_is_the_mean_of_its_rays(make_scenes: Callable[..., Scenes], over_sampling: int) -> None:
    scenes = make_scenes(1, masses=5)
    coarse = dataclasses.replace(SHARP, image_size=30, pixel_scale=0.1, over_sampling=over_sampling)
    fine = dataclasses.replace(coarse, image_size=30 * over_sampling, pixel_scale=0.1 / over_sampling, over_sampling=1)
    rays = image(scenes, fine).reshape(30, over_sampling, 30, over_sampling)
    np.testing.assert_allclose(image(scenes, coarse), rays.mean((1, 3)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("gamma", [(0.2, 0.0), (0.0, 0.2), (-0.1, 0.15)])
def test_shear_moves_the_image_where_the_lens_equation_says(
    make_scenes: Callable[..., Scenes], gamma: tuple[float, float]
) -> None:
    source = {**DOT, "x": 0.6, "y": 0.3, "effective_radius": 0.1}
    scenes = make_scenes(1, halo=NO_HALO, shear={"gamma_1": gamma[0], "gamma_2": gamma[1]}, source=source)
    pixels = image(scenes, SHARP)
    x, y = pixel_centres(SHARP)
    centroid = [np.average(x, weights=pixels), np.average(y, weights=pixels)]
    jacobian = [[1 - gamma[0], -gamma[1]], [-gamma[1], 1 + gamma[0]]]
    np.testing.assert_allclose(centroid, np.linalg.solve(jacobian, [0.6, 0.3]), atol=2e-3)


def test_ring_of_an_ellipsoid_follows_its_axes(make_scenes: Callable[..., Scenes]) -> None:
    """The halo's angle is that of its major axis, and its Einstein radius the one that `Isothermal` defines.

    For a source in the middle the images lie where |alpha| equals the distance; on the major axis of an
    SIE with Einstein radius t that is t sqrt(q) / f atan(f / q), on the minor axis t sqrt(q) / f atanh(f).
    """
    q, angle, t = 0.7, 0.5, 1.2
    halo = {**ROUND_HALO, "axis_ratio": q, "angle": angle}
    pixels = image(make_scenes(1, halo=halo, shear=NO_SHEAR, source={**DOT, "effective_radius": 0.1}), SHARP)
    x, y = pixel_centres(SHARP)
    f = math.sqrt(1 - q**2)
    for direction, reach in ((angle, math.atan(f / q)), (angle + math.pi / 2, math.atanh(f))):
        along = x * math.cos(direction) + y * math.sin(direction)
        across = -x * math.sin(direction) + y * math.cos(direction)
        on_axis = (np.abs(across) < 0.1) & (along > 0)
        found = np.average(along[on_axis], weights=pixels[on_axis])
        assert found == pytest.approx(t * math.sqrt(q) / f * reach, abs=0.02)


def test_many_masses_on_a_segment_become_a_string(make_scenes: Callable[..., Scenes]) -> None:
    strength, length = 0.3**2, 1.2
    scenes = make_scenes(1, halo=ROUND_HALO)
    moved = dataclasses.replace(scenes, halo=dataclasses.replace(scenes.halo, y=np.array([1.1])))

    def string(count: int) -> np.ndarray:
        x = ((np.arange(count) + 0.5) / count - 0.5)[None] * length
        radius = np.full((1, count), math.sqrt(strength / count))
        points = PointMasses(x=x, y=np.zeros((1, count)), einstein_radius=radius)
        return image(dataclasses.replace(moved, points=points), SMALL)

    def line(scenes: Scenes, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return line_deflection(strength=strength, length=length, x=x, y=y)

    limit = expected_image(moved, SMALL, points=line)
    few, more, many = (np.abs(string(count) - limit).max() / limit.max() for count in (4, 25, 200))
    assert few > 10 * more > 100 * many
    assert many < 1e-4


def test_lens_light_is_separate_and_not_lensed(make_scenes: Callable[..., Scenes]) -> None:
    light = {"x": 0.1, "y": -0.2, "axis_ratio": 0.7, "effective_radius": 0.5, "index": 2.5, "intensity": 1.2}
    scenes = make_scenes(2, masses=4, lens_light=light)
    rendered = render(scenes, SMALL, device="cpu", dtype=torch.float64)
    without = render(dataclasses.replace(scenes, lens_light=None), SMALL, device="cpu", dtype=torch.float64)
    assert without.lens_light is None
    assert torch.equal(rendered.source, without.source)

    assert rendered.lens_light is not None
    assert scenes.lens_light is not None
    bare = make_scenes(2, halo=NO_HALO, shear=NO_SHEAR)
    expected = expected_image(dataclasses.replace(bare, source=scenes.lens_light), SMALL)
    np.testing.assert_allclose(rendered.lens_light[0].numpy(), expected, rtol=0, atol=1e-9)
