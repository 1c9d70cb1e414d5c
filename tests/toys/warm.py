"""`python -m zoo` forked from a process that has loaded torch, since a new process needs seconds to load it.

The process that they are forked from is a fork server of `multiprocessing`. It computes nothing, so that its children
may train, which children of a test may not: gradients fail in a process that was forked after gradients were computed.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from zoo.processor import THREADS_VARIABLE
from zoo.stopping import PARENT_VARIABLE

ROOT = Path(__file__).parents[2]
_context = multiprocessing.get_context("forkserver")
_cold = subprocess.Popen


class Popen(_cold):
    """A `subprocess.Popen` that forks `python -m zoo` and starts all other commands as usual."""

    _forked: Any = None

    def _execute_child(
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any, *rest: Any
    ) -> None:
        is_zoo = not isinstance(args, (str, bytes)) and [*args][:3] == [sys.executable, "-m", "zoo"]
        if not is_zoo or executable or preexec_fn or pass_fds:
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest)
            return
        pipes, new_session = rest[3:9], bool(rest[14])
        ends = (pipes[0], pipes[3], pipes[5])  # of the child; -1: it has ours
        files = _Files([end if end >= 0 else ours for ours, end in enumerate(ends)])
        words, folder = [os.fspath(word) for word in args[3:]], os.path.abspath(cwd or ".")
        variables = dict(os.environ if env is None else env)
        _start_server()
        self._forked = _context.Process(
            target=_be_zoo, args=(words, folder, variables, files, new_session), daemon=True
        )
        self._forked.start()
        self.pid, self._child_created = self._forked.pid, True
        self._close_pipe_fds(*pipes)

    def _internal_poll(self, *args: Any, **options: Any) -> int | None:
        if self._forked is None:
            return super()._internal_poll(*args, **options)
        if self.returncode is None:
            self.returncode = self._forked.exitcode
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._forked is None:
            return super()._wait(timeout)
        self._forked.join(timeout)
        if self._internal_poll() is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode


class _Files:
    """Open files that another process receives as its standard input, output and error."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers

    def __getstate__(self) -> dict[str, Any]:
        return {"received": [DupFd(number) for number in self._numbers]}

    def take_the_place_of_ours(self) -> None:
        numbers = [file.detach() for file in self.__dict__["received"]]
        for place, number in enumerate(numbers):
            os.dup2(number, place)
        for number in set(numbers):
            os.close(number)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - until the process ends


def _be_zoo(words: list[str], folder: str, variables: dict[str, str], files: _Files, new_session: bool) -> None:
    """Turn this forked process into the command; does not return."""
    code = 1
    atexit._clear()  # of what was imported before
    try:
        if new_session:
            os.setsid()
        files.take_the_place_of_ours()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        if PARENT_VARIABLE in variables:
            os.environ[PARENT_VARIABLE] = str(os.getppid())
        tests = tuple(map(str, [ROOT / "tests", *ROOT.glob("plugins/*/tests")]))
        kept = [path for path in sys.path if path and not path.startswith(tests)]
        sys.path[:] = [folder, *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep)), *kept]
        sys.argv = ["zoo", *words]
        if THREADS_VARIABLE in variables:
            import torch

            torch.set_num_threads(int(variables[THREADS_VARIABLE]))
        _fork_from_the_same_server()
        subprocess.Popen = Popen
        multiprocessing.set_start_method(None, force=True)
        runpy.run_module("zoo", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _start_server() -> None:
    """Start the server of this process unless it runs."""
    forkserver.set_forkserver_preload(["warmserver"])
    given = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    try:
        forkserver._forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if given is not None:
            os.environ["PYTHONPATH"] = given


def _fork_from_the_same_server() -> None:
    """Let this process, which was forked, use the server of the process that it was forked from."""
    multiprocessing.current_process()._config["daemon"] = False
    if forkserver._forkserver._forkserver_address is not None:
        forkserver._forkserver.ensure_running = lambda: None


os.register_at_fork(after_in_child=_fork_from_the_same_server)
