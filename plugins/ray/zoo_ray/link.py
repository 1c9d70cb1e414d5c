"""The connection to the process of `zoo_ray.driver`: started when it is needed, ended with this one."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from typing import IO, Any

from zoo.errors import LauncherError
from zoo.paths import parse_json

_LINES = 5
_OWN_PYTHON = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
"""Under `uv run`, Ray would make an environment of the working folder on every node."""


class Link:
    """A process that is connected to Ray.

    Args:
        env: Its variables beside those of this process.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the process)
        # A session of its own: Ctrl-C reaches the command alone, which then cancels in order.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zoo_ray.driver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
            env={**_OWN_PYTHON, **os.environ, **env}, start_new_session=True,
        )  # fmt: skip
        self._close = weakref.finalize(self, _close, self._process)

    def call(self, method: str, limit: float, /, **arguments: Any) -> Any:
        """Return the answer to a request.

        Args:
            method: Method of `zoo_ray.driver.Driver`.
            limit: Time for the answer, in seconds.
            arguments: Its arguments.

        Raises:
            LauncherError: Ray raised an error, ended the process or did not answer in time; the process then ends.
        """
        request = json.dumps({"call": method, "arguments": arguments}) + "\n"
        try:
            _stdin(self._process).write(request.encode())
            _stdin(self._process).flush()
            line = self._line(limit)
        except OSError:
            line = b""
        if not line:
            silent = self._process.poll() is None
            self.close(kill=True)
            words = f"has not answered for {limit:g} s" if silent else "has ended the connection"
            raise LauncherError(f"Ray {words}. {self._tail()}".strip())
        answer = parse_json(line)
        if "error" in answer:
            raise LauncherError(f"{answer['kind']}: {answer['error']}")
        return answer["result"]

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def close(self, *, kill: bool = False) -> None:
        """End the process, and a Ray that it has started.

        Args:
            kill: Whether it is not waited for.
        """
        if kill:
            self._process.kill()
        self._close()

    def _line(self, seconds: float) -> bytes:
        """Return a line of the answers; b"" where the process has ended, or the time is up."""
        output = _stdout(self._process)
        found, until = b"", time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not found.endswith(b"\n"):
                if not selector.select(max(0.0, until - time.monotonic())):
                    return b""
                if not (read := os.read(output.fileno(), 1 << 16)):
                    self._process.wait(5)
                    return b""
                found += read
        return found

    def _tail(self) -> str:
        """Return the last lines that Ray has printed."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_LINES:] if line.strip())


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None  # a pipe
    return process.stdin


def _stdout(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None  # a pipe
    return process.stdout


def _close(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):  # a request that an ended process has not read is written when it is closed
        _stdin(process).close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _stdout(process).close()
