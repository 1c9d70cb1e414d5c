"""Images of FITS files, chosen by the names of their extensions; astropy is imported when the first of them is read."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.image_file import Unreadable, check_size
from zoo.inference.arrays import require_start
from zoo.inference.part import Part, choose, describes_image, import_library, words_of
from zoo.inference.pixel_scale import stated_scale

IMAGES = frozenset({"sci", "science", "data", "image", "images"})
"""Words in the names of extensions that hold the image; extensions with other names count where there are none."""

MOST_EXTENSIONS = 10_000

_STARTS = (b"SIMPLE  =", b"\x1f\x8b")  # astropy would also unpack zip, bzip2 and others, whole


def read_fits(path: Path, channels: int, chosen: str | None) -> Iterator[Part]:
    """Yield the images of a FITS file, without masks, noise, weights and PSFs.

    Args:
        path: Path of the file.
        channels: Number of channels of the network.
        chosen: Extension to read instead: its name, its name and version as in "SCI,2", or its number from 0.

    Raises:
        Unreadable: The file is not a FITS file, or does not contain an image.
        UsageError: The chosen extension is a mask, noise, weights or a PSF by its name.
    """
    fits = import_library("astropy.io.fits", "FITS files need astropy", "astropy")
    require_start(path, _STARTS, "FITS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's warnings about headers that it repairs
        with fits.open(path, memmap=False, lazy_load_hdus=True) as units:
            found = {number: unit for number, unit in _counted(units) if _holds_image(unit)}
            if not found:
                raise Unreadable("holds no image data")
            labels = _labels(found)
            numbers = _images(found, labels) if chosen is None else [_chosen(found, labels, chosen)]
            for number in numbers:
                unit = found[number]
                note = f"extension {labels[number]}, one of {len(found)} arrays in the file" if len(found) > 1 else ""
                scale, error = stated_scale(unit.header, units[0].header)
                yield Part(
                    load=functools.partial(_load, unit),
                    label=labels[number] if len(numbers) > 1 else "",
                    pixel_scale=scale,
                    scale_error=error,
                    notes=(note,) if note else (),
                )


def _counted(units: Any) -> Iterator[tuple[int, Any]]:
    """Yield number and extension, up to a limit: astropy finds extensions without end in some damaged files.

    Raises:
        Unreadable: There are more.
    """
    for number, unit in enumerate(units):
        if number == MOST_EXTENSIONS:
            raise Unreadable(f"cannot be read: it has more than {MOST_EXTENSIONS:,} extensions, or is damaged")
        yield number, unit


def _holds_image(unit: Any) -> bool:
    return bool(getattr(unit, "is_image", False)) and len(unit.shape) >= 2 and 0 not in unit.shape


def _load(unit: Any) -> NDArray[Any]:
    """Return the array of an extension.

    Raises:
        Unreadable: The image is larger than the limit, or the file is truncated.
    """
    check_size(unit.shape)
    return np.asarray(unit.data)


def _labels(found: dict[int, Any]) -> dict[int, str]:
    """Return the label of each extension: its name if no other has it, its name and version, or its number."""
    names = {number: _name(unit) for number, unit in found.items()}
    versions = {number: f"{names[number]},{unit.ver}" for number, unit in found.items()}
    return {
        number: next(
            (
                label[number]
                for label in (names, versions)
                if names[number] and list(label.values()).count(label[number]) == 1
            ),
            str(number),
        )
        for number in found
    }


def _name(unit: Any) -> str:
    return str(unit.header.get("EXTNAME", "")).strip()


def _chosen(found: dict[int, Any], labels: dict[int, str], chosen: str) -> int:
    by_number = labels.get(int(chosen)) if chosen.isdecimal() else None
    names = {label: _name(found[number]) for number, label in labels.items()}
    label = choose(names, by_number or chosen, "image extension")
    return next(number for number in labels if labels[number] == label)


def _images(found: dict[int, Any], labels: dict[int, str]) -> list[int]:
    """Return the numbers of the extensions that hold images.

    Raises:
        Unreadable: All names are those of masks, noise, weights and PSFs.
    """
    images = [number for number, unit in found.items() if not describes_image(_name(unit))]
    if not images:
        raise Unreadable(f"holds no image but {', '.join(labels.values())}; an image of another name: save it as .npy")
    return [number for number in images if words_of(_name(found[number])) & IMAGES] or images
