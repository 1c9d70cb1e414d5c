"""Resampling and cropping against what integrals and block means say."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.inference.resample import resample_image, seen_part


def gaussian(size, sigma, *, dx=0.0, dy=0.0):
    """Return a Gaussian of total 1000 integrated over pixels, sigma in pixels, [1, size, size]."""
    from scipy.special import erf

    edges = np.arange(size + 1) - size / 2
    x, y = (np.diff(erf((edges - shift) / sigma / 2**0.5)) / 2 for shift in (dx, dy))
    return (1000 * y[:, None] * x)[None].astype(np.float32)


@pytest.mark.parametrize("zoom", [2, 3])
def test_whole_factors_are_sums_over_blocks(zoom):
    image = np.random.default_rng(0).normal(size=(1, 12 * zoom, 12 * zoom)).astype(np.float32)
    fitted, padding = resample_image(image, size=12, zoom=zoom)
    assert fitted == pytest.approx(image.reshape(1, 12, zoom, 12, zoom).sum((2, 4)), abs=1e-4)
    assert padding == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("zoom", [0.4, 0.77, 1.3, 2.5])
@pytest.mark.parametrize("shape", [(60, 60), (61, 64)])
def test_flux_and_position_stay(zoom, shape):
    """The sum stays, and so does the centroid as measured from the image's centre."""
    image = gaussian(64, 3.0, dx=2.0, dy=-1.5)[:, : shape[0], : shape[1]]
    size = int(np.ceil(64 / zoom)) + 2
    fitted, _ = resample_image(image, size=size, zoom=zoom)
    assert fitted.sum() == pytest.approx(image.sum(), rel=1e-4)

    def centroid(picture, axis):
        length = picture.shape[axis + 1]
        profile = picture[0].sum(1 - axis)
        return float((profile * (np.arange(length) - (length - 1) / 2)).sum() / profile.sum())

    for axis in (0, 1):
        assert centroid(fitted, axis) * zoom == pytest.approx(centroid(image, axis), abs=0.02)


def test_a_resampled_gaussian_is_the_gaussian_of_the_other_camera():
    """Compared with the Gaussian integrated over the new pixels; the old pixels' own size widens it a little."""
    fitted, _ = resample_image(gaussian(90, 9.0), size=45, zoom=1.5)
    expected = gaussian(45, 6.0)
    assert np.abs(fitted - expected).max() < 0.01 * expected.max()
    finer, _ = resample_image(gaussian(40, 6.0), size=80, zoom=0.5)
    assert np.abs(finer - gaussian(80, 12.0)).max() < 0.02 * finer.max()


@pytest.mark.parametrize(("old", "new"), [(9, 5), (8, 5), (9, 4), (5, 9), (5, 8), (7, 7)])
def test_crop_and_pad_move_whole_pixels(old, new):
    image = np.arange(old * old, dtype=np.float32).reshape(1, old, old) + 1
    fitted, padding = resample_image(image, size=new)
    kept = min(old, new)
    assert padding == pytest.approx(1 - (kept / new) ** 2)
    assert set(fitted[0, new // 2 - 1 : new // 2 + 1].ravel()) & set(image.ravel())
    if new <= old:
        start = (old - new) // 2
        assert np.array_equal(fitted, image[:, start : start + new, start : start + new])
    else:
        start = (new - old) // 2
        assert np.array_equal(fitted[:, start : start + old, start : start + old], image)


def test_padding_continues_the_sky():
    for zoom in (1.0, 0.8, 1.6):
        fitted, padding = resample_image(np.full((1, 20, 20), 3.0, np.float32), size=60, zoom=zoom)
        assert fitted == pytest.approx(3.0 * zoom**2, rel=1e-5)
        assert padding == pytest.approx(1 - (20 / zoom / 60) ** 2, abs=0.01)


def test_long_images_are_cropped_and_padded():
    fitted, padding = resample_image(np.ones((2, 4, 40), np.float32), size=8)
    assert fitted.shape == (2, 8, 8)
    assert padding == 0.5


@pytest.mark.parametrize("zoom", [0.4, 0.77, 1.0, 2.0, 2.5])
@pytest.mark.parametrize("shape", [(60, 60), (61, 200), (9, 300)])
def test_nothing_outside_of_the_seen_part_counts(zoom, shape):
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    rows, columns = seen_part(image.shape, size=12, zoom=zoom)
    outside = np.ones(image.shape, bool)
    outside[:, rows, columns] = False
    assert outside.any()
    fitted, _ = resample_image(image, size=12, zoom=zoom)
    image[outside] = np.nan
    again, padding = resample_image(image, size=12, zoom=zoom)
    if padding < 1e-6:  # otherwise the sky, of which the image's border is part, differs
        assert again == pytest.approx(fitted, abs=1e-5)
    assert np.isfinite(again).all()
    image[0, rows.start, columns.stop - 1] = np.nan  # the part is not larger than it must be
    assert not np.isfinite(resample_image(image, size=12, zoom=zoom)[0]).all()
