"""FITS files: the extension that is read, and the pixel scale that headers state."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import zoo.inference.fits
from zoo.inference.read import read_pictures

IMAGE = np.arange(80, dtype=np.float32).reshape(8, 10)


def read(*paths, channels=1):
    return list(read_pictures(paths, channels=channels))


def celestial(scale, *, angle=0.0, ratio=1.0):
    """Return the header of a rotated tangent-plane image; scale in arcsec."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    cos, sin = np.cos(angle) * scale / 3600, np.sin(angle) * scale / 3600
    wcs.wcs.cd = [[-cos, sin * ratio], [sin, cos * ratio]]
    wcs.wcs.crval = [150, 2]
    return wcs.to_header()


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        (celestial(0.05, angle=0.7), 0.05),
        (fits.Header({"CDELT1": -0.1 / 3600, "CDELT2": 0.1 / 3600}), 0.1),
        (fits.Header({"CDELT1": 0.2, "CUNIT1": "arcsec"}), 0.2),
        (fits.Header({"PIXSCALE": 0.263}), 0.263),
        (fits.Header({"CDELT1": 1.0, "CDELT2": 1.0, "PIXSCALE": 0.263}), 0.263),
        (fits.Header({"CDELT1": 0.2, "CUNIT1": "arcsec", "PIXSCALE": 0.263}), 0.2),
        (fits.Header({"CDELT1": 1.0, "CUNIT1": "pixel", "PIXSCALE": 0.263}), 0.263),
        (fits.Header({"OBJECT": "lens"}), None),
    ],
    ids=["cd", "cdelt", "arcsec", "pixscale", "bare cdelt", "both", "pixel unit", "none"],
)
def test_fits_and_their_pixel_scale(tmp_path, header, scale):
    path = tmp_path / "lens.fits"
    fits.writeto(path, IMAGE, header=header)
    [picture] = read(path)
    assert np.array_equal(picture.pixels[0], IMAGE)
    assert (picture.pixel_scale and picture.pixel_scale.arcsec) == (scale and pytest.approx(scale, rel=1e-6))


def test_fits_extensions(tmp_path):
    path = tmp_path / "hst.fits"
    science = fits.ImageHDU(IMAGE, header=celestial(0.04), name="SCI")
    table = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.arange(3.0))])
    fits.HDUList([fits.PrimaryHDU(), table, science, fits.ImageHDU(IMAGE * 0, name="ERR")]).writeto(path)
    [picture] = read(path)
    assert picture.pixels.max() == 79
    assert picture.pixel_scale.arcsec == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("own", "primary", "scale"),
    [
        (celestial(0.10), celestial(0.12), 0.10),
        ({"PIXSCALE": 0.10}, celestial(0.12), 0.10),
        ({"CDELT1": 0.1, "CUNIT1": "arcsec"}, {"PIXSCALE": 0.12}, 0.10),
        ({}, celestial(0.12), 0.12),
        ({"CDELT1": 1.0, "CDELT2": 1.0}, {"PIXSCALE": 0.12}, 0.12),
        ({}, {}, None),
    ],
)
def test_the_extension_comes_before_the_primary_header(tmp_path, own, primary, scale):
    path = tmp_path / "lens.fits"
    fits.HDUList(
        [fits.PrimaryHDU(header=fits.Header(primary)), fits.ImageHDU(IMAGE, header=fits.Header(own), name="SCI")]
    ).writeto(path)
    [picture] = read(path)
    assert (picture.pixel_scale and picture.pixel_scale.arcsec) == (scale and pytest.approx(scale, rel=1e-6))


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        ({"PIXSCAY": 0.1, "PIXSCAX": 0.1}, 0.1),
        ({"PIXSCAY": "0.1", "PIXSCAX": "0.1"}, 0.1),
        ({"PIXSCALE": "0.05"}, 0.05),
        ({"PIXSCALE": " 0.05 arcsec/pixel "}, 0.05),
        ({"PIXSCALE": '0.05"'}, 0.05),
        ({"PIXSCALE": "50 mas"}, 0.05),
        ({"SECPIX1": 0.2, "SECPIX2": 0.2}, 0.2),
        ({"CDELT1": "-2.5D-5", "CDELT2": "2.5D-5"}, 0.09),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": "-2.5e-5", "CDELT2": "2.5e-5"}, 0.09),
        ({"PIXSCALE": True}, None),
        ({"PIXSCALE": ""}, None),
        ({"PIXSCALE": "fine"}, "PIXSCALE is 'fine', which is not a pixel scale"),
        ({"PIXSCALE": "0.05 furlong"}, "which is not a pixel scale"),
        ({"PIXSCAY": 0.1, "PIXSCAX": 0.2}, "its pixels are not square: 0.2 by 0.1 arcsec"),
        (celestial(0.05, ratio=2), "its pixels are not square"),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": 0.0, "CDELT2": 0.0}, "pixel"),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "GLAT-TAN", "CDELT1": 0.1, "CDELT2": 0.1}, "its pixel scale cannot be read"),
    ],
)
def test_numbers_may_be_text_and_an_unusable_scale_is_not_the_end_of_the_image(tmp_path, header, scale):
    path = tmp_path / "lens.fits"
    fits.writeto(path, IMAGE, header=fits.Header(header))
    [picture] = read(path)
    if isinstance(scale, str):
        assert scale in picture.scale_error
        assert picture.pixel_scale is None
    else:
        assert picture.scale_error == ""
        assert (picture.pixel_scale and picture.pixel_scale.arcsec) == (scale and pytest.approx(scale, rel=1e-6))


@pytest.mark.slow
def test_what_pyautolens_writes_is_read(tmp_path):
    """The file is written by PyAutoLens' own function, as its `dataset.fits` is."""
    fitsable = pytest.importorskip("autonerves.fitsable")
    autoarray = pytest.importorskip("autoarray")
    mask = autoarray.Mask2D.circular(shape_native=(20, 20), radius=0.8, pixel_scales=0.1)
    arrays = {name: np.full((20, 20), place) for place, name in enumerate(("data", "noise_map", "psf"))}
    fitsable.hdu_list_for_output_from(
        values_list=[np.asarray(mask).astype(float), *arrays.values()],
        ext_name_list=["mask", *arrays],
        header_dict=mask.header_dict,
    ).writeto(tmp_path / "dataset.fits")
    [picture] = read(tmp_path / "dataset.fits")
    assert np.all(picture.pixels == 0)
    assert picture.pixel_scale == (0.1, "PIXSCAX")
    assert picture.notes == ("extension DATA, one of 4 arrays in the file",)


def test_a_file_without_an_end_is_named(tmp_path, monkeypatch):
    """In some damaged .fits.gz astropy finds extensions without end, until the memory is full."""
    monkeypatch.setattr(zoo.inference.fits, "MOST_EXTENSIONS", 3)
    units = [fits.PrimaryHDU(IMAGE), *(fits.ImageHDU(IMAGE) for _ in range(3))]
    fits.HDUList(units[:3]).writeto(tmp_path / "three.fits.gz")
    fits.HDUList(units).writeto(tmp_path / "four.fits.gz")
    assert len(read(tmp_path / "three.fits.gz")) == 3
    [skipped] = read(tmp_path / "four.fits.gz")
    assert skipped.reason == "cannot be read: it has more than 3 extensions, or is damaged"
