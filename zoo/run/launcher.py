"""The contract of a launcher, version 2: jobs with resources, handles that outlive a process, states with reasons."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from zoo.stopping import STOPPED

JobKind: TypeAlias = Literal["waiting", "running", "ended", "lost"]
Reason: TypeAlias = Literal["ok", "failed", "oom", "timeout", "preempted", "node", "cancelled", "unknown"]
RETRYABLE: tuple[Reason, ...] = ("timeout", "preempted", "node")
"""Reasons after which a cell goes on from its checkpoint when it is submitted again."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job needs; `--launcher-set NAME=VALUE` sets a field for all cells, `MODEL.NAME=VALUE` for some.

    Args:
        gpus: Number of GPUs on each node.
        cpus: Number of cores of each process; None leaves it to the launcher.
        memory_gb: Memory on each node in GB; None leaves it to the launcher.
        minutes: Time limit; None leaves it to the launcher.
        nodes: Number of nodes.
        tasks_per_node: Number of processes that the launcher starts on each node.
    """

    gpus: int = 0
    cpus: int | None = None
    memory_gb: float | None = None
    minutes: float | None = None
    nodes: int = 1
    tasks_per_node: int = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """Work for one process: a cell, a share of images or files, or a worker of a study.

    Args:
        run_dir: Absolute path of the folder of its files, STORE/A/B/NAME; the result will appear there. A launcher may
            keep files of its own in a folder of STORE.
        command: Command of the process. Its exit code is 0 when the result is good, 1 when it is not, and 75 when the
            process was stopped and goes on when the job is submitted again. SIGTERM and SIGUSR1 stop it.
        cwd: Absolute path of the working folder.
        env: Variables that the process needs beside those of its machine.
        resources: Resources that it needs.
        label: Name for people.
    """

    run_dir: Path
    command: tuple[str, ...]
    cwd: Path = field(default_factory=Path.cwd)
    env: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class JobState:
    """State of a job.

    Args:
        kind: "waiting", "running", "ended", or "lost" where the launcher does not know the job (yet, or any more).
        reason: Reason of the end.
        detail: Words for the user: the exit code, the node, the message of the engine.
        retryable: Whether another attempt is worthwhile; None decides by the reason (`RETRYABLE`).
    """

    kind: JobKind
    reason: Reason = "unknown"
    detail: str = ""
    retryable: bool | None = None

    @property
    def again(self) -> bool:
        """Whether another attempt is worthwhile."""
        return (self.kind == "lost" or self.reason in RETRYABLE) if self.retryable is None else self.retryable


def exit_state(code: int, *, where: str = "") -> JobState:
    """Return the state in which the process of a cell has ended.

    Args:
        code: Exit code, or minus the signal that killed it.
        where: Name of the node.
    """
    on = f" on {where}" if where else ""
    if code == 0:
        return JobState(kind="ended", reason="ok", detail=where)
    # By a signal where the process was still about to listen, or had begun to and was not yet at the cell.
    early = (signal.SIGTERM, signal.SIGUSR1)
    if code == STOPPED or code in {code for number in early for code in (-number, 128 + number)}:
        return JobState(kind="ended", reason="preempted", detail=f"it was stopped from outside{on}")
    detail = f"exit code {code}{on}"
    if code < 0:
        with contextlib.suppress(ValueError):
            detail = f"killed by {signal.Signals(-code).name}{on}"
    if code == -signal.SIGKILL:
        detail += ", as by the system where memory is exhausted"
    return JobState(kind="ended", reason="failed", detail=detail)


class Launcher(Protocol):
    """Starts jobs somewhere and reports whether they still run. Results come from the store only.

    No call may block; `cancel` may take a few seconds. A launcher may also have an attribute `poll_seconds` (the
    interval at which it is to be asked); a method `log(handle) -> str` (the last lines that its engine has
    written about a job), which zoo's own log of the cell does not hold; and a method `check(jobs) -> None`, called
    before any of the jobs is queued, which raises a UsageError or MissingError where the engine can never run them.
    """

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Queue jobs and return a handle for each, which is kept in the folder of the run; no two are equal."""
        ...

    def poll(self, handles: Sequence[str]) -> Sequence[JobState | JobKind]:
        """Return the state of each, also of handles that another process was given; also the moment to start jobs."""
        ...

    def cancel(self, handles: Sequence[str]) -> None:
        """Stop jobs that wait or run; ended and unknown ones are left alone."""
        ...
