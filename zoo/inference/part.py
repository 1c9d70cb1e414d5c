"""One image array of a file, as each reader of a format yields it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from zoo.data.image_file import Unreadable
from zoo.errors import MissingError, UsageError

# The second and third rows are names of the pipelines of JWST and Hubble, and of PyAutoLens.
NO_IMAGES = frozenset(
    {
        "mask", "masks", "maskbits", "psf", "kernel", "noise", "noisemap", "rms", "sigma", "std", "unc", "uncert",
        "uncertainty", "err", "error", "errors", "var", "variance", "ivar", "invvar", "wht", "weight", "weights", "wt",
        "dq", "ctx", "con", "context", "area", "exp", "expmap", "exptime", "exposure", "flag", "flags", "quality",
        "bpm", "badpix", "seg", "segm", "segmentation", "bkg", "background", "flat", "over", "residual",
        "residuals", "chi",
    }
)  # fmt: skip
"""Words in the names of arrays that describe an image: masks, noise, weights, PSFs."""


class PixelScale(NamedTuple):
    """The pixel scale that a file states.

    Args:
        arcsec: Side of a pixel in arcsec.
        source: Place in the file that states it.
    """

    arcsec: float
    source: str


class Origin(NamedTuple):
    """The split that simulated images were made for.

    Args:
        dataset, version: Id and version of the data set.
        split: "train", "val" or "test".
    """

    dataset: str
    version: int
    split: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """One array of images in a file.

    Args:
        load: Function that reads the array; called before the next part is requested.
        label: Name in the file, or "" for its only array.
        pixel_scale: Pixel scale that the file states, or None.
        scale_error: Reason why the stated pixel scale cannot be used, or "".
        notes: Remarks for the reader of the answer.
        origin: Split that the images were simulated for; None where the file states none.
    """

    load: Callable[[], NDArray[Any]]
    label: str = ""
    pixel_scale: PixelScale | None = None
    scale_error: str = ""
    notes: tuple[str, ...] = ()
    origin: Origin | None = None


def words_of(name: str) -> set[str]:
    """Return the words in the name of an array, in small letters."""
    return set(re.split(r"[^a-z]+", name.lower()))


def describes_image(name: str) -> bool:
    """Return whether an array is a mask, noise, weights or a PSF by its name."""
    return bool(words_of(name) & NO_IMAGES)


def choose(names: Mapping[str, str], chosen: str, what: str) -> str:
    """Return the label of the array of a file that `FILE[NAME]` stands for, in any case.

    Args:
        names: Label of each array -> its name in the file, which may be empty.
        chosen: Requested label.
        what: Kind of array, for the message.

    Raises:
        Unreadable: The file does not contain the array.
        UsageError: By its name, the array is not an image, so that a class would mean nothing.
    """
    for label, name in names.items():
        if label.lower() == chosen.lower():
            if describes_image(name):
                images = ", ".join(other for other, its in names.items() if not describes_image(its))
                raise UsageError(
                    f"by its name, the {what} {name} is not an image of the sky.",
                    hint=f"Images in the file: {images or 'none'}. An image of such a name: save it as a .npy file",
                )
            return label
    raise Unreadable(f"has no {what} {chosen} (it has {', '.join([*names][:8]) or 'none'})")


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
