"""Arrays in pickles, such as NumPy's arrays of objects; nothing in a pickle is called, and its size is checked first.

A pickle is a program. It is read here with stand-ins for NumPy's functions, types and arrays: each keeps the values
that it is given, and arrays are made from them afterwards. Every other name is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 2**27
MOST_STEPS = 2**20
"""Limits of one pickle; a step, which may be a single byte, makes an object of up to 200 bytes."""


def load_arrays(content: bytes) -> Any:
    """Return the arrays, numbers and texts of a pickle; tuples become lists.

    Raises:
        pickle.UnpicklingError: The pickle is too large, or contains other objects.
        Exception: The pickle is damaged; the pickle module raises exceptions of many types.
    """
    _check_size(content)
    return _resolved(_ArraysOnly(io.BytesIO(content), encoding="latin1").load(), {})


def _check_size(content: bytes) -> None:
    """Check lengths and places in the memo, for which `pickle` takes memory before it looks for their content.

    Raises:
        pickle.UnpicklingError: The array is too large.
        ValueError: The file is truncated, or is not a pickle.
    """
    if len(content) > MOST_BYTES:
        raise pickle.UnpicklingError(f"a pickle of {len(content):,} bytes; the limit is {MOST_BYTES:,}")
    for step, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > step:
            raise pickle.UnpicklingError(f"it stores object {argument:,} after {step:,} steps")
        if step > MOST_STEPS:
            raise pickle.UnpicklingError(f"a pickle of more than {MOST_STEPS:,} steps")


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes stand-ins for NumPy's arrays and scalars, and nothing else."""

    def __init__(self, file: BinaryIO, *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)  # latin1: files written by Python 2

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name.

        Raises:
            pickle.UnpicklingError: The pickle does not contain an array.
        """
        module = module.replace("numpy._core", "numpy.core")
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it would call {module}.{name}, which makes no array; it was not called")
        return _STAND_INS[module, name]


class _Function:
    """A function that a pickle can call and cannot change."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


class _Type:
    """Stand-in for `numpy.dtype`.

    NumPy's own ignores the state of a built-in type, which holds the byte order; a copy accepts any state.
    """

    __slots__ = ("dtype",)

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(code) if isinstance(code, str) and len(code) < 5 else np.dtype("V")
        if self.dtype.kind not in "biufO":
            raise pickle.UnpicklingError(f"its arrays are of type {code!r:.40}, not numbers")

    def __setstate__(self, state: Any) -> None:
        order, *structure = state[1:5]
        if order not in ("<", ">", "=", "|") or any(part is not None for part in structure):
            raise pickle.UnpicklingError("its arrays are of a structured type")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stand-in for an array; shape, type and data follow in the pickle."""

    __slots__ = ("items", "shape", "value")

    def __init__(self) -> None:
        self.value: NDArray[Any] = np.empty(0)
        self.items: list[Any] | None = None
        self.shape: tuple[int, ...] = ()

    def __setstate__(self, state: Any) -> None:
        shape, kind, fortran_order, data = state[-4:]
        self.shape = _shape(shape)
        dtype = _dtype(kind)
        if dtype.kind == "O":
            if not isinstance(data, list) or len(data) != math.prod(self.shape):
                raise pickle.UnpicklingError(f"an array of shape {list(self.shape)} with other items")
            self.items = data
        else:
            flat = np.frombuffer(_bytes(data), dtype=dtype)
            self.value = flat.reshape(self.shape, order="F" if fortran_order else "C")


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or any(type(length) is not int or length < 0 for length in shape):
        raise pickle.UnpicklingError("an array of an impossible shape")
    return shape


def _dtype(kind: Any) -> np.dtype[Any]:
    if not isinstance(kind, _Type):
        raise pickle.UnpicklingError("an array without a type")
    return kind.dtype


def _bytes(data: Any) -> bytes | bytearray:
    raw = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(raw, bytes | bytearray):
        raise pickle.UnpicklingError("an array without data")
    return raw


def _empty_array(kind: Any, *_: Any) -> _Array:
    """Stand in for `numpy.core.multiarray._reconstruct`."""
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError("it makes a subclass of an array")
    return _Array()


def _scalar(kind: Any, data: Any = b"") -> Any:
    """Stand in for `numpy.core.multiarray.scalar`."""
    dtype = _dtype(kind)
    if dtype.kind == "O":
        raise pickle.UnpicklingError("it makes a scalar of objects")
    return np.frombuffer(_bytes(data), dtype=dtype, count=1)[0]


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> _Array:
    """Stand in for `numpy.core.numeric._frombuffer`, which pickles of protocol 5 use."""
    array, dtype = _Array(), _dtype(kind)
    if dtype.kind == "O":
        raise pickle.UnpicklingError("an array of objects without the objects")
    flat = np.frombuffer(_bytes(data), dtype=dtype)
    if order == "K" and axes is not None:
        array.value = flat.reshape(_shape(shape)).transpose(axes)
    else:
        array.value = flat.reshape(_shape(shape), order=order)
    return array


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Stand in for `_codecs.encode`, which pickles of protocol 2 use for bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError("it encodes a text that is not the data of an array")
    return text.encode("latin1")


_NDARRAY = object()
_STAND_INS: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _Function(_empty_array),
    ("numpy.core.multiarray", "scalar"): _Function(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _Function(_from_buffer),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Function(_Type),
    ("_codecs", "encode"): _Function(_encode),
}

_UNFINISHED = object()


def _resolved(value: Any, done: dict[int, Any]) -> Any:
    """Return a value with arrays for their stand-ins; one that occurs many times is made once.

    Args:
        value: Value with stand-ins.
        done: Result for the id of each value met before.

    Raises:
        pickle.UnpicklingError: The object contains itself, or is of another kind.
    """
    if isinstance(value, _Array) and value.items is None:
        return value.value
    if value is None or isinstance(value, int | float | str | bytes | np.generic):
        return value
    if not isinstance(value, _Array | list | tuple):
        raise pickle.UnpicklingError(f"it holds a {type(value).__name__.strip('_').lower()}, not an array")
    if id(value) not in done:
        done[id(value)] = _UNFINISHED
        items = value.items if isinstance(value, _Array) else value
        resolved = [_resolved(item, done) for item in items or ()]
        done[id(value)] = _object_array(resolved, value.shape) if isinstance(value, _Array) else resolved
    if done[id(value)] is _UNFINISHED:
        raise pickle.UnpicklingError("it holds itself")
    return done[id(value)]


def _object_array(items: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):  # a slice would look into items that are arrays
        array[i] = item
    return array.reshape(shape)
