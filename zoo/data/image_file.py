"""Arrays in .npy files, and the rule of what in an array is an image, for `zoo predict` and for data sets of files.

An image has sides of at least 8 pixels. Its channels come first or last. Files larger than the limit are refused by
what their headers announce, before memory is taken for them.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.data.pickled import load_arrays
from zoo.paths import regular_file

LEAST_SIDE = 8
MOST_CHANNELS = 4
"""Most channels of an image whose number of channels is not stated."""

MOST_BYTES = 3 * 2**27
"""Most bytes of an image, at 8 a pixel, and of an array that is read whole: with torch, less than 2 GiB in all."""

_MAGIC = b"\x93NUMPY"


class Unreadable(Exception):
    """The reason why a file, or an array in it, is not read."""


class Content(NamedTuple):
    """Content of a file.

    Args:
        array: Array of numbers, possibly mapped from disk.
        number: Number that is stored with an image, such as DeepLense's axion mass; None without one.
    """

    array: NDArray[Any]
    number: float | None = None


class Images(NamedTuple):
    """Images of an array.

    Args:
        several: Whether the array can hold several images, even if it holds one.
        pixels: View [N, C, H, W] of the array.
    """

    several: bool
    pixels: NDArray[Any]


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is skipped where a folder is searched: `._lens.npy`, `.ipynb_checkpoints`."""
    return name.startswith(".")


def check_size(shape: tuple[int, ...], *, itemsize: int = 8, advice: str = "") -> None:
    """Check the size of an array before it is read.

    Args:
        shape: Shape that the file announces.
        itemsize: Bytes of a number.
        advice: Other way to give the images, as the end of the sentence.

    Raises:
        Unreadable: The array is larger than `MOST_BYTES`.
    """
    size = math.prod(int(length) for length in shape) * itemsize
    if size > MOST_BYTES:
        shown = " x ".join(f"{length:,}" for length in shape)
        raise Unreadable(
            f"is too large: {shown} pixels take {size / 2**30:.3g} GiB, and the limit is {MOST_BYTES / 2**30:g} GiB"
            + (f"; {advice}" if advice else "")
        )


def read_npy(path: Path) -> Content:
    """Return the array of a .npy file, mapped from disk; arrays of objects and bare pickles are read without running.

    Raises:
        Unreadable: The file has another format, is truncated, too large, or contains other objects.
        OSError: The system denies access to the file.
    """
    with regular_file(path).open("rb") as file:
        start = file.read(len(_MAGIC))
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        if start != _MAGIC:
            return _read_pickle(file, "cannot be read: it is not a .npy file and not a pickled array")
        shape, fortran_order, dtype = read_npy_header(file)
        if dtype.hasobject:
            return _read_pickle(file, "holds Python objects that are not an image")
        _check_announced(shape, dtype, size - file.tell())
        if 0 in shape:  # nothing can be mapped
            return Content(np.empty(shape, dtype))
        offset = file.tell()
    order: Literal["C", "F"] = "F" if fortran_order else "C"
    return content_of(np.memmap(path, dtype=dtype, shape=shape, order=order, mode="r", offset=offset))


def read_npy_stream(file: BinaryIO, size: int) -> Content:
    """Return the array of a .npy file inside another file, read whole.

    Args:
        file: Stream at its start.
        size: Number of bytes.

    Raises:
        Unreadable: The same faults as for `read_npy`.
    """
    shape, fortran_order, dtype = read_npy_header(file)
    if dtype.hasobject:
        return _read_pickle(file, "holds Python objects that are not an image")
    check_size(shape, itemsize=dtype.itemsize, advice="save a .npy file, which is read image by image")
    _check_announced(shape, dtype, size - file.tell())
    flat = np.frombuffer(file.read(), dtype=dtype) if math.prod(shape) else np.empty(0, dtype)
    return content_of(flat.reshape(shape, order="F" if fortran_order else "C"))


def read_npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the order is Fortran's, and type of a .npy file.

    Raises:
        Unreadable: The header is damaged.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(file)
    except Exception as error:  # numpy evaluates the header, which can fail in many ways
        raise Unreadable(f"cannot be read: its header is damaged ({_first_line(error)})") from error
    if any(type(length) is not int or length < 0 for length in shape):
        raise Unreadable(f"is of an impossible shape: {list(shape)}")
    return shape, fortran_order, dtype


def _check_announced(shape: tuple[int, ...], dtype: np.dtype[Any], here: int) -> None:
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != here:
        raise Unreadable(f"cannot be read: its header announces {wanted:,} bytes of data, {here:,} are there")


