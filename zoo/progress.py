"""What a running cell tells the world: one small file, replaced several times a second."""

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
    """Write a cell's progress, and stop when the process that asked for it is gone.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = 0.0
        self._phase = ""
        self._phase_started = time.perf_counter()
        self._done_before = 0.0
        self._parent = os.environ.get(PARENT_VARIABLE)

    def tell(self, phase: str, done: float, total: float, **more: Any) -> None:
        """Say how far a phase is; too frequent calls cost nothing.

        Args:
            phase: such as "simulate train".
            done, total: in units of the phase.
            more: plain values to show, such as epoch, loss, val_auc.

        Raises:
            KeyboardInterrupt: the parent process was killed, so nobody waits for this cell.
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
        # A training that goes on from a checkpoint has most of its steps behind it from the first moment.
        rate = (done - self._done_before) / seconds if seconds > 0 else 0.0
        content = {"phase": phase, "done": done, "total": total, "seconds": seconds, "rate": rate, **more}
        temporary = self.path.with_suffix(".part")
        # A courtesy: a full disk is told by whatever has to be written, and not here.
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(content), encoding="utf-8")
            os.replace(temporary, self.path)


def read_progress(path: Path) -> dict[str, Any]:
    """Return what a cell last said, or {}."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
