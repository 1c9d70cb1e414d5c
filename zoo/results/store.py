"""The store: a folder of results that only grows, one run in a folder of its own.

A run's folder holds cell.json first and result.json last, each written whole; result.json is the mark of done.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import BusyError, DataError
from zoo.paths import make_dir, write_text, written_whole
from zoo.results.cell import SCHEMA, Cell

CELL, RESULT, HISTORY, LOG, PROGRESS = "cell.json", "result.json", "history.jsonl", "log.txt", "progress.json"
WEIGHTS, PREDICTIONS, EXAMPLES = "weights.safetensors", "predictions.safetensors", "examples.safetensors"
MISTAKES, LOCK = "mistakes.safetensors", ".lock"

Result = dict[str, Any]
logger = logging.getLogger(__name__)


def prepare_run(store: Path, cell: Cell, *, force: bool = False) -> Path:
    """Make a cell's folder, write cell.json, remove a result that is to be replaced, and return the folder.

    Raises:
        DataError: the store cannot be written.
    """
    import filelock  # a third of a second, which those who only read need not spend

    run_dir = make_dir(store / cell.folder)
    write_json(run_dir / CELL, cell.to_json())
    try:
        # Under the lock: what another process is writing right now is not ours to remove.
        with filelock.FileLock(run_dir / LOCK, blocking=False):
            if force or done(store, cell) is None:
                (run_dir / RESULT).unlink(missing_ok=True)
    except filelock.Timeout:
        pass  # it runs already, and is waited for
    except OSError as error:
        raise DataError(f"Cannot write to the folder {run_dir}: {error.strerror or error}.") from error
    return run_dir


@contextlib.contextmanager
def claim(run_dir: Path) -> Iterator[None]:
    """Make a cell this process's own while it runs; inside of another `claim` of this process it does nothing.

    Raises:
        BusyError: another process runs it.
    """
    import filelock

    lock = filelock.FileLock(run_dir / LOCK, timeout=_LOCK_SECONDS, is_singleton=True)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise BusyError(f"{run_dir} is run by another process.") from error
    try:
        yield
    finally:
        lock.release()


# Whoever only looks whether a cell is free holds its lock for a moment.
_LOCK_SECONDS = 2.0


def locked(run_dir: Path) -> bool:
    """Whether some process runs the cell of this folder right now."""
    import filelock

    lock = run_dir / LOCK
    if not lock.exists():
        return False
    try:
        with filelock.FileLock(lock, blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False  # a folder that cannot be written to: nobody runs anything there


def read_result(run_dir: Path) -> Result | None:
    """Return a run's result, or None where there is none that can be read."""
    try:
        return _read(run_dir / RESULT)
    except (OSError, DataError):
        return None


def _read(path: Path) -> Result:
    """Return the result in a file.

    Raises:
        OSError: there is none, or it may not be read.
        DataError: it is damaged, foreign, or of another schema.
    """
    try:
        result = dict(json.loads(path.read_text(encoding="utf-8")))
        if result.get("schema") != SCHEMA:
            raise DataError(f"it is of schema {result.get('schema')}; this zoo reads schema {SCHEMA}")
        # The run id is a hash of the cell, so it tells a result that was altered or is another program's.
        if Cell.from_json(result["cell"]).run_id != result["run_id"]:
            raise ValueError("its cell is another run's")
        if not isinstance(result["status"], str):
            raise ValueError("it lacks status")
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path.name} is damaged: {type(error).__name__}: {error}") from error
    return result


