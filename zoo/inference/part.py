"""One image array of a file, as each reader of a format yields it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from zoo.data.image_file import Unreadable
from zoo.errors import MissingError


class PixelScale(NamedTuple):
    """The pixel scale that a file states.

    Args:
        arcsec: Side of a pixel in arcsec.
        source: Place in the file that states it.
    """

    arcsec: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """One array of images in a file.

    Args:
        load: Function that reads the array; called before the next part is requested.
        label: Name in the file, or "" for its only array.
        pixel_scale: Pixel scale that the file states, or None.
        scale_error: Reason why the stated pixel scale cannot be used, or "".
        notes: Remarks for the reader of the answer.
    """

    load: Callable[[], NDArray[Any]]
    label: str = ""
    pixel_scale: PixelScale | None = None
    scale_error: str = ""
    notes: tuple[str, ...] = ()


def choose(names: list[str], chosen: str, what: str) -> str:
    """Return the name among those of a file that `FILE[NAME]` stands for, in any case.

    Raises:
        Unreadable: The file does not contain an image.
    """
    for name in names:
        if name.lower() == chosen.lower():
            return name
    raise Unreadable(f"has no {what} {chosen} (it has {', '.join(names[:8]) or 'none'})")


def import_library(module: str, what: str, package: str) -> Any:
    """Import an optional library.

    Raises:
        MissingError: The library is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingError(f"{what}, which is not installed.", hint=f"Install it: pip install {package}") from error
