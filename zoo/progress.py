"""The progress of a running cell: a small file that is replaced several times a second."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

INTERVAL_SECONDS = 0.25
PARENT_VARIABLE = "ZOO_PARENT_PID"


class ProgressFile:
    """Write a cell's progress, and stop the cell when its parent process has ended.

    Args:
        path: Path of the progress file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = 0.0
        self._phase = ""
        self._phase_started = time.perf_counter()
        self._done_before = 0.0
        self._parent = os.environ.get(PARENT_VARIABLE)

    def tell(self, phase: str, done: float, total: float, **more: Any) -> None:
        """Record the progress of a phase; calls within `INTERVAL_SECONDS` of the last write are skipped.

        Args:
            phase: Name of the phase, for example "simulate train".
            done, total: Progress and total, in units of the phase.
            more: Further plain values to show, for example epoch, loss, val_auc.

        Raises:
            KeyboardInterrupt: The parent process has ended, so the result of this cell is no longer needed.
        """
        now = time.perf_counter()
        if phase != self._phase:
            self._phase, self._phase_started, self._last = phase, now, 0.0
            self._done_before = done
        if now - self._last < INTERVAL_SECONDS and done < total:
            return
        self._last = now
        if self._parent is not None and os.getppid() != int(self._parent):
            raise KeyboardInterrupt
        seconds = now - self._phase_started
        # A training resumed from a checkpoint starts with most of its steps done; they do not count for the rate.
        rate = (done - self._done_before) / seconds if seconds > 0 else 0.0
        content = {"phase": phase, "done": done, "total": total, "seconds": seconds, "rate": rate, **more}
        temporary = self.path.with_suffix(".part")
        # Progress is optional: a full disk is reported where a result is written, not here.
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(content), encoding="utf-8")
            os.replace(temporary, self.path)


def read_progress(path: Path) -> dict[str, Any]:
    """Return the last progress that a cell wrote, or {}."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
