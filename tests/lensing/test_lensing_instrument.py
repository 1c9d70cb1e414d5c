"""Pixels and point spread functions against Gaussians, Bessel functions and plain geometry."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import special

from zoo.errors import UsageError
from zoo.lensing.instrument import Instrument


@pytest.mark.parametrize("psf", ["gaussian", "airy_circle", "airy", "none"])
@pytest.mark.parametrize("width", [0.01, 0.05, 0.1, 0.33])
def test_kernel_has_sum_one_odd_side_and_all_symmetries_of_the_square(psf, width):
    camera = Instrument(psf=psf, psf_width=width)
    kernel = camera.psf_kernel()
    assert kernel.shape == (2 * camera.psf_radius_pixels + 1,) * 2
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert (kernel >= 0).all()
    assert kernel.argmax() == kernel.size // 2
    for transformed in (kernel.T, kernel[::-1], kernel[:, ::-1]):
        np.testing.assert_allclose(transformed, kernel, rtol=1e-12, atol=1e-18)


def test_gaussian_is_sampled_at_pixel_centres():
    kernel = Instrument(pixel_scale=0.05, psf_width=0.1).psf_kernel()
    centre = len(kernel) // 2
    assert centre == 8  # four sigma of 0.1 arcsec
    for row, column in ((0, 1), (1, 1), (3, -2), (-8, 8)):
        distance = math.hypot(row * 0.05, column * 0.05)
        ratio = kernel[centre + row, centre + column] / kernel[centre, centre]
        assert ratio == pytest.approx(math.exp(-(distance**2) / (2 * 0.1**2)), rel=1e-12)
    offset = (np.arange(17) - 8) * 0.05
    assert np.sqrt((kernel * offset**2).sum()) == pytest.approx(0.1, rel=2e-3)  # its sigma, cut at four


@pytest.mark.parametrize("width", [0.02, 0.1, 0.35])
def test_airy_pattern_is_bessels(width):
    camera = Instrument(pixel_scale=0.05, psf="airy", psf_width=width)
    kernel = camera.psf_kernel()
    centre = len(kernel) // 2
    offset = (np.arange(len(kernel)) - centre) * 0.05
    argument = special.jn_zeros(1, 1)[0] * np.hypot(offset[:, None], offset) / width
    argument[centre, centre] = 1e-8
    expected = (2 * special.j1(argument) / argument) ** 2
    np.testing.assert_allclose(kernel / kernel[centre, centre], expected, rtol=1e-9, atol=1e-14)


def test_airy_kernel_ends_at_the_third_dark_ring():
    camera = Instrument(pixel_scale=0.01, psf="airy_circle", psf_width=0.1)
    zeros = special.jn_zeros(1, 3)
    assert camera.psf_radius_pixels == math.ceil(0.1 * zeros[2] / zeros[0] / 0.01)
    square = dataclasses.replace(camera, psf="airy").psf_kernel()
    offset = np.arange(len(square)) - len(square) // 2
    inside = np.hypot(offset[:, None], offset) <= 10 * zeros[2] / zeros[0]
    expected = np.where(inside, square, 0) / square[inside].sum()
    np.testing.assert_allclose(camera.psf_kernel(), expected, rtol=1e-12)
    # Light inside the radius x of an Airy pattern: 1 - J0^2 - J1^2 (Born & Wolf, 8.5.2).
    assert 1 - special.j0(zeros[2]) ** 2 == pytest.approx(0.938, abs=5e-4)


def test_no_psf_is_the_identity():
    assert Instrument(psf="none").psf_kernel().tolist() == [[1.0]]
    assert Instrument(psf="none", psf_width=1e6).psf_radius_pixels == 0  # the width means nothing there


@pytest.mark.parametrize("over_sampling", [1, 2, 3])
@pytest.mark.parametrize("image_size", [8, 9, 150])
@pytest.mark.parametrize("psf", ["gaussian", "none"])
def test_rays_are_centred_and_fill_the_padded_pixels_evenly(image_size, over_sampling, psf):
    camera = Instrument(image_size=image_size, over_sampling=over_sampling, psf=psf, psf_width=0.05)
    x, y = camera.ray_grid()
    side = image_size + 2 * camera.psf_radius_pixels
    assert len(x) == len(y) == side * over_sampling
    np.testing.assert_array_equal(x, y)
    assert x is not y
    np.testing.assert_allclose(x, -x[::-1], atol=1e-15)
    np.testing.assert_allclose(np.diff(x), 0.05 / over_sampling, rtol=1e-9)
    # The mean of a pixel's rays is the pixel's centre.
    centres = (np.arange(side) + 0.5) * 0.05 - side * 0.05 / 2
    np.testing.assert_allclose(x.reshape(side, over_sampling).mean(1), centres, atol=1e-12)


def test_field_of_view_of_the_published_images():
    assert Instrument().field_of_view == pytest.approx(7.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("image_size", value) for value in (7, 4097, 0, -150, 150.0, "150", True, None)),
        *(("over_sampling", value) for value in (0, 65, 2.0, True)),
        *(("pixel_scale", value) for value in (0, -0.05, math.inf, math.nan, "0.05", True, None, 1e-320)),
        *(("psf_width", value) for value in (0, -0.1, math.inf, math.nan, "0.1", False, 1e308, 8.0, 1.9)),
    ],
)
def test_impossible_values_are_refused_by_name(name, value):
    with pytest.raises(UsageError, match=name if value != 1e-320 else "psf_width"):
        Instrument(**{name: value})


@pytest.mark.parametrize(
    ("psf", "hint"),
    [("gausian", "Did you mean 'gaussian'"), ("Ary", "Did you mean 'airy'"), (None, ""), (["airy"], "")],
)
def test_unknown_psf_names_the_nearest(psf, hint):
    with pytest.raises(UsageError) as caught:
        Instrument(psf=psf)
    assert "gaussian, airy_circle, airy, none" in str(caught.value)
    assert hint in str(caught.value)


def test_the_brightness_of_the_middle_of_an_airy_pattern_does_not_depend_on_the_pixels():
    cameras = [Instrument(pixel_scale=side, psf="airy_circle", psf_width=0.2) for side in (0.05, 0.04, 0.0267, 0.0167)]
    brightness = [camera.psf_kernel().max() / camera.pixel_scale**2 for camera in cameras]
    np.testing.assert_allclose(brightness, brightness[0], rtol=1e-4)
