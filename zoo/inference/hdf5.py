"""Images of HDF5 files; h5py is imported when the first of them is read."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.image_file import Unreadable, check_size
from zoo.inference.arrays import choose_array, require_start
from zoo.inference.part import Part, PixelScale, import_library

SCALE = "pixel_scale"
"""Attribute of an array that states its pixel scale in arcsec, as `zoo data export --format hdf5` writes it."""


def read_hdf5(path: Path, channels: int, chosen: str | None) -> Iterator[Part]:
    """Yield the array of images of an HDF5 file; links to other files are not followed.

    Args:
        path: Path of the file.
        channels: Number of channels of the network.
        chosen: Array to read instead, by its name with those of its groups, as in "sky/cutouts".

    Raises:
        Unreadable: The file is not an HDF5 file, or has no array that can be the images.
        UsageError: The chosen array is a mask, noise, weights or a PSF by its name.
    """
    h5py = import_library("h5py", "HDF5 files need h5py", "h5py")
    require_start(path, (b"\x89HDF\r\n\x1a\n",), "HDF5")
    with h5py.File(path, "r", locking=False) as file:
        found: dict[str, Any] = {}
        file.visititems(lambda name, entry: found.update({name: entry}) if _may_be_images(h5py, entry) else None)
        array = found[choose_array(list(found), chosen)]
        scale, error = _stated_scale(array)
        yield Part(load=functools.partial(_load, path, array), pixel_scale=scale, scale_error=error)


def _may_be_images(h5py: Any, entry: Any) -> bool:
    return isinstance(entry, h5py.Dataset) and len(entry.shape or ()) >= 2 and entry.dtype.kind in "biuf"


def _load(path: Path, array: Any) -> NDArray[Any]:
    """Return an array, mapped from disk where it is stored in one piece.

    Raises:
        Unreadable: It is larger than the limit, or other files hold its numbers.
    """
    if array.external or array.is_virtual:
        raise Unreadable("holds an array whose numbers are in other files")
    offset = array.id.get_offset()  # None where it is compressed, in chunks, or not written yet
    if offset is not None and not array.file.userblock_size:
        return np.memmap(path, dtype=array.dtype, shape=array.shape, mode="r", offset=offset)
    check_size(array.shape, itemsize=array.dtype.itemsize)
    return np.asarray(array[()])


def _stated_scale(array: Any) -> tuple[PixelScale | None, str]:
    """Return the pixel scale that an array states, or None, and the reason why it cannot be used."""
    stated = array.attrs.get(SCALE)
    if stated is None:
        return None, ""
    scale = float(stated) if np.ndim(stated) == 0 and np.asarray(stated).dtype.kind in "iuf" else math.nan
    if not (math.isfinite(scale) and scale > 0):
        return None, f"its attribute {SCALE} is not a positive number"
    return PixelScale(scale, f"its attribute {SCALE}"), ""
