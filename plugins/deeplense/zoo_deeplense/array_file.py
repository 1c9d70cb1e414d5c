"""Reads one image of a file of DeepLense: plain .npy, .npy of objects, a bare pickle, or PNG; runs nothing in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.data.image_file import Content, check_size, images_of, read_npy
from zoo.errors import DataError, MissingError
from zoo.paths import regular_file
from zoo_deeplense.stacks import rows_of

HEAVIEST = 1e-10
"""Largest axion mass, in eV; those of vortices in haloes are 1e-24 to 1e-22."""


class BrokenFile(DataError):
    """A file that holds no image of the expected kind."""


def read_image(path: Path, *, row: int | None = None) -> tuple[NDArray[np.float32], float]:
    """Return a square image [C, H, W] and the axion mass in eV that is stored with it, NaN where there is none.

    `zoo.data.image_file` lists the accepted forms; numbers may be of any type. A number beside an image that no axion
    mass has, such as 0 or 1, is a label; the folder states the class.

    Args:
        path: Path of the file.
        row: Row of an array of several images.

    Raises:
        BrokenFile: The file does not hold an image; the error has its path.
    """
    try:
        content = _read_png(path) if path.suffix.lower() == ".png" else read_npy(path)
        array = content.array
        if row is not None:
            rows = rows_of(array)
            if rows is None:
                raise ValueError("it holds one image")
            array = rows[row]
        [image] = images_of(array).pixels
        if image.shape[1] != image.shape[2]:
            raise ValueError(f"an image of {image.shape[1]} x {image.shape[2]} pixels is not square")
        pixels = np.array(image, dtype=np.float32, order="C")
        if not np.isfinite(pixels).all():
            raise ValueError("a pixel is not finite")
    except Exception as error:  # a broken or hostile file can make its reader fail in any way
        raise BrokenFile(f"{path}: {str(error) or type(error).__name__}") from error
    number = np.nan if content.number is None else content.number
    return pixels, number if 0 < number < HEAVIEST else np.nan


def _read_png(path: Path) -> Content:
    """Return the grey levels or colours of a PNG as they are stored, without its transparency."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingError('PNGs need pillow: pip install "lens-zoo[images]"') from error

    with Image.open(regular_file(path), formats=["PNG"]) as picture:
        check_size((*picture.size, len(picture.getbands())))
        shown = picture.convert("RGB") if picture.mode == "P" else picture
        bands = [band for band in shown.getbands() if band != "A"]
        levels = np.asarray(shown)
    return Content(levels[..., : len(bands)] if levels.ndim == 3 else levels)
