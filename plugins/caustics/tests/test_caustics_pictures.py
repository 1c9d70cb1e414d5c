"""Pictures as sources: a pixelised Sersic law renders like the law, light is kept, batches do not matter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from zoo_caustics import simulator
from zoo_caustics.simulator import render

from zoo.lensing.instrument import Instrument
from zoo.lensing.scenes import PixelSource, Scenes, TruncatedHaloes

SMALL = Instrument(image_size=40, pixel_scale=0.1, psf_width=0.1)
NO_LENS = {"halo": {"einstein_radius": 0.0, "axis_ratio": 1.0}, "shear": {"gamma_1": 0.0, "gamma_2": 0.0}}


def pixelised(scenes: Scenes, *, size: int, width: float, turn: float = 0.0) -> Scenes:
    """Replace the Sersic sources by pictures of them, `width` arcsec wide, taken in axes that are turned by `turn`."""
    source, pixel = scenes.source, width / size
    axis = (np.arange(size) - (size - 1) / 2) * pixel
    x, y = np.meshgrid(axis, axis)
    angle = (source.angle - turn)[:, None, None]
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    q, reach = source.axis_ratio[:, None, None], source.effective_radius[:, None, None]
    power = (np.sqrt(q * along**2 + across**2 / q) / reach) ** (1 / source.index[:, None, None])
    count = len(scenes)
    pictures = PixelSource(
        x=source.x,
        y=source.y,
        angle=np.full(count, turn),
        pixel_scale=np.full(count, pixel),
        pixels=source.intensity[:, None, None] * np.exp(-source.b[:, None, None] * (power - 1)),
    )
    return dataclasses.replace(scenes, source=pictures)


def images(scenes: Scenes, instrument: Instrument = SMALL, **options) -> np.ndarray:
    return render(scenes, instrument, device="cpu", **{"dtype": torch.float64, **options}).source.numpy()


@pytest.mark.parametrize("turn", [0.0, 0.6])
def test_a_picture_of_a_sersic_law_renders_like_the_law(make_scenes: Callable[..., Scenes], turn: float) -> None:
    """The difference is that of bilinear interpolation: a quarter for half the pixel."""
    scenes = make_scenes(3, masses=6, source={"index": 0.5, "effective_radius": 0.5})
    law = images(scenes)

    def error(size: int) -> float:
        return float(np.abs(images(pixelised(scenes, size=size, width=9, turn=turn)) - law).max() / law.max())

    coarse, fine, finest = error(91), error(181), error(361)
    assert coarse > 3 * fine > 9 * finest
    assert finest < 1e-3


def test_light_is_kept(make_scenes: Callable[..., Scenes]) -> None:
    random = np.random.default_rng(0)
    source = PixelSource(
        x=np.array([0.0, 0.31]), y=np.array([0.0, -0.17]), angle=np.array([0.0, 0.7]),
        pixel_scale=np.array([0.05, 0.06]), pixels=random.random((2, 20, 30)),
    )  # fmt: skip
    scenes = dataclasses.replace(make_scenes(2, **NO_LENS), source=source)
    camera = Instrument(image_size=60, pixel_scale=0.08, over_sampling=8)
    flux = images(scenes, camera).sum((1, 2)) * camera.pixel_scale**2
    np.testing.assert_allclose(flux, source.pixels.sum((1, 2)) * source.pixel_scale**2, rtol=3e-3)


def test_rows_columns_and_turn_are_where_the_contract_says(make_scenes: Callable[..., Scenes]) -> None:
    """Against SciPy's interpolation of the same picture in a frame that is turned by hand."""
    random = np.random.default_rng(1)
    pixels = np.pad(random.random((1, 8, 12)), ((0, 0), (1, 1), (1, 1)))  # dark at the edge, as beyond it
    source = PixelSource(
        x=np.array([0.2]), y=np.array([-0.1]), angle=np.array([0.4]), pixel_scale=np.array([0.15]), pixels=pixels
    )
    scenes = dataclasses.replace(make_scenes(1, **NO_LENS), source=source)
    camera = Instrument(image_size=40, pixel_scale=0.1, over_sampling=1, psf="none")
    x, y = np.meshgrid(*camera.ray_grid())
    dx, dy = x - 0.2, y + 0.1
    right, up = dx * np.cos(0.4) + dy * np.sin(0.4), -dx * np.sin(0.4) + dy * np.cos(0.4)
    rows, columns = ((np.arange(n) - (n - 1) / 2) * 0.15 for n in pixels.shape[1:])
    lookup = RegularGridInterpolator((rows, columns), pixels[0], bounds_error=False, fill_value=0.0)
    np.testing.assert_allclose(images(scenes, camera)[0], lookup((up, right)), atol=1e-12)


@pytest.mark.slow
def test_batches_and_bands_do_not_matter(make_scenes: Callable[..., Scenes], monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = pixelised(make_scenes(5, masses=4), size=41, width=4)
    whole = images(scenes, dtype=torch.float32)
    np.testing.assert_array_equal(images(scenes[np.array([3, 1])], dtype=torch.float32), whole[[3, 1]])
    compiled = images(scenes, dtype=torch.float32, compiled=True)
    np.testing.assert_array_equal(
        images(scenes[np.array([3, 1])], dtype=torch.float32, compiled=True), compiled[[3, 1]]
    )
    double = images(scenes)
    assert np.abs(whole - double).max() < 1e-4 * double.max()
    monkeypatch.setitem(simulator.RAYS_AT_A_TIME, "cpu", 700)
    np.testing.assert_allclose(images(scenes), double, atol=1e-13)


@pytest.mark.parametrize("psf", ["gaussian", "airy", "none"])
@pytest.mark.parametrize("axis_ratio", [0.7, 1.0])
def test_compiled_code_gives_the_same_pictures(make_scenes: Callable[..., Scenes], psf: str, axis_ratio: float) -> None:
    """Of any height and width, also where they end within the image and some scenes have truncated haloes."""
    scenes = make_scenes(6, masses=5, halo={"axis_ratio": axis_ratio})
    column = np.linspace(0, 1, 6)
    source = PixelSource(
        x=0.2 * column, y=-0.1 * column, angle=3 * column, pixel_scale=0.05 + 0.05 * column,
        pixels=np.random.default_rng(2).random((6, 7, 20)),
    )  # fmt: skip
    haloes = TruncatedHaloes(
        x=column[:, None] - 0.5, y=0.5 - column[:, None], einstein_radius=0.3 * (column[:, None] > 0.5),
        scale_radius=np.full((6, 1), 0.2), truncation_radius=np.full((6, 1), 0.8),
    )  # fmt: skip
    scenes = dataclasses.replace(scenes, source=source, truncated_haloes=haloes)
    camera = Instrument(image_size=36, pixel_scale=0.1, over_sampling=3, psf=psf, psf_width=0.1)
    found, exact = images(scenes, camera, dtype=torch.float32, compiled=True), images(scenes, camera)
    assert (exact.min((1, 2)) < 1e-3 * exact.max((1, 2))).all()
    np.testing.assert_allclose(found, exact, atol=1e-4 * exact.max())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_pictures(make_scenes: Callable[..., Scenes]) -> None:
    scenes = pixelised(make_scenes(5, masses=4), size=41, width=4)
    there = render(scenes, SMALL, device="cuda", dtype=torch.float64).source.cpu().numpy()
    np.testing.assert_allclose(there, images(scenes), atol=1e-9)
