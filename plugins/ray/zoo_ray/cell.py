"""A cell on a node: its process and its time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.paths import open_log
from zoo.run.launcher import JobState, exit_state
from zoo.stopping import PARENT_VARIABLE
from zoo_ray.ends import write_end

LOG = "log.txt"
PYTHON = "python of the worker"
"""First word of a command that the Python of the worker runs: that of its runtime environment, where it has one."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """The process of a cell.

    Args:
        command: Command of the process.
        cwd: Working folder.
        env: Variables beside those of the node.
        run_dir: Folder of the run; what the process prints goes to its log.
        end: Path of the file of its end; "": without.
        minutes: Time limit; None: without.
        stop_seconds: Time for a checkpoint before a stopped process is killed.
        nodes: Nodes; on each, torchrun starts processes.
        tasks_per_node: Processes on each node.
        member: Options of the actors on the other nodes.
    """

    command: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    run_dir: str
    end: str
    minutes: float | None = None
    stop_seconds: float = 60.0
    nodes: int = 1
    tasks_per_node: int = 1
    member: Mapping[str, Any] = field(default_factory=dict)


class CellProcess:
    """A process on this node, from its start to the file of its end.

    Args:
        task: Command to run, with its surroundings.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._process: subprocess.Popen[bytes] | None = None
        self._cause: JobState | None = None
        self._fault = ""
        command = [sys.executable, *task.command[1:]] if task.command[0] == PYTHON else list(task.command)
        try:
            with os.fdopen(open_log(Path(task.run_dir, LOG)), "wb") as log:
                # Ray does not end the children of a worker that is killed; a cell ends itself without its parent.
                self._process = subprocess.Popen(
                    command, cwd=task.cwd, env={**os.environ, **task.env, PARENT_VARIABLE: str(os.getpid())},
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
        except Exception as error:  # also one that open_log raises
            self._fault = f"it could not be started on {socket.gethostname()}: {error}"

    def wait(self, judged: Callable[[JobState], JobState] = lambda state: state) -> JobState:
        """Return the state in which the cell has ended, and write it to its file.

        Args:
            judged: Function that returns the state of the cell for that of the process.
        """
        state = judged(self._end())
        if self._task.end:
            with contextlib.suppress(Exception):  # a full disk: Ray still has the answer
                write_end(Path(self._task.end), state)
        return state

    def stop(self, cause: JobState) -> None:
        """Have the process write its checkpoint and end; kill it where it does not.

        Args:
            cause: State in which it has then ended.
        """
        if self._cause is not None or self._process is None or self._process.poll() is not None:
            return
        self._cause = cause
        self._process.terminate()
        timer = threading.Timer(self._task.stop_seconds, self._kill, (self._process,))
        timer.daemon = True
        timer.start()

    def _end(self) -> JobState:
        if self._process is None:
            return JobState(kind="ended", reason="failed", detail=self._fault)
        minutes = self._task.minutes
        try:
            code = self._process.wait(None if minutes is None else minutes * 60)
        except subprocess.TimeoutExpired:
            words = f"time limit of {minutes:g} minutes; more: --launcher-set minutes=NUMBER"
            self.stop(JobState(kind="ended", reason="timeout", detail=words))
            code = self._process.wait()
        if code and self._cause is not None:
            return self._cause
        return exit_state(code, where=socket.gethostname())

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
