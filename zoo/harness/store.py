"""The store: a folder of results that only grows, one run in a folder of its own.

A run's folder holds cell.json first and result.json last, each written whole; result.json is the mark of done.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.harness.cell import SCHEMA, Cell
from zoo.paths import make_dir, write_text, written_whole

CELL, RESULT, HISTORY, LOG, PROGRESS = "cell.json", "result.json", "history.jsonl", "log.txt", "progress.json"
WEIGHTS, PREDICTIONS, EXAMPLES = "weights.safetensors", "predictions.safetensors", "examples.safetensors"
LOCK = ".lock"

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
        pass  # it runs already; our process will wait for it
    except OSError as error:
        raise DataError(f"Cannot write to the folder {run_dir}: {error.strerror or error}.") from error
    return run_dir


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
        result = json.loads(path.read_text(encoding="utf-8"))
        # The run id is a hash of the cell, so it tells a result that was altered or is another program's.
        whole = Cell.from_json(result["cell"]).run_id == result["run_id"] and isinstance(result["status"], str)
    except (ValueError, LookupError, TypeError, DataError) as error:
        raise DataError(f"{path} is damaged: {type(error).__name__}: {error}.") from error
    if not whole or result.get("schema") != SCHEMA:
        raise DataError(f"{path} is no result of schema {SCHEMA}.")
    return dict(result)


def done(store: Path, cell: Cell) -> Result | None:
    """Return the stored result of a cell if it ended well, else None."""
    result = read_result(store / cell.folder)
    good = result is not None and result["status"] == "ok" and result["run_id"] == cell.run_id
    return result if good else None


def results(store: Path) -> Iterator[Result]:
    """Yield every result in a store that can be read, in the order of the folders; others are named in a warning."""
    for path in sorted(store.glob(f"*/*/*/{RESULT}")):
        try:
            yield _read(path) | {"run_dir": str(path.parent)}
        except (OSError, DataError) as error:
            logger.warning("left out: %s", error)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=True) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays as safetensors, whole or not at all."""
    from safetensors.numpy import save_file

    with written_whole(path) as temporary:
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(plain, temporary, metadata=dict(metadata))


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return arrays and metadata of a safetensors file.

    Raises:
        DataError: it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
