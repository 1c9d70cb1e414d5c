"""Shards: 256 images with their labels and parameters in one safetensors file that checks itself.

A shard is written whole or not at all, holds the SHA-256 of its content in its header, and is read by mmap.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.paths import written_whole

SHARD_SIZE = 256

_DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64}


class DamagedShard(DataError):
    """The file is not the shard that was written: truncated, altered, or another one."""


def shard_path(folder: Path, number: int) -> Path:
    """Return the path of shard `number`, which holds the images from number * SHARD_SIZE on."""
    return folder / f"{number:06d}.safetensors"


def write_shard(path: Path, arrays: Mapping[str, NDArray[Any]], *, identity: str) -> None:
    """Write a shard.

    Args:
        path: from `shard_path`.
        arrays: name -> [n, ...] of float32, float64 or int64.
        identity: what it is: recipe, split and number.

    Raises:
        DataError: the file cannot be written.
    """
    import safetensors.numpy

    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header, offset = _split(safetensors.numpy.save(plain))
    metadata = {"sha256": _digest(header, offset), "identity": identity}
    with written_whole(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(plain, metadata=metadata))


def read_shard(path: Path, *, identity: str, verify: bool = True) -> dict[str, NDArray[Any]]:
    """Return a shard's arrays, mapped from disk.

    Args:
        path: from `shard_path`.
        identity: what it must be.
        verify: compare the content with its SHA-256.

    Raises:
        DamagedShard: it is truncated, altered, or another one.
        FileNotFoundError: it is not there.
    """
    content = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)
    try:
        header, data = _split(content)
        metadata = header.get("__metadata__", {})
        if metadata.get("identity") != identity:
            raise ValueError("it is another shard")
        if verify and _digest(header, data) != metadata.get("sha256"):
            raise ValueError("its checksum does not fit")
        return {name: _view(data, entry) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedShard(f"{path} is damaged: {error}.") from error


def _split(content: Any) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Return header and data of a safetensors file: 8 bytes of length, JSON, then the arrays' bytes."""
    buffer = np.frombuffer(content, dtype=np.uint8) if isinstance(content, bytes) else content
    if len(buffer) < 8:
        raise ValueError("it is too short")
    length = int.from_bytes(bytes(buffer[:8]), "little")
    if length > len(buffer) - 8:
        raise ValueError("its header is cut")
    return json.loads(bytes(buffer[8 : 8 + length])), buffer[8 + length :]


def _digest(header: Mapping[str, Any], data: NDArray[np.uint8]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of all arrays."""
    layout = {name: entry for name, entry in header.items() if name != "__metadata__"}
    digest = hashlib.sha256(json.dumps(layout, sort_keys=True).encode())
    digest.update(data.data)
    return digest.hexdigest()


def _view(data: NDArray[np.uint8], entry: Mapping[str, Any]) -> NDArray[Any]:
    start, stop = entry["data_offsets"]
    if stop > len(data):
        raise ValueError("its data are cut")
    return data[start:stop].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
