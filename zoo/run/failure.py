"""The result of a cell, and the end in words of other work, whose process left none."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from zoo.errors import DataError
from zoo.escaping import visible
from zoo.locks import file_lock
from zoo.paths import log_tail
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.schema import Failed, RunResult

_LOG_LINES = 12
_LEAST_SPACE = 1 << 16
"""Bytes that a log, a result and the files beside it need."""


def failure_of(cell: Cell, run_dir: Path, *, detail: str = "", engine_log: str = "", summary: str = "") -> Failed:
    """Return the result of a cell whose process ended without writing one, or that could not be started.

    Args:
        cell: Cell.
        run_dir: Folder of the run.
        detail: Cause in words, by its launcher.
        engine_log: Last lines of what the launcher's engine has written.
        summary: First line in place of the usual one; the log is left out.
    """
    error = failure_text(run_dir, detail=detail, engine_log=engine_log, summary=summary)
    return Failed(
        schema=SCHEMA, status="failed", run_id=cell.run_id, cell=cell, run_dir=run_dir, error=error
    )  # fmt: skip


def failure_text(run_dir: Path, *, detail: str = "", engine_log: str = "", summary: str = "") -> str:
    """Return what is known of the end of a process that left no result; arguments as those of `failure_of`."""
    if summary:
        return visible(summary)
    log = run_dir / store.LOG
    cause = f": {detail}" if detail else ""
    text = f"Its process ended without a result{cause}; {_space_left(run_dir)}the end of {log}:\n"
    text += log_tail(log, _LOG_LINES)
    return visible(f"{text}\nLog of the launcher:\n{engine_log}" if engine_log else text)


def _space_left(run_dir: Path) -> str:
    """Return a warning that the disk of a folder is full, on which a process cannot write why it ended; or ""."""
    try:
        left = shutil.disk_usage(run_dir).free
    except OSError:
        return ""
    return f"its disk is full ({left:,} bytes are left); " if left < _LEAST_SPACE else ""


def keep_failure(failure: Failed) -> RunResult:
    """Write a failure into the store unless a result is there or another process runs the cell; return the result."""
    import filelock

    lock = file_lock(failure.run_dir / store.LOCK, seconds=0)
    with contextlib.suppress(filelock.Timeout, OSError, DataError), lock:
        if (stored := store.read_result(failure.run_dir)) is not None:
            return stored
        store.write_result(failure)
    return failure
