"""Task of submitit on a node: the process of a cell, with the signals of Slurm, and a file that holds its end."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from zoo.errors import LauncherError
from zoo.paths import open_log
from zoo_submitit import commands
from zoo_submitit.ending import STOPPED, Ending, ending_path, write_ending

LOG = "log.txt"
CANCEL_SECONDS = 0.2
"""Interval between looks at the file that cancels a job."""
STOP_SECONDS = 30.0
"""Time for a cancelled cell to write its checkpoint before it is killed."""
_EARLY = (-signal.SIGTERM, -signal.SIGUSR1, 128 + signal.SIGTERM, 128 + signal.SIGUSR1)
"""Exit codes of a process that was stopped before it had begun with the cell."""


@dataclass(kw_only=True)
class RunCell:
    """The process of a cell.

    Args:
        command: Command of the process.
        cwd: Working folder.
        env: Variables beside those of the node.
        run_dir: Folder of the run; what the process prints goes to its log.
        folder: Folder of submitit.
        requeues: Times that Slurm may start the job again.
        cancelled: File whose existence cancels the job; "": none. A signal may come before the task listens to it, and
            submitit ignores it until then.
    """

    command: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    run_dir: str
    folder: str
    requeues: int = 0
    cancelled: str = ""

    def __call__(self) -> None:
        """Run the process, and exit with its code; have Slurm start the job again if it was stopped by Slurm.

        Raises:
            SystemExit: Always: the exit code of the job is that of the process.
        """
        import submitit

        job_id = submitit.JobEnvironment().job_id
        first = os.environ.get("SLURM_PROCID", "0") == "0"
        if first:
            ending_path(Path(self.folder), job_id).unlink(missing_ok=True)  # of a start before, or an earlier namesake
        code, detail, signals = self._run(submitit.JobEnvironment.USR_SIG)
        if signals and code in _EARLY:
            code = STOPPED  # before the cell could listen: it goes on as after any other stop
        if code == STOPPED and signals and first and self._start_again(job_id, signals):
            raise SystemExit(code)  # the job goes on: it has not ended
        if first:
            write_ending(Path(self.folder), job_id, Ending(code=code, host=socket.gethostname(), detail=detail))
        raise SystemExit(code if code >= 0 else 128 - code)

    def _run(self, before_end: str) -> tuple[int, str, list[str]]:
        """Return the exit code of the process, words where it did not start, and the signals that this one was sent."""
        signals: list[str] = []
        try:
            with os.fdopen(open_log(Path(self.run_dir, LOG)), "wb") as log:
                # Slurm signals the whole process group, and a cell does not listen to this signal: it would be killed.
                # A group of its own could escape where Slurm kills a job.
                process = subprocess.Popen(
                    self.command, cwd=self.cwd, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=subprocess.STDOUT,
                    preexec_fn=lambda: signal.signal(getattr(signal, f"SIG{before_end}"), signal.SIG_IGN),
                )  # fmt: skip
                with _forwarded(process, signals, before_end):
                    return self._code(process, signals), "", signals
        except Exception as error:  # also one that open_log raises
            return 1, f"it could not be started on {socket.gethostname()}: {error}", signals

    def _code(self, process: subprocess.Popen[bytes], signals: list[str]) -> int:
        """Return the exit code of a process, which is stopped where the job is cancelled, and killed where it goes on.

        With a timeout, `wait` looks again and again and misses no signal. Without one, a signal that comes just before
        the call blocks would be handled when the process has ended.
        """
        kill_at = math.inf
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=CANCEL_SECONDS if self.cancelled else 3600)
            if kill_at == math.inf and self.cancelled and Path(self.cancelled).exists():
                signals.append("SIGTERM")
                process.terminate()
                kill_at = time.monotonic() + STOP_SECONDS
            if time.monotonic() > kill_at:
                process.kill()

    def _start_again(self, job_id: str, signals: list[str]) -> bool:
        """Have Slurm start this job again, and return whether it will: not after scancel, nor without Slurm."""
        if "SLURM_JOB_ID" not in os.environ or int(os.environ.get("SLURM_RESTART_COUNT", "0")) >= self.requeues:
            return False
        # scancel and preemption both send SIGTERM.
        if signals[0] == "SIGTERM" and not _is_preempted(job_id):
            return False
        try:
            commands.output(["scontrol", "requeue", job_id])
        except LauncherError as error:
            print(f"Slurm does not start the job again: {error}", flush=True)  # noqa: T201  (log of the job)
            return False
        return True


@contextlib.contextmanager
def _forwarded(process: subprocess.Popen[bytes], signals: list[str], before_end: str) -> Iterator[None]:
    """Pass the signals of Slurm on to the process, and keep their names."""

    def forward(number: int, frame: FrameType | None) -> None:
        signals.append(signal.Signals(number).name)
        process.send_signal(signal.SIGTERM)

    for name in ("SIGTERM", "SIGUSR1", f"SIG{before_end}"):
        signal.signal(getattr(signal, name), forward)
    try:
        yield
    finally:
        process.poll()  # what has ended is not sent a signal any more


def _is_preempted(job_id: str) -> bool:
    """Whether Slurm has sent SIGTERM since another job needs the node, and not since the job is cancelled."""
    try:
        said = commands.output(["scontrol", "show", "job", "--oneliner", job_id])
    except LauncherError:
        return False
    fields: dict[str, Any] = dict(word.split("=", 1) for word in said.split() if "=" in word)
    return fields.get("JobState") != "CANCELLED" and fields.get("PreemptTime", "None") not in ("None", "Unknown", "N/A")
