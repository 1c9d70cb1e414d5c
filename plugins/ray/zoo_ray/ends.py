"""Ends of cells: the file that a node writes, which outlives Ray, and what Ray's own errors mean."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

from zoo.paths import read_json, written_whole
from zoo.run.launcher import JobState, Reason

_MEMORY = "more: --launcher-set memory_gb=NUMBER"


def write_end(path: Path, state: JobState) -> None:
    """Write the end of a cell.

    Raises:
        DataError: The file cannot be written.
    """
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps({"reason": state.reason, "detail": state.detail}), encoding="utf-8")


def read_end(path: Path) -> JobState | None:
    """Return the end of a cell; None where no file is there, or a damaged one."""
    try:
        content = read_json(path)
        reason, detail = content["reason"], content["detail"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if reason not in get_args(Reason) or not isinstance(detail, str):
        return None
    return JobState(kind="ended", reason=reason, detail=detail)


def meaning(kind: str, text: str) -> JobState:
    """Return the state that an error of Ray stands for, where a cell has not written its end itself.

    Args:
        kind: Name of its class.
        text: Its text.
    """
    where = f" ({found[1]})" if (found := re.search(r"^\s*ip: (\S+)", text, re.MULTILINE)) else ""

    def ended(reason: Reason, words: str, *, again: bool | None = None) -> JobState:
        return JobState(kind="ended", reason=reason, detail=words, retryable=again)

    lowered = text.lower()
    if kind == "RuntimeEnvSetupError":
        return ended("failed", f"the runtime environment cannot be set up: {_last_line(text)}")
    if kind in ("ActorUnschedulableError", "TaskUnschedulableError"):
        return ended("failed", f"Ray cannot place it: {_last_line(text)}")
    if kind == "OutOfMemoryError" or "running low on memory" in lowered or "memory pressure" in lowered:
        return ended("oom", f"Ray killed it, since the memory of its node{where} was exhausted; {_MEMORY}")
    if "preempted" in lowered or "died by preemption" in lowered:
        return ended("preempted", f"its node{where} was taken away")
    if "its node has died" in lowered or "node was terminated" in lowered:
        return ended("node", f"its node{where} failed")
    if "creation task" in lowered:
        return ended("failed", f"it could not be started{where}: {_last_line(text)}")
    if "killed by `ray.kill`" in lowered or "cancelled before it started" in lowered:
        return ended("cancelled", "it was killed in Ray")
    return ended("unknown", f"its worker{where} died, as by the system where memory is exhausted", again=True)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "without words"
