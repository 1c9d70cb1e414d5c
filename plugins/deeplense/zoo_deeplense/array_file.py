"""Reads the image of one array file of DeepLense: plain .npy, .npy of objects, or a bare pickle; runs nothing in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.data.image_file import images_of, read_npy
from zoo.errors import DataError


class BrokenFile(DataError):
    """A file that holds no image of the expected kind."""


def read_image(path: Path) -> tuple[NDArray[np.float32], float]:
    """Return a square image [C, H, W] and the axion mass in eV that is stored with it, NaN where there is none.

    `zoo.data.image_file` lists the accepted forms; numbers may be of any type.

    Raises:
        BrokenFile: The file does not hold an image; the error has its path.
    """
    try:
        content = read_npy(path)
        [image] = images_of(content.array).pixels
        if image.shape[1] != image.shape[2]:
            raise ValueError(f"an image of {image.shape[1]} x {image.shape[2]} pixels is not square")
        pixels = np.array(image, dtype=np.float32, order="C")
        if not np.isfinite(pixels).all():
            raise ValueError("a pixel is not finite")
    except Exception as error:  # a broken or hostile file can make its reader fail in any way
        raise BrokenFile(f"{path}: {str(error) or type(error).__name__}") from error
    return pixels, np.nan if content.number is None else content.number
