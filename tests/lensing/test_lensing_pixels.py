"""Sub-pixels, reference pixels, and a depth that does not depend on the size of the pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from zoo import registry
from zoo.errors import DataError
from zoo.host import load_plugins
from zoo.lensing.draws import Draws
from zoo.lensing.instrument import Instrument
from zoo.lensing.observe import Observed, Rendered, brightness_scale, observe
from zoo.lensing.pixels import render_fine, render_pixels, to_pixels
from zoo.lensing.scenes import Scenes
from zoo.specs import DatasetSpec, SimulatorSpec

HOST = load_plugins(environment={})
RENDER = registry.load_target(registry.find(HOST, SimulatorSpec, "caustics"))


@pytest.mark.parametrize(
    ("changes", "sub_pixels"),
    [
        ({}, 1),
        ({"pixel_scale": 0.2}, 2),
        ({"pixel_scale": 0.2, "reference_pixel_scale": 0.05}, 4),
        ({"pixel_scale": 0.25, "over_sampling": 6}, 3),
        ({"psf_width": 0.02}, 4),  # as fine as the rays allow
        ({"psf": "airy", "psf_width": 0.1}, 2),
        ({"psf": "none"}, 1),
        ({"psf": "none", "pixel_scale": 0.1, "reference_pixel_scale": 0.05}, 2),
        ({"pixel_scale": 0.1, "reference_pixel_scale": 0.05, "over_sampling": 1}, 1),
    ],
    ids=str,
)
def test_sub_pixels_are_as_fine_as_psf_and_reference_pixel_need(changes, sub_pixels):
    camera = Instrument(**{"over_sampling": 4, "image_size": 60, **changes})
    assert camera.sub_pixels == sub_pixels
    fine = camera.divided()
    assert (fine.image_size, fine.over_sampling) == (60 * sub_pixels, camera.over_sampling // sub_pixels)
    assert fine.field_of_view == pytest.approx(camera.field_of_view, rel=1e-12)


def test_sub_pixels_of_the_largest_camera_are_allowed():
    camera = Instrument(image_size=4096, pixel_scale=0.4, over_sampling=8)
    assert camera.divided().image_size == 4096 * camera.sub_pixels


def test_pixels_are_means_of_sub_pixels_and_keep_the_order_of_rows():
    camera = Instrument(image_size=8, pixel_scale=0.2, psf="none", over_sampling=4, reference_pixel_scale=0.1)
    source = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    pixels = to_pixels(Rendered(source=source, lens_light=2 * source), camera, sub_pixels=2)
    torch.testing.assert_close(pixels.rendered.source, torch.nn.functional.avg_pool2d(source, 2))
    torch.testing.assert_close(pixels.brightest.source, source.amax((1, 2)).double())
    torch.testing.assert_close(pixels.brightest.light, 3 * source.amax((1, 2)).double(), rtol=1e-6, atol=0)
    assert pixels.brightest.area == pytest.approx(4)


@pytest.mark.parametrize("side", [2, 3, 4, 5, 6, 8])
def test_pixels_have_the_bits_of_the_mean_of_their_sub_pixels_without_an_incomplete_last_one(side):
    fine = torch.rand(3, 8 * side + side - 1, 9 * side + 1, generator=torch.Generator().manual_seed(side))
    found = to_pixels(Rendered(source=fine), Instrument(pixel_scale=0.2), sub_pixels=side).rendered.source
    assert torch.equal(found, fine[:, : 8 * side, : 9 * side].reshape(3, 8, side, 9, side).mean((2, 4)))


def test_an_image_of_another_shape_is_an_error_that_names_the_simulator():
    camera = Instrument(image_size=8, pixel_scale=0.2, psf="none", over_sampling=4, reference_pixel_scale=0.1)
    spec = registry.find(HOST, DatasetSpec, "modelA")
    scenes = registry.load_target(spec)(**spec.params).sample(np.arange(2), "shape")
    with pytest.raises(DataError, match=r"me/own returned a source of shape \(2, 8, 8\) where \(2, 16, 16\)"):
        render_pixels(lambda *_: Rendered(source=torch.ones(2, 8, 8)), scenes, camera, simulator="me/own")


def test_a_simulator_that_works_in_place_leaves_the_scenes_alone():
    camera = Instrument(image_size=8, pixel_scale=0.2, psf="none", over_sampling=4)
    spec = registry.find(HOST, DatasetSpec, "modelA")
    draw = registry.load_target(spec)(**spec.params).sample
    scenes, same = (draw(np.arange(2), "in place") for _ in range(2))

    def render(given: Scenes, *_: object) -> Rendered:
        given.source.x[:] = given.label[:] = 7
        return Rendered(source=torch.ones(2, 8, 8))

    render_fine(render, scenes, camera, simulator="me/own")
    assert np.array_equal(scenes.source.x, same.source.x)
    assert np.array_equal(scenes.label, same.label)


def test_images_that_record_gradients_are_taken_without_them():
    camera = Instrument(image_size=8, pixel_scale=0.2, psf="none", over_sampling=4)
    spec = registry.find(HOST, DatasetSpec, "modelA")
    scenes = registry.load_target(spec)(**spec.params).sample(np.arange(2), "gradients")
    light = torch.ones(2, 8, 8, requires_grad=True)
    for rendered in (Rendered(source=light), Rendered(source=light, lens_light=light)):
        taken = render_fine(lambda *_, given=rendered: given, scenes, camera, simulator="me/own")
        assert not taken.source.requires_grad
        assert taken.lens_light is None or not taken.lens_light.requires_grad


def through(name: str, side: float, **changes: object) -> tuple[Scenes, Observed, torch.Tensor]:
    """Return the scenes of a population, and them observed and noiseless (counts/s) with pixels of this side."""
    spec = registry.find(HOST, DatasetSpec, name)
    size = round(7.2 / side)
    own = {"image_size": size, "pixel_scale": side, "over_sampling": round(side / 0.025), **changes}
    population = registry.load_target(spec)(**{**spec.params, **own})
    scenes = population.sample(np.arange(6), "depth/train")
    pixels = render_pixels(RENDER, scenes, population.instrument, simulator="caustics", device="cpu")
    draws = Draws("depth/train", np.arange(6))
    observed = observe(pixels.rendered, scenes.exposure, draws=draws, reference=pixels.brightest)
    scale = brightness_scale(scenes.exposure, pixels.brightest)
    return scenes, observed, pixels.rendered.source.double() * scale[:, None, None]


@pytest.mark.parametrize("name", ["modelA", "modelB", "model1", "model2", "model_2019_ideal"])
def test_the_sky_is_as_deep_through_larger_pixels(name):
    """Counts and noise of a square arcsec do not depend on the pixels; a pixel of 0.1 has the peak SNR of four."""
    scenes, observed, light = through(name, 0.05)
    for side in (0.1, 0.2):
        others, coarse, larger = through(name, side)
        area = (side / 0.05) ** 2
        torch.testing.assert_close(larger.sum((1, 2)), light.sum((1, 2)), rtol=1e-3, atol=0)
        np.testing.assert_allclose(others.exposure.sky / area, scenes.exposure.sky, rtol=1e-12)
        binned = torch.nn.functional.avg_pool2d(light[:, None], round(side / 0.05))[:, 0] * area
        torch.testing.assert_close(larger, binned, rtol=0.02, atol=1e-3 * float(binned.max()))
        ratio = (coarse.snr / observed.snr).numpy()
        assert (ratio > 0.6 * side / 0.05).all()
        assert (ratio <= 1.02 * side / 0.05).all()


def test_model_a_at_a_tenth_of_an_arcsec_has_twice_the_peak_snr():
    assert through("modelA", 0.05)[1].snr.numpy() == pytest.approx(np.full(6, 34), abs=0.6)
    assert through("modelA", 0.1)[1].snr.mean() == pytest.approx(68, abs=2)


def test_without_a_reference_pixel_the_depth_is_that_of_the_own_pixel():
    for side in (0.05, 0.1):
        observed = through("modelA", side, reference_pixel_scale=None)[1]
        assert observed.snr.numpy() == pytest.approx(np.full(6, 34), abs=0.6)


def test_a_wanted_snr_holds_in_the_reference_pixel():
    observed = through("modelA", 0.05, snr=50.0, peak=None)[1]
    assert observed.snr.numpy() == pytest.approx(np.full(6, 50), rel=1e-5)
    scenes, _, light = through("modelA", 0.1, snr=50.0, peak=None, reference_pixel_scale=0.1)
    peak = light.amax((1, 2)).numpy()
    snr = peak * 300 / np.sqrt((peak + scenes.exposure.sky) * 300)
    assert snr == pytest.approx(np.full(6, 50), rel=1e-5)


def test_images_without_a_reference_are_scaled_by_their_own_peak():
    camera = Instrument(image_size=8, psf="none")
    source = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(1))
    pixels = to_pixels(Rendered(source=source), camera, sub_pixels=1)
    scenes, *_ = through("modelB", 0.2)
    exposure = dataclasses.replace(scenes[:2].exposure)
    both = [
        observe(Rendered(source=source), exposure, draws=Draws("s", np.arange(2)), reference=reference).image
        for reference in (None, pixels.brightest)
    ]
    assert torch.equal(*both)
