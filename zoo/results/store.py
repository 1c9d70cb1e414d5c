"""The store: a folder of results that only grows, one run in a folder of its own.

A run's folder holds cell.json first and result.json last, each written whole; result.json is the mark of done.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from zoo.errors import BusyError, DataError
from zoo.locks import is_held, lock_held
from zoo.paths import make_dir, parse_json, read_json, regular_file, write_text, written_whole
from zoo.results.cell import SCHEMA, Cell, Search
from zoo.results.schema import Failed, Finished, RunResult
from zoo.schema import json_text, not_finite, plain, read_record

CELL, RESULT, HISTORY, LOG, PROGRESS = "cell.json", "result.json", "history.jsonl", "log.txt", "progress.json"
WEIGHTS, PREDICTIONS, EXAMPLES = "weights.safetensors", "predictions.safetensors", "examples.safetensors"
MISTAKES, FRESH, LOCK = "mistakes.safetensors", "fresh.safetensors", ".lock"
CHECKPOINT = "checkpoint.safetensors"
HASHED = (WEIGHTS, PREDICTIONS, EXAMPLES, MISTAKES, HISTORY)
"""Files whose SHA-256 a result states."""
CHECKSUM = "checksum"
"""Entry of result.json: the SHA-256 of all others."""

logger = logging.getLogger(__name__)


def prepare_run(store: Path, cell: Cell, *, force: bool = False) -> Path:
    """Make a cell's folder, write cell.json, remove a result that is to be replaced, and return the folder.

    Raises:
        DataError: The store cannot be written.
    """
    import filelock  # takes a third of a second, which reading does not need

    run_dir = make_dir(store / cell.folder)
    write_json(run_dir / CELL, cell.to_json())
    try:
        # Under the lock: what another process is writing right now is not ours to remove.
        with lock_held(run_dir / LOCK, seconds=0):
            if force or done(store, cell) is None:
                (run_dir / RESULT).unlink(missing_ok=True)
    except filelock.Timeout:
        pass  # it runs already, and is waited for
    return run_dir


@contextlib.contextmanager
def claim(run_dir: Path) -> Iterator[None]:
    """Make a cell this process's own while it runs; inside of another `claim` of this process it does nothing.

    Raises:
        BusyError: Another process runs the cell.
        DataError: The folder cannot be written.
    """
    import filelock

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock_held(run_dir / LOCK, seconds=_LOCK_SECONDS, reentrant=True))
        except filelock.Timeout as error:
            raise BusyError(f"{run_dir} is run by another process.") from error
        yield


def remove_unless_locked(run_dir: Path, *names: str) -> None:
    """Remove files that an earlier process has left in a run's folder; all stay where one is at work there."""
    import filelock

    with contextlib.suppress(filelock.Timeout), lock_held(run_dir / LOCK, seconds=0):
        for name in names:
            (run_dir / name).unlink(missing_ok=True)


# Whoever only looks whether a cell is free holds its lock for a moment.
_LOCK_SECONDS = 2.0


def locked(run_dir: Path) -> bool:
    """Whether some process runs the cell of this folder right now."""
    return is_held(run_dir / LOCK)


def read_result(run_dir: Path) -> RunResult | None:
    """Return a run's result, or None without a readable result."""
    try:
        return open_result(run_dir)
    except (OSError, DataError):
        return None


def open_result(run_dir: Path) -> RunResult:
    """Return a run's result.

    Raises:
        OSError: The file was not found, or is not readable.
        DataError: The result is damaged, altered, foreign, of another schema, or of another run than its folder.
    """
    result, problems = examine_result(run_dir)
    if problems:
        raise DataError(problems[0])
    return result


def examine_result(run_dir: Path) -> tuple[RunResult, list[str]]:
    """Return a run's result, and in words why it cannot be trusted although it can be read.

    Raises:
        OSError: The file was not found, or is not readable.
        DataError: The file is damaged, foreign, or of another schema.
    """
    if (run_dir / RESULT).exists() and not (run_dir / RESULT).is_file():  # a pipe would be waited for
        raise DataError(f"{RESULT} is damaged: it is not a file.")
    try:
        content = read_json(run_dir / RESULT)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{RESULT} is damaged: {error}.") from error
    stated = content.pop(CHECKSUM, None) if isinstance(content, dict) else None
    result = result_from(content, run_dir=run_dir)
    problems = []
    if stated != content_checksum(content):
        problems.append(f"{RESULT} has been altered or damaged: its checksum does not fit its content.")
    if (folder := run_dir.absolute().name) != result.run_id:
        problems.append(f"{RESULT} is of the run {result.run_id}; its folder is {folder}.")
    return result, problems


