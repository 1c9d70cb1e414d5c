"""`--detach` of commands with a launcher: the command goes on without its terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from zoo.cli.context import echo
from zoo.paths import in_shell, log_tail, make_dir, open_log

READY_VARIABLE = "ZOO_READY_FD"
"""Environment variable with the number of the pipe to which a detached command writes when its jobs are queued."""
WORDS = "zoo.words"
"""Key of the words of the command line in the root context."""
_LOG_LINES = 20


def detach(ctx: click.Context, store: Path, *, what: str) -> int:
    """Start the same command in the background, wait until its jobs are queued, and return the exit code.

    Args:
        ctx: Context of the command.
        store: Folder of the folders of its jobs, which receives the log of the command.
        what: Its jobs in words: "cells" or "shares".
    """
    words: Sequence[str] = ctx.find_root().meta[WORDS]
    command = [sys.executable, "-m", "zoo", *(word for word in words if word != "--detach")]
    log = make_dir(store) / f"{ctx.info_name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    readable, writable = os.pipe()
    with os.fdopen(open_log(log), "ab") as output, os.fdopen(readable, "rb") as ready:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, READY_VARIABLE: str(writable)},
            pass_fds=(writable,),
            start_new_session=True,
        )
        os.close(writable)
        queued = ready.read(1)  # or nothing, if it has ended before
    if queued:
        echo(f"detached: process {process.pid}, log {log}", err=True)
        echo(
            f"zoo status --store {in_shell(store)} shows the {what}; the same command without --detach waits for them",
            err=True,
        )
        return 0
    code = process.wait()
    echo(log_tail(log, _LOG_LINES), err=True)
    return code


def in_background() -> bool:
    """Whether `detach` has started this process, and still waits for `say_ready`."""
    return READY_VARIABLE in os.environ


def say_ready() -> None:
    """Report to the process that waits in `detach`, if there is one, that the jobs are queued."""
    number = os.environ.pop(READY_VARIABLE, "")
    if number.isdecimal():
        with os.fdopen(int(number), "wb") as pipe:
            pipe.write(b"1")
