"""Run `zoo` commands and watch how they end: exit code, output, memory, tracebacks, hangs.

`run` forks a process that has loaded torch already, so that a command takes a fraction of a second more than its own
work. `start` makes an ordinary process, whose start-up can be interrupted as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MEMORY_LIMIT_MIB = 1536  # with Python, torch and zoo, about 2 GiB
SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended.

    Args:
        argv: Arguments of `zoo`.
        code: Exit code; the negative number of a signal; None: it ran into the time limit.
        output: Standard output and standard error together.
        out: Standard output alone.
        peak_mib: Peak resident memory beyond that of the process which was forked, MiB.
    """

    argv: tuple[str, ...]
    code: int | None
    output: str
    out: str
    peak_mib: float

    @property
    def err(self) -> str:
        """Standard error alone."""
        return self.output.removeprefix(self.out)

    @property
    def fault(self) -> str:
        """What must not happen to any command, in words; "" if nothing of it did."""
        if self.code is None:
            return "still running at the time limit"
        if self.code < 0:
            return f"ended by signal {-self.code}"
        if "Traceback (most recent call last)" in self.output:
            return "traceback"
        if self.code not in (0, 1, 2, 3, 75, 130):
            return f"exit code {self.code}"
        if self.code != 0 and not self.output.strip():
            return f"exit code {self.code} without a message"
        if self.peak_mib > MEMORY_LIMIT_MIB:
            return f"{self.peak_mib:.0f} MiB of memory beyond Python and its libraries"
        return ""


def environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a command in a folder: its own cache, one thread, no terminal."""
    return {
        **os.environ,
        "ZOO_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "NO_COLOR": "1",
        **(extra or {}),
    }


def start(argv: Sequence[str], folder: Path, extra: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `zoo` in a folder, in a process group of its own; its outputs are the files `outputs` reads."""
    with (folder / _OUT).open("wb") as out, (folder / _ERR).open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "zoo", *argv], cwd=folder, env=environment(folder, extra), stdin=subprocess.DEVNULL,
            stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip


def outputs(folder: Path) -> tuple[str, str]:
    """Return standard output and standard error of the last command that was started in a folder."""
    out, err = ((folder / name).read_text(errors="replace") for name in (_OUT, _ERR))
    return out, err


_OUT, _ERR = "stdout.txt", "stderr.txt"


def load_libraries() -> None:
    """Import what commands need, before they are forked: each would take some seconds for it."""
    for name in ("sklearn.metrics", "torch._dynamo", "zoo.run.cell"):
        importlib.import_module(name)


def run(
    argv: Sequence[str], folder: Path, extra: Mapping[str, str] | None = None, *, bound: bool = False,
    seconds: float = SECONDS,
) -> Ended:  # fmt: skip
    """Run `zoo` in a folder and wait for its end.

    Args:
        argv: Arguments of `zoo`.
        folder: Working folder; its subfolder `cache` is the cache.
        extra: Further environment variables.
        bound: Whether the permissions of files hold for it even if this process is the superuser's.
        seconds: Time limit.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        inherited = _resident_mib()
        pid = os.fork()
        if pid == 0:
            _be_zoo(argv, folder, environment(folder, extra), out.fileno(), err.fileno(), bound)
        deadline, hung = time.monotonic() + seconds, False
        while True:
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > deadline:
                hung = True
                os.killpg(pid, signal.SIGKILL)
                _, status, usage = os.wait4(pid, 0)
                break
            time.sleep(0.005)
        stop_group(pid)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Ended(
        argv=tuple(argv), code=None if hung else os.waitstatus_to_exitcode(status), output="".join(texts), out=texts[0],
        peak_mib=max(0.0, usage.ru_maxrss / 1024 - inherited),
    )  # fmt: skip


def _resident_mib() -> float:
    """Return the resident memory of this process, MiB; 0 where the system does not state it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def stop_group(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal to the processes of a group; return whether there were any."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def group_is_empty(pid: int) -> bool:
    """Return whether a process group has no process left."""
    return not stop_group(pid, 0)


def be_bound_by_permissions() -> None:
    """Give up the superuser's rights to read and write files whose permissions forbid it (Linux), if there are any.

    Raises:
        OSError: The kernel refuses.
    """
    if sys.platform != "linux" or os.getuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3; this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; each of them in two words
    refused = libc.capget(header, sets)
    for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        refused = refused or libc.prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP: not in programs that it starts either
        for word in range(3):
            sets[word] &= ~(1 << right)
    if refused or libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _be_zoo(argv: Sequence[str], folder: Path, variables: Mapping[str, str], out: int, err: int, bound: bool) -> None:
    """Turn this forked process into the command; does not return."""
    code = 70
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        if bound:
            be_bound_by_permissions()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - until the process ends
        logging.getLogger().handlers.clear()  # those of a test runner
        sys.argv = ["zoo", *argv]
        from zoo.cli import main

        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
