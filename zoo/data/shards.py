"""Shards: 256 images with their labels and parameters in one safetensors file that checks itself.

A shard is written whole or not at all, holds the SHA-256 of its content in its header, and is read by mmap.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.recipe import Recipe
from zoo.errors import DataError
from zoo.paths import parse_json, regular_file, written_whole

SHARD_SIZE = 256

_LARGEST_HEADER = 1_000_000
_DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}
_CODES = {np.dtype(dtype).name: code for code, dtype in _DTYPES.items()}


class DamagedShard(DataError):
    """The file is not the shard that was written: truncated, altered, or another one."""


def shard_path(folder: Path, number: int) -> Path:
    """Return the path of shard `number`, which holds the images from number * SHARD_SIZE on."""
    return folder / shard_name(number)


def shard_name(number: int) -> str:
    """Return the name of the file of a shard."""
    return f"{number:06d}.safetensors"


def shard_count(images: int) -> int:
    """Return the number of shards that hold this number of images."""
    return -(-images // SHARD_SIZE)


def shard_identity(recipe: Recipe, split: str, number: int) -> str:
    """Return the identity stored in a shard, which reveals a file copied to another place."""
    return f"{recipe.hash}/{split}/{number}"


def write_shard(path: Path, arrays: Mapping[str, NDArray[Any]], *, identity: str) -> str:
    """Write a shard; equal arrays give equal files, byte by byte.

    The safetensors library needs the whole file in memory, and orders its header anew in every process. The format
    is eight bytes of length, a JSON header, then the arrays; so it is written here, array by array.

    Args:
        path: Path from `shard_path`.
        arrays: Arrays: name -> [n, ...] of float32, float64 or int64.
        identity: Identity of the shard: recipe, split and number.

    Returns:
        The SHA-256 of the file, as sha256sum prints it.

    Raises:
        DataError: The file cannot be written.
    """
    # The widest numbers first, so that all of them lie at multiples of their size.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    buffers = [_little_endian(arrays[name]).reshape(-1).view(np.uint8) for name in names]
    layout, offset = {}, 0
    for name, buffer in zip(names, buffers, strict=True):
        entry = {"dtype": _CODES[arrays[name].dtype.name], "shape": list(arrays[name].shape)}
        layout[name] = entry | {"data_offsets": [offset, offset + len(buffer)]}
        offset += len(buffer)
    about = {"identity": identity, "sha256": _digest(layout, buffers)}
    header = json.dumps({"__metadata__": about, **layout}).encode()
    header += b" " * (-len(header) % 8)
    whole = hashlib.sha256()
    blocks: list[Any] = [len(header).to_bytes(8, "little"), header, *buffers]  # anything with a buffer
    with written_whole(path) as temporary, temporary.open("wb") as file:
        for block in blocks:
            whole.update(block)
            file.write(block)
    return whole.hexdigest()


def read_shard(path: Path, *, identity: str, verify: bool = True) -> dict[str, NDArray[Any]]:
    """Return a shard's arrays, mapped from disk.

    Args:
        path: Path from `shard_path`.
        identity: Expected identity of the shard.
        verify: Whether the content is compared with its SHA-256.

    Raises:
        DamagedShard: The shard is truncated, altered, or another one.
        FileNotFoundError: The shard is missing.
    """
    content = _mapped(regular_file(path))
    try:
        header, data = _parse(content)
        metadata = header.get("__metadata__", {})
        if metadata.get("identity") != identity:
            raise ValueError("it is another shard")
        if verify and _digest(header, [data]) != metadata.get("sha256"):
            raise ValueError("its checksum does not fit")
        return {name: _view(data, entry) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedShard(f"{path} is damaged: {error}.") from error


def shard_checksum(path: Path) -> str:
    """Return the SHA-256 of a shard's arrays as its header states it; `read_shard` compares it with them.

    Raises:
        DataError: The file was not found or is damaged.
    """
    try:
        with regular_file(path).open("rb") as file:
            start = file.read(8)
            header = parse_json(file.read(min(int.from_bytes(start, "little"), _LARGEST_HEADER)))
        return str(header["__metadata__"]["sha256"])
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DamagedShard(f"{path} is damaged: {error}.") from error


def _mapped(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of a file, mapped from disk and read only.

    torch closes the file, numpy's memmap keeps it open: a split of more than 1,000 shards would run out of file
    descriptors.
    """
    import torch

    size = path.stat().st_size
    if not size:
        return np.zeros(0, np.uint8)
    try:
        content: NDArray[np.uint8] = torch.from_file(str(path), size=size, dtype=torch.uint8).numpy()
    except RuntimeError as error:  # its form of an OSError
        raise OSError(errno.EIO, str(error).splitlines()[0], str(path)) from error
    content.flags.writeable = False
    return content


def _parse(content: NDArray[np.uint8]) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Return header and data of a safetensors file: 8 bytes of length, JSON, then the arrays' bytes."""
    if len(content) < 8:
        raise ValueError("it is too short")
    length = int.from_bytes(bytes(content[:8]), "little")
    if length > len(content) - 8:
        raise ValueError("its header is cut")
    return parse_json(bytes(content[8 : 8 + length])), content[8 + length :]


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in the format's byte order; the header names the type without it."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _digest(header: Mapping[str, Any], buffers: Iterable[NDArray[np.uint8]]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of all arrays."""
    layout = {name: entry for name, entry in header.items() if name != "__metadata__"}
    digest = hashlib.sha256(json.dumps(layout, sort_keys=True).encode())
    for buffer in buffers:
        digest.update(buffer.data)
    return digest.hexdigest()


def _view(data: NDArray[np.uint8], entry: Mapping[str, Any]) -> NDArray[Any]:
    start, stop = entry["data_offsets"]
    if stop > len(data):
        raise ValueError("its data are cut")
    return data[start:stop].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
