"""Starts a process for each device of this machine, watches them, and ends all of them when one ends badly."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from zoo.errors import Interrupted
from zoo.processor import computing_environment
from zoo.stopping import PARENT_VARIABLE, parent_has_ended, stop_on_signals
from zoo.train.team import RANK_VARIABLE

POLL_SECONDS = 0.02
GRACE_SECONDS = 10.0
"""Time for the other processes to end by themselves after one has failed: the first one writes the cause."""
KILL_SECONDS = 3.0
SHARED_ERROR = 1
"""Exit code of a process that failed with an error common to all of them, such as a loss that is not finite."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """End of a process.

    Args:
        rank: Rank of the process.
        code: Exit code of the process, or minus the signal that killed it.
    """

    rank: int
    code: int

    def __str__(self) -> str:
        if self.code >= 0:
            return f"process {self.rank} ended with exit code {self.code}"
        try:
            name = signal.Signals(-self.code).name
        except ValueError:
            name = str(-self.code)
        return f"process {self.rank} was killed by {name}"


def run_together(command: Sequence[str], *, processes: int) -> Ending | None:
    """Run a command in several processes of one group, and wait for them.

    Args:
        command: Command of all; ZOO_RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT distinguish them.
        processes: Number of processes.

    Returns:
        The first bad ending, or None if all ended well.

    Raises:
        KeyboardInterrupt: SIGINT or a request to stop, or our own parent is gone; all processes have been ended.
    """
    port = _free_port()
    running: dict[int, subprocess.Popen[bytes]] = {}
    first: Ending | None = None
    deadline = float("inf")
    with stop_on_signals():
        try:
            for rank in range(processes):
                running[rank] = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, env=_environment(rank, processes=processes, port=port)
                )
            while running:
                for rank, process in list(running.items()):
                    code = process.poll()
                    if code is None:
                        continue
                    del running[rank]
                    if code and first is None:
                        first = Ending(rank=rank, code=code)
                        deadline = time.monotonic() + GRACE_SECONDS
                if time.monotonic() > deadline:
                    break
                if parent_has_ended():
                    raise Interrupted
                time.sleep(POLL_SECONDS)
        finally:
            _end(list(running.values()))
    return first


def _environment(rank: int, *, processes: int, port: int) -> dict[str, str]:
    return {
        **computing_environment(processes=processes),
        RANK_VARIABLE: str(rank),
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        PARENT_VARIABLE: str(os.getpid()),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Terminate processes, and kill those that do not listen: one that waits for others in a driver does not."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + KILL_SECONDS
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.0, until - time.monotonic()))
        process.kill()
        process.wait()