def _read_pickle(file: BinaryIO, what: str) -> Content:
    from zoo.data.pickled import MOST_BYTES as MOST_PICKLED

    try:
        return content_of(load_arrays(file.read(MOST_PICKLED + 1)))
    except OSError:
        raise
    except Exception as error:  # a damaged or hostile pickle can fail in any way
        raise Unreadable(f"{what} ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def content_of(value: Any) -> Content:
    """Return the array of numbers in a value, and a number that is stored with it.

    Args:
        value: Array of numbers; [image, number]; the rows or pixels of an image, the rows with a number behind them or
            without; or a list of images of one size.

    Raises:
        Unreadable: The value is larger than the limit.
        ValueError: The value is of another kind.
    """
    value, number = _image_and_number(value)
    if isinstance(value, list):
        array = np.empty(len(value), dtype=object)
        for i, item in enumerate(value):
            array[i] = item
        value = array
    if not isinstance(value, np.ndarray):
        raise ValueError(f"a {type(value).__name__}, not an array")
    if value.dtype == object:
        value = _stacked(value)
    side = math.isqrt(len(value)) if value.ndim == 1 else 0
    if side >= LEAST_SIDE and len(value) == side**2 + 1:  # np.append(image, number)
        return Content(value[:-1], _number(value[-1]))
    return Content(value, number)


def _image_and_number(value: Any) -> tuple[Any, float | None]:
    pair = isinstance(value, list) or (isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1)
    if pair and len(value) == 1:
        return _image_and_number(value[0])
    if pair and len(value) == 2 and isinstance(value[0], list | np.ndarray) and np.isscalar(value[1]):
        return value[0], _number(value[1])
    if pair and len(value) > LEAST_SIDE and isinstance(value[0], list | np.ndarray):
        last = value[-1]
        if isinstance(last, list | np.ndarray) and np.size(last) == 1 < np.size(value[0]):
            last = np.asarray(last).flat[0]
        if np.isscalar(last):
            return value[:-1], _number(last)
    return value, None


def _number(value: Any) -> float:
    if not isinstance(value, int | float | np.number | np.bool_):
        raise ValueError(f"a {type(value).__name__} for a number")
    return float(value)


def _stacked(objects: NDArray[Any]) -> NDArray[np.float64]:
    """Return an array of numbers for an array of numbers, or of equal arrays, that are Python objects.

    The size is checked first, because all items can be the same array in memory.
    """
    items = list(objects.flat)
    if not items or not isinstance(items[0], list | np.ndarray):
        return np.array([_number(item) for item in items], dtype=np.float64).reshape(objects.shape)
    check_size((len(items), max(item.size if isinstance(item, np.ndarray) else len(item) for item in items)))
    return np.stack([_row(item) for item in items])


def _row(item: Any) -> NDArray[np.float64]:
    if isinstance(item, np.ndarray) and item.dtype != object:
        return item.astype(np.float64)
    return np.array([_number(number) for number in item], dtype=np.float64)


def images_of(array: NDArray[Any], *, channels: int | None = None) -> Images:
    """Return the images of an array: this is the rule of what an image is.

    [H, W], [C, H, W], [H, W, C] and H * W numbers of a square are one image, [N, C, H, W] and [N, H, W, C] several;
    for one channel [N, H, W] is several, too.

    Args:
        array: Array of numbers.
        channels: Number of channels C; None allows 1 to `MOST_CHANNELS`, and one image.

    Raises:
        Unreadable: The array does not hold images, or they are larger than the limit.
    """
    shape = list(array.shape)
    if array.dtype.kind not in "fiub":
        raise Unreadable(f"holds {array.dtype}, not numbers")
    if 0 in shape:
        raise Unreadable(f"is empty, of shape {shape}")
    for several, pixels in _views(array, channels):
        count = pixels.shape[1]
        fits = count == channels or (channels is None and count <= MOST_CHANNELS)
        if fits and min(pixels.shape[2:]) >= LEAST_SIDE:
            check_size(pixels.shape[1:])
            return Images(several, pixels)
    if channels == 1 and len(shape) == 3 and shape[2] in (3, 4) and min(shape[:2]) >= LEAST_SIDE:
        raise Unreadable(f"is of shape {shape}, which looks like a colour picture; give one band, or [N, H, W]")
    c = "C" if channels is None else channels
    wanted = f"[{c}, H, W] or [H, W, {c}]"
    if channels is not None:
        wanted = f"{wanted}, several are [N, {c}, H, W]"
    if channels in (1, None):
        wanted = f"[H, W], {wanted}"
    raise Unreadable(f"is of shape {shape}; an image is {wanted}, with sides of at least {LEAST_SIDE} pixels")


def _views(array: NDArray[Any], channels: int | None) -> list[tuple[bool, NDArray[Any]]]:
    """Return the ways to see an array as [N, C, H, W], the likeliest first, and whether N is part of its shape."""
    if array.ndim == 1:
        side = math.isqrt(len(array))
        return [(False, array.reshape(1, 1, side, side))] if side * side == len(array) else []
    if array.ndim == 2:
        return [(False, array[None, None])]
    if array.ndim == 3:
        one = [(False, array[None]), (False, np.moveaxis(array, 2, 0)[None])]
        return [*one, (True, array[:, None])] if channels == 1 else one
    if array.ndim == 4 and channels is not None:
        return [(True, array), (True, np.moveaxis(array, 3, 1))]
    return []
