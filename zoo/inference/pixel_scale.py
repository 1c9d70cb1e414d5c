"""The pixel scale that the headers of a FITS image state."""

from __future__ import annotations

import math
import re
from typing import Any

from zoo.inference.part import PixelScale

_UNITS = {
    "deg": 3600.0, "degree": 3600.0, "degrees": 3600.0, "arcmin": 60.0, "'": 60.0, "mas": 1e-3,
    "arcsec": 1.0, "arcsecond": 1.0, "arcseconds": 1.0, "asec": 1.0, '"': 1.0, "''": 1.0,
}  # fmt: skip
_TEXT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?)\s*([a-z\"']*)\s*(?:(?:/|per)\s*pix(?:els?)?)?\s*")
# PyAutoLens writes PIXSCAY and PIXSCAX.
_NAMES = {
    "PIXSCALE": "PIXSCALE", "PIXSCAL1": "PIXSCAL2", "PIXELSCL": "PIXELSCL", "SECPIX": "SECPIX", "SECPIX1": "SECPIX2",
    "PIXSCAX": "PIXSCAY", "PIXSCAY": "PIXSCAX",
}  # fmt: skip
"""Names of the pixel scale along x, and along y."""


class _Unusable(Exception):
    """The reason why a stated pixel scale cannot be used."""


def stated_scale(header: Any, primary: Any) -> tuple[PixelScale | None, str]:
    """Return the pixel scale of an image, or None if its headers state none, and the reason why it cannot be used.

    The image's own header comes before the primary one. In each, the celestial WCS comes first, then CDELT1 with a
    unit, then PIXSCALE and its kin. CDELT1 alone comes last: it is in degrees where it means the sky, but many
    programs write a meaningless 1 there.

    Args:
        header: Header of the image, an `astropy.io.fits.Header`.
        primary: Header of the file's first unit.
    """
    headers = [header] if header is primary else [header, primary]
    try:
        for rule in (_by_unit_or_name, _by_bare_cdelt):
            for each in headers:
                scale = rule(each)
                if scale is not None:
                    return scale, ""
    except _Unusable as error:
        return None, str(error)
    except Exception as error:  # astropy raises what it likes on damaged headers
        return None, f"its pixel scale cannot be read: {next(iter(str(error).strip().splitlines()), '')[:200]}"
    return None, ""


def _by_unit_or_name(header: Any) -> PixelScale | None:
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    if "CTYPE1" in header:  # there is a celestial WCS only with one
        celestial = WCS(_with_numbers(header)).celestial
        if celestial.has_celestial and any(key in header for key in ("CDELT1", "CD1_1", "CD1_2", "PC1_1")):
            x, y = (float(scale) * 3600 for scale in proj_plane_pixel_scales(celestial))
            return PixelScale(_square(x, y), "the celestial WCS")
    unit = str(header.get("CUNIT1", "")).strip().lower()
    return (_by_cdelt(header, unit) if unit else None) or _by_name(header)


def _with_numbers(header: Any) -> Any:
    """Return a header with numbers for the WCS values that were written as text."""
    changed = header.copy()
    for key in header:
        if re.fullmatch(r"(CDELT|CRVAL|CRPIX|CROTA)\d|(CD|PC)\d_\d", key) and isinstance(header[key], str):
            changed[key], unit = _parsed(header, key)
            if unit not in ("", "deg"):
                raise _Unusable(f"{key} is {header[key]!r:.60}, which is not in degrees")
    return changed


def _by_bare_cdelt(header: Any) -> PixelScale | None:
    return None if str(header.get("CUNIT1", "")).strip() else _by_cdelt(header, "deg")


def _by_cdelt(header: Any, unit: str) -> PixelScale | None:
    if unit not in _UNITS or "CDELT1" not in header:
        return None
    x = _arcsec(header, "CDELT1", unit)
    y = _arcsec(header, "CDELT2" if "CDELT2" in header else "CDELT1", unit)
    return PixelScale(_square(x, y), f"CDELT1 in {unit}")


def _by_name(header: Any) -> PixelScale | None:
    for name, second in _NAMES.items():
        if _states(header, name):
            return PixelScale(
                _square(_arcsec(header, name), _arcsec(header, second if _states(header, second) else name)), name
            )
    return None


def _states(header: Any, name: str) -> bool:
    value = header.get(name)
    return isinstance(value, int | float | str) and not isinstance(value, bool) and value not in (0, "")


def _arcsec(header: Any, name: str, unit: str = "arcsec") -> float:
    """Return the absolute value of an entry in arcsec; a unit that is written with the number counts."""
    value, own_unit = _parsed(header, name)
    return abs(value) * _UNITS[own_unit or unit]


def _parsed(header: Any, name: str) -> tuple[float, str]:
    """Return the number of an entry, which may be written as text, and the unit that is written with it, or "".

    Raises:
        _Unusable: The value is not a finite number with a unit of angle.
    """
    value, unit = header[name], ""
    if isinstance(value, str) and (found := _TEXT.fullmatch(value.lower())):
        value, unit = float(found[1].replace("d", "e")), found[2]
    if isinstance(value, bool | str) or not math.isfinite(value) or (unit and unit not in _UNITS):
        raise _Unusable(f"{name} is {header[name]!r:.60}, which is not a pixel scale")
    return float(value), unit


def _square(x: float, y: float) -> float:
    if not (x > 0 and y > 0 and abs(x / y - 1) < 0.01):
        raise _Unusable(f"its pixels are not square: {x:.4g} by {y:.4g} arcsec")
    return x if x == y else math.sqrt(x) * math.sqrt(y)
