"""The progress of a running cell: a small file that is replaced several times a second."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from zoo.errors import DataError
from zoo.paths import read_json
from zoo.schema import Record, json_text, plain, read_record
from zoo.stopping import PARENT_ENDED, parent_has_ended, request_stop

INTERVAL_SECONDS = 0.25
"""Shortest time between two writes of a progress file."""
INTERVAL_VARIABLE = "ZOO_PROGRESS_SECONDS"
"""Environment variable with a longer time, for cells beside many others."""
_MOST_WRITES_A_SECOND, _LONGEST_SECONDS = 100, 10.0


def interval_beside(cells: int) -> float:
    """Return the time between two writes of a progress file where many cells share a store.

    All together write at most a hundred times a second, so that 500 cells do not keep a shared file system busy.

    Args:
        cells: Number of cells that may run at the same time.
    """
    return min(_LONGEST_SECONDS, max(INTERVAL_SECONDS, cells / _MOST_WRITES_A_SECOND))


def _interval() -> float:
    try:
        return max(INTERVAL_SECONDS, float(os.environ.get(INTERVAL_VARIABLE, "")))
    except ValueError:
        return INTERVAL_SECONDS


class Progress(Record, omit_defaults=True):
    """The progress of a running cell.

    Args:
        phase: Name of the phase, such as "simulate train".
        done: Completed part of the phase.
        total: Size of the phase, in the same unit.
        seconds: Time since the phase began in this session.
        rate: Units per second in this session.
        epoch: Current epoch, counted from 1; this and the following fields are set in the phase "train" only.
        epochs: Total number of epochs.
        train_loss: Loss of the last complete epoch.
        val_auc: Validation AUC of the last complete epoch.
        val_loss: Validation loss of the last complete epoch, in tasks without such an area.
        streamed_per_second: Streamed training images rendered per second.
        waited_share: Fraction of the training time spent waiting for streamed images.
        images: Parameters of the training images, where they change during the training.
        note: Sentence on the training that cannot wait for its end.
    """

    phase: str
    done: float
    total: float
    seconds: float
    rate: float
    epoch: int | None = None
    epochs: int | None = None
    train_loss: float | None = None
    val_auc: float | None = None
    val_loss: float | None = None
    streamed_per_second: float | None = None
    waited_share: float | None = None
    images: str | None = None
    note: str | None = None

    @property
    def share(self) -> float:
        """Completed fraction of the phase, from 0 to 1."""
        return self.done / (self.total or 1)


class ProgressFile:
    """Write a cell's progress, and stop the cell when its parent process has ended.

    Args:
        path: Path of the progress file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = 0.0
        self._interval = _interval()
        self._phase = ""
        self._phase_started = time.perf_counter()
        self._done_before = self._done = 0.0

    def report(
        self,
        phase: str,
        done: float,
        total: float,
        *,
        epoch: int | None = None,
        epochs: int | None = None,
        train_loss: float | None = None,
        val_auc: float | None = None,
        val_loss: float | None = None,
        streamed_per_second: float | None = None,
        waited_share: float | None = None,
        images: str | None = None,
        note: str | None = None,
    ) -> None:
        """Record the progress of a phase; calls right after the last write are skipped (`interval_beside`).

        The arguments are the fields of `Progress`.

        Raises:
            Interrupted: The parent process has ended, so the result of this cell is no longer needed; not where stops
                are deferred (`zoo.stopping`).
        """
        now = time.perf_counter()
        if phase != self._phase or done < self._done:  # the next one may have the same name
            self._phase, self._phase_started, self._last = phase, now, 0.0
            self._done_before = done
        self._done = done
        if now - self._last < self._interval and done < total:
            return
        self._last = now
        if parent_has_ended():
            request_stop(PARENT_ENDED)
        seconds = now - self._phase_started
        # A training resumed from a checkpoint starts with most of its steps done; they do not count for the rate.
        rate = (done - self._done_before) / seconds if seconds > 0 else 0.0
        progress = Progress(
            phase=phase,
            done=done,
            total=total,
            seconds=seconds,
            rate=rate,
            epoch=epoch,
            epochs=epochs,
            train_loss=train_loss,
            val_auc=val_auc,
            val_loss=val_loss,
            streamed_per_second=streamed_per_second,
            waited_share=waited_share,
            images=images,
            note=note,
        )
        temporary = self.path.with_suffix(".part")
        # Progress is optional: a full disk is reported where a result is written, not here.
        with contextlib.suppress(OSError, DataError):
            temporary.write_text(json_text(plain(progress), what=self.path.name), encoding="utf-8")
            os.replace(temporary, self.path)


def read_progress(path: Path) -> Progress | None:
    """Return the last progress that a cell wrote, or None."""
    try:
        return read_record(read_json(path), Progress, what=path.name)
    except (OSError, ValueError, RecursionError, DataError):
        return None
