"""Reads one array file of DeepLense: plain .npy, .npy of objects, or a bare pickle; runs nothing that is in it.

Object arrays are pickles, and a pickle can call anything. Here it can call what makes a NumPy array or scalar and
nothing else: every name that it asks for is looked up in a short list of our own.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.paths import regular_file

_MAGIC = b"\x93NUMPY"
_NDARRAY = object()  # stands for the type, which could be called with any size


class BrokenFile(DataError):
    """A file that holds no image of the expected kind."""


def read_image(path: Path) -> tuple[NDArray[np.float32], float]:
    """Return an image [C, H, W] and the axion mass in eV that is stored with it, NaN where there is none.

    Known forms: (H, W), (1, H, W), (H, W, C) and flat (H * W); numbers of any type; object arrays that hold an
    image and a mass, or the rows of an image.

    Raises:
        BrokenFile: The file does not hold an image; the error has its path.
    """
    try:
        value, mass = _image_and_mass(_load(path))
        image = np.asarray(value)
        if image.dtype == object:
            image = np.stack([np.asarray(row, dtype=np.float64) for row in image])
        return _channels_first(image), mass
    except Exception as error:  # a broken or hostile file can make its reader fail in any way
        raise BrokenFile(f"{path}: {str(error) or type(error).__name__}") from error


def _load(path: Path) -> Any:
    with regular_file(path).open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            file.seek(0)
            return _ArraysOnly(file, encoding="latin1").load()
        file.seek(0)
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if dtype.hasobject:
            return _ArraysOnly(file, encoding="latin1").load()
        here = os.fstat(file.fileno()).st_size - file.tell()
        wanted = int(np.prod([int(length) for length in shape], dtype=object)) * dtype.itemsize
        if wanted != here:  # before memory is asked for
            raise ValueError(f"{wanted} bytes of data are announced, {here} are there")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def _image_and_mass(value: Any) -> tuple[Any, float]:
    """Take apart [image, mass]; everything else is an image."""
    pair = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object)
    if pair and len(value) == 1:
        return _image_and_mass(value[0])
    if pair and len(value) == 2 and np.ndim(value[1]) == 0:
        return value[0], float(value[1])
    return value, np.nan


def _channels_first(image: NDArray[Any]) -> NDArray[np.float32]:
    if image.dtype.kind not in "biuf":
        raise ValueError(f"{image.dtype} is no type of pixels")
    if image.ndim == 1:
        side = round(len(image) ** 0.5)
        if side * side != len(image):
            raise ValueError(f"{len(image)} numbers in a row make no square")
        image = image.reshape(side, side)
    if image.ndim == 2:
        image = image[None]
    elif image.ndim == 3 and image.shape[0] > 4 >= image.shape[2]:
        image = np.moveaxis(image, 2, 0)
    if image.ndim != 3 or not 1 <= image.shape[0] <= 4 or image.shape[1] != image.shape[2] or image.shape[1] < 8:
        raise ValueError(f"an array of shape {image.shape} is no square image")
    pixels = np.ascontiguousarray(image, dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise ValueError("a pixel is not finite")
    return pixels


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows NumPy's arrays and scalars only."""

    def __init__(self, file: BinaryIO, *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)  # latin1: files written by Python 2

    def find_class(self, module: str, name: str) -> Any:
        """Return our own maker of what is asked for.

        Raises:
            pickle.UnpicklingError: it is anything else.
        """
        module = module.replace("numpy._core", "numpy.core")
        if (module, name) not in _MAKERS:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}, which makes no array; it was not called")
        return _MAKERS[module, name]


def _empty_array(kind: Any, shape: Any, typecode: Any) -> NDArray[Any]:
    """Stand in for `numpy.core.multiarray._reconstruct`: type, shape and data follow in the pickle."""
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError("it makes a subclass of an array")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _scalar(dtype: Any, data: Any = b"") -> Any:
    """Stand in for `numpy.core.multiarray.scalar`."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError("it makes a scalar of objects")
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype=dtype, count=1)[0]


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> NDArray[Any]:
    """Stand in for `numpy.core.numeric._frombuffer`, which pickles of protocol 5 use."""
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _plain_dtype(code: Any, *_: Any) -> np.dtype[Any]:
    if not isinstance(code, str):
        raise pickle.UnpicklingError("it makes a structured type")
    return np.dtype(code)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Stand in for `_codecs.encode`, which pickles of protocol 2 use for bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError("it encodes something that is no array")
    return text.encode("latin1")


_MAKERS: dict[tuple[str, str], Callable[..., Any] | object] = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _plain_dtype,
    ("_codecs", "encode"): _encode,
}
