"""Images and pixel scales of FITS files; astropy is imported when the first of them is read."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.errors import MissingError


class PixelScale(NamedTuple):
    """The pixel scale that a file states.

    Args:
        arcsec: Side of a pixel in arcsec.
        source: Place in the file that states it.
    """

    arcsec: float
    source: str


class Unreadable(Exception):
    """The reason why a file cannot be read."""


def read_fits(path: Path, channels: int) -> tuple[NDArray[Any], PixelScale | None]:
    """Return the first image of a FITS file and its pixel scale."""
    fits = import_library("astropy.io.fits", "FITS files need astropy", "astropy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's warnings about headers that it repairs
        with fits.open(path, memmap=False, lazy_load_hdus=True) as units:
            for unit in units:
                if getattr(unit, "is_image", False) and unit.header.get("NAXIS", 0) >= 2:
                    data = np.asarray(unit.data)
                    header = unit.header + units[0].header if unit is not units[0] else unit.header
                    return data, fits_pixel_scale(header)
    raise Unreadable("holds no image data")


def fits_pixel_scale(header: Any) -> PixelScale | None:
    """Return the pixel scale of a header, or None if the header states none.

    The celestial WCS comes first, then CDELT1 with a unit, then PIXSCALE and its kin, and last CDELT1 alone: that is
    in degrees where it means the sky, but many programs write a meaningless 1 there.

    Args:
        header: Header, an `astropy.io.fits.Header`.

    Raises:
        Unreadable: the pixels are not square.
    """
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    celestial = WCS(header).celestial
    if celestial.has_celestial and any(key in header for key in ("CDELT1", "CD1_1", "CD1_2", "PC1_1")):
        x, y = (float(scale) * 3600 for scale in proj_plane_pixel_scales(celestial))
        return PixelScale(_square(x, y), "the celestial WCS")
    unit = str(header.get("CUNIT1", "")).strip().lower()
    if unit:
        return _by_cdelt(header, unit) or _by_name(header)
    return _by_name(header) or _by_cdelt(header, "deg")


def _by_cdelt(header: Any, unit: str) -> PixelScale | None:
    per_unit = {"deg": 3600.0, "arcsec": 1.0, "arcmin": 60.0}.get(unit)
    if per_unit is None or "CDELT1" not in header:
        return None
    x = abs(float(header["CDELT1"])) * per_unit
    y = abs(float(header.get("CDELT2", header["CDELT1"]))) * per_unit
    return PixelScale(_square(x, y), f"CDELT1 in {unit}")


def _by_name(header: Any) -> PixelScale | None:
    for name in ("PIXSCALE", "PIXSCAL1", "PIXELSCL", "SECPIX", "SECPIX1"):
        if isinstance(header.get(name), (int, float)) and header[name]:
            return PixelScale(abs(float(header[name])), name)
    return None


def _square(x: float, y: float) -> float:
    if not (x > 0 and y > 0 and abs(x / y - 1) < 0.01):
        raise Unreadable(f"its pixels are not square: {x:.4g} by {y:.4g} arcsec")
    return float(np.sqrt(x) * np.sqrt(y))


def import_library(module: str, what: str, package: str) -> Any:
    """Import an optional library.

    Raises:
        MissingError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingError(f"{what}, which is not installed.", hint=f"Install it: pip install {package}") from error