def done(store: Path, cell: Cell) -> Result | None:
    """Return the stored result of a cell if it ended well and can be shown, else None."""
    result = read_result(store / cell.folder)
    good = result is not None and result["status"] == "ok" and result["run_id"] == cell.run_id and not _flaw(result)
    return result if good else None


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A folder of a store that holds no result that can be shown.

    Args:
        run_dir: which.
        cause: why not, in words.
        unfinished: whether its cell has simply not ended yet.
    """

    run_dir: Path
    cause: str
    unfinished: bool = False


def scan(store: Path) -> tuple[list[Result], list[Unreadable]]:
    """Return every result in a store that can be read, each with its "run_dir", and the folders without one."""
    found: list[Result] = []
    rest: list[Unreadable] = []
    folders = {path.parent for name in (CELL, RESULT) for path in store.glob(f"*/*/*/{name}")}
    for run_dir in sorted(folders):
        if not (run_dir / RESULT).exists():
            rest.append(Unreadable(run_dir=run_dir, cause="it has not ended yet", unfinished=True))
            continue
        try:
            result = _read(run_dir / RESULT)
        except (OSError, DataError) as error:
            rest.append(Unreadable(run_dir=run_dir, cause=str(error)))
            continue
        problem = _flaw(result)
        if problem:
            rest.append(Unreadable(run_dir=run_dir, cause=problem))
        else:
            found.append(result | {"run_dir": str(run_dir)})
    return found, rest


def results(store: Path) -> Iterator[Result]:
    """Yield every result in a store that can be read, in the order of the folders; others are named in a warning."""
    found, rest = scan(store)
    for entry in rest:
        if not entry.unfinished:
            logger.warning("left out: %s: %s", entry.run_dir, entry.cause)
    yield from found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _is_interval(value: Any) -> bool:
    return _is_row(value) and len(value) == 2


def _is_intervals(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_interval, value.values()))


def _is_square(value: Any) -> bool:
    return isinstance(value, list) and all(_is_row(row) and len(row) == len(value) for row in value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


_NEEDED_IF_OK: dict[str, Callable[[Any], bool]] = {
    "classes": _is_texts,
    "seconds": _is_number,
    "test.auc": _is_numbers,
    "test.auc.macro": _is_number,
    "test.intervals": _is_intervals,
    "test.intervals.auc^macro": _is_interval,
    "test.accuracy": _is_number,
    "cost.parameters": _is_number,
    "cost.macs": _is_number,
    "cost.train_images_per_second": _is_number,
    "equivariance.trained.error": _is_number,
    "data.recipe_hash": lambda value: isinstance(value, str),
}
_NEEDED_OF_PROBE: dict[str, Callable[[Any], bool]] = {
    "probe.auc.macro": _is_number,
    "probe.interval": _is_interval,
    "probe.single": lambda value: _is_numbers(value) and bool(value),
    "probe.shuffled": _is_number,
}


def _flaw(result: Result) -> str:
    """Return why a result that can be read cannot be shown, or ""."""
    if result["status"] != "ok":
        return ""
    # A data set that the probe cannot be fitted to has none.
    for path, fits in (_NEEDED_IF_OK | (_NEEDED_OF_PROBE if result.get("probe") is not None else {})).items():
        value: Any = result
        for part in path.split("."):
            value = value.get(part.replace("^", ".")) if isinstance(value, dict) else None
        name = path.replace("^", ".")
        if value is None:
            return f"{RESULT} lacks {name}"
        if not fits(value):
            return f"{name} in {RESULT} is damaged: {str(value)[:60]}"
    counts = result["data"].get("counts", {})
    if not (isinstance(counts, dict) and all(map(_is_row, counts.values()))):
        return f"data.counts in {RESULT} is damaged: {str(counts)[:60]}"
    count, matrix = len(result["classes"]), result["test"].get("confusion")
    if matrix is not None and not (_is_square(matrix) and len(matrix) == count):
        return f"test.confusion in {RESULT} is damaged: {str(matrix)[:60]}"
    if not result["test"]["auc"].keys() >= set(result["classes"]):
        return f"{RESULT} lacks the area of a class"
    return ""


def split_sizes(result: Mapping[str, Any]) -> dict[str, int]:
    """Return split -> its images: of images that exist there may be fewer than were asked for."""
    counts = result.get("data", {}).get("counts", {})
    asked: dict[str, int] = result["cell"]["sizes"]
    return {split: sum(counts[split]) if split in counts else size for split, size in asked.items()}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=True) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays as safetensors, whole or not at all."""
    from safetensors.numpy import save_file

    with written_whole(path) as temporary:
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(plain, temporary, metadata=dict(metadata))


def read_arrays(path: Path, *, only: Sequence[str] | None = None) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return arrays and metadata of a safetensors file.

    Args:
        path: of the file.
        only: names of the arrays that are wanted, all of which it must hold; None reads all.

    Raises:
        DataError: it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys() if only is None else only
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
