"""The files of submitted work: its handle, which outlives the process that submitted it, and its cancellation."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import DataError
from zoo.paths import read_json
from zoo.results import store
from zoo.schema import Count, Record, plain, read_record

JOB = "job.json"
CANCELLED = ".cancelled"
"""File whose presence asks the process that waits for a cell to cancel it."""


class Submission(Record):
    """Work in the hands of a launcher: a cell, a share of images or files, or a worker of a study.

    Args:
        launcher: Id of the launcher.
        options: Its options.
        handle: Handle of the job.
        attempt: Number of the attempt, from 1.
        submitted: Time of the submission, in seconds since 1970.
    """

    launcher: str
    options: Mapping[str, Any]
    handle: str
    attempt: Count
    submitted: float


def read_submission(run_dir: Path) -> Submission | None:
    """Return the submission of a cell; None where it was not submitted, or the file is damaged."""
    try:
        return read_record(read_json(run_dir / JOB), Submission, what=JOB)
    except (OSError, ValueError, DataError):
        return None


def write_submission(run_dir: Path, submission: Submission) -> None:
    """Keep a submission in the folder of the run.

    Raises:
        DataError: The file cannot be written.
    """
    store.write_json(run_dir / JOB, plain(submission))


def forget_submission(run_dir: Path, *, keep_request: bool = False) -> None:
    """Remove the files of a submission.

    Args:
        run_dir: Folder of the run.
        keep_request: Whether a request to cancel stays.
    """
    with contextlib.suppress(OSError):
        for name in (JOB,) if keep_request else (JOB, CANCELLED):
            (run_dir / name).unlink(missing_ok=True)


def ask_to_cancel(run_dir: Path) -> None:
    """Ask the process that waits for a cell to cancel it.

    Raises:
        DataError: The folder cannot be written.
    """
    try:
        (run_dir / CANCELLED).touch()
    except OSError as error:
        raise DataError(f"Cannot write to the folder {run_dir}: {error.strerror or error}.") from error


def is_cancelled(run_dir: Path) -> bool:
    """Whether somebody has asked to cancel the cell."""
    return (run_dir / CANCELLED).exists()
