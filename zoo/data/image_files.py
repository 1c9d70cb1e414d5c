"""Images of a split as one file: npy, FITS or HDF5."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.shards import SHARD_SIZE
from zoo.data.split import Split
from zoo.errors import MissingError

Progress = Callable[[int, int], None]
Order = NDArray[np.int64]


def _blocks(split: Split, order: Order, progress: Progress | None) -> Iterator[NDArray[np.float32]]:
    """Yield the images [n, C, H, W] in an order, some at a time."""
    for start in range(0, len(order), SHARD_SIZE):
        yield split.images_at(order[start : start + SHARD_SIZE])
        if progress is not None:
            progress(min(start + SHARD_SIZE, len(order)), len(order))


def _write_npy(path: Path, split: Split, order: Order, pixel_scale: float | None, progress: Progress | None) -> None:
    # Written and not mapped: a full disk is an error of write(), and kills a process that maps the file.
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(order), *split.image_shape)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in _blocks(split, order, progress):
            file.write(np.ascontiguousarray(block, "<f4").data)


def _write_fits(path: Path, split: Split, order: Order, pixel_scale: float | None, progress: Progress | None) -> None:
    """Write a cube [N, H, W], or [N, C, H, W] for several channels, with the pixel scale in its header."""
    fits = _library("astropy.io.fits", "fits")
    channels, height, width = split.image_shape
    axes = [width, height, *([channels] if channels > 1 else []), len(order)]
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", len(axes))])
    for number, length in enumerate(axes, 1):
        header[f"NAXIS{number}"] = length
    if pixel_scale is not None:
        header["PIXSCALE"] = (pixel_scale, "arcsec per pixel")
    stream = fits.StreamingHDU(str(path), header)
    for block in _blocks(split, order, progress):
        stream.write(block)
    stream.close()


def _write_hdf5(path: Path, split: Split, order: Order, pixel_scale: float | None, progress: Progress | None) -> None:
    """Write the dataset "images" [N, C, H, W] with the attribute "pixel_scale" in arcsec."""
    h5py = _library("h5py", "hdf5")
    with h5py.File(path, "w", locking=False) as file:  # `written_whole` holds the lock
        images = file.create_dataset("images", (len(order), *split.image_shape), dtype="float32")
        if pixel_scale is not None:
            images.attrs["pixel_scale"] = pixel_scale
        done = 0
        for block in _blocks(split, order, progress):
            images[done : done + len(block)] = block
            done += len(block)


WRITERS: Mapping[str, Callable[..., None]] = {".npy": _write_npy, ".fits": _write_fits, ".hdf5": _write_hdf5}
"""End of the name of a file of images -> function that writes it; the formats of `zoo data export`."""
FORMATS = tuple(suffix.removeprefix(".") for suffix in WRITERS)
_LIBRARIES = {"fits": "astropy.io.fits", "hdf5": "h5py"}


def check_format(name: str) -> None:
    """Check that a format can be written, before anything is simulated.

    Raises:
        MissingError: Its library is not installed.
    """
    if name in _LIBRARIES:
        _library(_LIBRARIES[name], name)


def _library(module: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingError(
            f"--format {extra} needs {module.partition('.')[0]}, which is not installed.",
            hint=f'Install it: pip install "lens-zoo[{extra}]"',
        ) from error