def content_checksum(content: Any) -> str:
    """Return the SHA-256 of plain values, as a file of them states it beside them."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def result_from(content: Any, *, run_dir: Path) -> RunResult:
    """Return the typed form of what a result.json holds.

    Args:
        content: Plain values, as `json.loads` returns them or `zoo_run_finished` gets them.
        run_dir: Folder of the run.

    Raises:
        DataError: The file is damaged, foreign, or of another schema.
    """
    try:
        # JSON can escape half a character, which no report could print.
        json.dumps(content, ensure_ascii=False, default=str, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        if type(error) is ValueError and (number := not_finite(content)):
            raise DataError(f"{RESULT} holds a number that is not finite: {number}.") from error
        raise DataError(f"{RESULT} is damaged: {error}.") from error
    if not isinstance(content, Mapping):
        raise DataError(f"{RESULT} is damaged: {type(content).__name__} in place of an object.")
    if content.get("schema") != SCHEMA:
        raise DataError(f"{RESULT} is of schema {content.get('schema')}; this zoo reads schema {SCHEMA}.")
    status = content.get("status")
    if status not in ("ok", "failed", "oom"):
        raise DataError(f"{RESULT} is damaged: its status is {str(status)[:60]}.")
    # A cell checks more than types: its run id is a hash of its content, so an altered result is noticed.
    try:
        cell = Cell.from_json(content.get("cell"))
    except DataError as error:
        raise DataError(f"{RESULT} is damaged: {error.args[0]}") from error
    kind: type[Finished] | type[Failed] = Finished if status == "ok" else Failed
    result = read_record({**content, "cell": cell, "run_dir": run_dir}, kind, what=RESULT)
    if result.run_id != cell.run_id:
        raise DataError(f"{RESULT} is damaged: it is of the run {result.run_id}, its cell is {cell.run_id}.")
    return result


def plain_result(result: RunResult) -> dict[str, Any]:
    """Return the content of result.json; `result_from` gives the result back."""
    content: dict[str, Any] = plain(result) | {"cell": result.cell.to_json()}
    del content["run_dir"]
    return content


def write_result(result: RunResult) -> None:
    """Write result.json into the run's folder, whole or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    content = parse_json(json.dumps(plain_result(result)))  # as it will be read
    write_json(result.run_dir / RESULT, {**content, CHECKSUM: content_checksum(content)})


def done(store: Path, cell: Cell) -> Finished | None:
    """Return the stored result of a cell if it ended well, else None."""
    result = read_result(store / cell.folder)
    return result if result is not None and result.status == "ok" and result.run_id == cell.run_id else None


def record_search(result: Finished, search: Search | None) -> Finished:
    """Return a stored result that states the search whose best trial has its settings, and write it so.

    Equal settings have equal results, so the search counts for a run that is older than it, too. Where nothing can be
    written, the result stays as it is, and the log states why.

    Args:
        result: The stored result.
        search: The search; None changes nothing.
    """
    if search is None or result.cell.search == search:
        return result
    try:
        with claim(result.run_dir):
            # The result as it is now: another command may have written it meanwhile.
            now = read_result(result.run_dir)
            result = now if isinstance(now, Finished) else result
            stating = msgspec.structs.replace(result, cell=replace(result.cell, search=search))
            write_json(result.run_dir / CELL, stating.cell.to_json())
            write_result(stating)
    except (BusyError, DataError) as error:
        logger.warning("The search %s is not recorded with %s: %s", search.study, result.run_id, error.args[0])
        return result
    return stating


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A folder of a store that holds no result that can be shown.

    Args:
        run_dir: Folder of the run.
        cause: Reason in words.
        unfinished: Whether its cell has simply not ended yet.
    """

    run_dir: Path
    cause: str
    unfinished: bool = False


def scan(store: Path) -> tuple[list[RunResult], list[Unreadable]]:
    """Return every result in a store that can be read, and the folders without one."""
    found: list[RunResult] = []
    rest: list[Unreadable] = []
    classes: dict[tuple[str, str], tuple[str, ...]] = {}
    for run_dir in sorted(store.glob("*/*/*")):
        if not (run_dir / RESULT).exists():
            if (run_dir / CELL).exists():
                rest.append(Unreadable(run_dir=run_dir, cause="it has not ended yet", unfinished=True))
            continue
        try:
            result = open_result(run_dir)
            if run_dir != store / result.cell.folder:
                raise DataError(f"{RESULT} belongs in the folder {result.cell.folder} of a store.")
            _check_classes(result, classes)
            found.append(result)
        except (OSError, DataError) as error:
            rest.append(Unreadable(run_dir=run_dir, cause=str(error)))
    return found, rest


def _check_classes(result: RunResult, known: dict[tuple[str, str], tuple[str, ...]]) -> None:
    """Refuse a result with other classes than an earlier one on the same images.

    Args:
        result: The one to check.
        known: Images and task -> classes; those of this result are added.

    Raises:
        DataError: The data set's plugin has changed its classes, or the file was altered.
    """
    if result.status == "ok":
        images = replace(result.cell.recipe, device_type="").hash, result.cell.task
        if (other := known.setdefault(images, result.classes)) != result.classes:
            raise DataError(
                f"{RESULT} has the classes {', '.join(result.classes)}; other runs on the same images have "
                f"{', '.join(other)}."
            )


def results(store: Path) -> Iterator[RunResult]:
    """Yield every result in a store that can be read, in the order of the folders; others are named in a warning."""
    found, rest = scan(store)
    for entry in rest:
        if not entry.unfinished:
            logger.warning("left out: %s: %s", entry.run_dir, entry.cause)
    yield from found


def split_sizes(result: RunResult) -> dict[str, int]:
    """Return split -> number of its images; a data set of existing images may have fewer than were requested."""
    counts = result.data.counts if result.status == "ok" else {}
    return {split: sum(counts[split]) if split in counts else size for split, size in result.cell.sizes.items()}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all.

    Raises:
        DataError: The file cannot be written, or a number is not finite.
    """
    write_text(path, json_text(content, what=path.name, indent=2, sort_keys=True) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays as safetensors, whole or not at all."""
    from safetensors.numpy import save_file

    with written_whole(path) as temporary:
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(plain, temporary, metadata=dict(metadata))


def read_arrays(path: Path, *, only: Sequence[str] | None = None) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return arrays and metadata of a safetensors file.

    Args:
        path: Path of the file.
        only: Names of the arrays that are wanted, all of which it must hold; None reads all.

    Raises:
        DataError: The file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise DataError(f"Cannot read {path}: it is not a file.")
    try:
        with safe_open(regular_file(path), framework="numpy") as file:
            names = file.keys() if only is None else only
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
