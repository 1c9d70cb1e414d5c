"""Files of a run that are read only as they were written: each is compared with its SHA-256 in the result."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.image_groups import ImageGroups
from zoo.errors import DataError
from zoo.paths import file_sha256, in_shell, parse_json, regular_file
from zoo.results.schema import Epoch, Finished
from zoo.results.store import HISTORY, RESULT, read_arrays, write_arrays
from zoo.schema import read_record

_METRICS = "metrics-"


def checked_file(result: Finished, name: str) -> Path:
    """Return the path of a file of a run that is as it was written.

    Args:
        result: Result, which states the SHA-256 of the file.
        name: One of `zoo.results.store.HASHED`.

    Raises:
        DataError: The file is missing, unreadable or altered.
    """
    path = result.run_dir / name
    try:
        if known_sha256(path) != result.files.get(name):
            raise DataError(
                f"{path} has been altered or damaged: its SHA-256 is not the one in {RESULT}.",
                hint=f"See: zoo verify {in_shell(result.run_dir)}",
            )
    except FileNotFoundError as error:
        raise DataError(f"{path} is gone.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    return path


def known_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as it is now: computed once, unless the file has been written since.

    Raises:
        OSError: The file was not found, is not a regular file, or is not readable.
    """
    now = path.stat()
    return _sha256(path, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)


@functools.lru_cache(maxsize=2**16)
def _sha256(path: Path, *_: int) -> str:
    return file_sha256(path)


def read_file(
    result: Finished, name: str, *, only: Sequence[str] | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return arrays and metadata of a run's file, as `read_arrays`; the file must be as it was written.

    Raises:
        DataError: The file is missing, damaged or altered.
    """
    return read_arrays(checked_file(result, name), only=only)


def is_metric_file(name: str) -> bool:
    """Return whether a file of a run holds resampled values of metrics."""
    return name.startswith(_METRICS)


def write_resampled(run_dir: Path, values: Mapping[tuple[str, str], NDArray[Any]]) -> str:
    """Write the resampled values of metrics into a file, and return its name, which holds their digest.

    Args:
        run_dir: Folder of the run.
        values: (metric, value) -> [draws].

    Raises:
        DataError: The file cannot be written.
    """
    arrays = {json.dumps(key): np.asarray(drawn, dtype=np.float64) for key, drawn in sorted(values.items())}
    digest = hashlib.sha256()
    for key, drawn in arrays.items():
        digest.update(key.encode() + drawn.tobytes())
    name = f"{_METRICS}{digest.hexdigest()[:16]}.safetensors"
    write_arrays(run_dir / name, arrays, {})
    return name


def read_resampled(result: Finished) -> dict[tuple[str, str], NDArray[Any]]:
    """Return the resampled values of metrics: (metric, value) -> [draws]; empty for a result without any.

    Raises:
        DataError: The file is missing, damaged or altered.
    """
    found: dict[tuple[str, str], NDArray[Any]] = {}
    for name in filter(is_metric_file, result.files):
        arrays, _ = read_file(result, name)
        for key, drawn in arrays.items():
            metric, value = read_record(parse_json(key), tuple[str, str], what=name)
            found[metric, value] = drawn
    return found


def groups_in(metadata: Mapping[str, str], split: str, *, images: int) -> ImageGroups | None:
    """Return the groups of images that a file of predictions states; None where all images are independent.

    Args:
        metadata: Metadata of the file.
        split: "test", "val" or "fresh".
        images: Number of images of the split.

    Raises:
        DataError: They are not groups of this number of images.
    """
    text = metadata.get(f"{split}.image_groups")
    return None if text is None else ImageGroups.from_text(text, images=images)


def predictions_digest(logits: NDArray[Any], ids: Sequence[str], classes: Sequence[str]) -> str:
    """Return the SHA-256 of predictions that were made elsewhere, whatever file they came in (`Cell.predictions`).

    Args:
        logits: [N, K] float64.
        ids: N ids of the images.
        classes: K names.
    """
    digest = hashlib.sha256("\0".join([*classes, "", *ids]).encode())
    digest.update(np.ascontiguousarray(logits, dtype="<f8").tobytes())
    return digest.hexdigest()


def read_history(result: Finished) -> list[Epoch]:
    """Return the epochs of a run; the file must be as it was written.

    Raises:
        DataError: The file is missing, damaged or altered.
    """
    path = checked_file(result, HISTORY)
    try:
        lines = regular_file(path).read_text(encoding="utf-8").splitlines()
        content = [parse_json(line) for line in lines]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    history = read_record(content, list[Epoch], what=str(path))
    epoch = 0 if result.val is None else result.val.epoch
    if len(history) < epoch:
        raise DataError(f"{path} is damaged: it ends before epoch {epoch}, whose weights were kept.")
    return history
