"""Requests to stop a process: signals of launchers and terminals, and the end of the parent process.

A request ends the work at once, as Ctrl-C does. Inside of `stop_deferred` it waits for the end of the step in hand, so
that a training can write a checkpoint between two steps.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from zoo.errors import Interrupted

PARENT_VARIABLE = "ZOO_PARENT_PID"
"""Environment variable with the process id of the zoo that started this process and waits for it."""
PARENT_ENDED = "the end of its parent process"
STOPPED = 75
"""Exit code of a cell that was stopped and goes on when it is run again (EX_TEMPFAIL of sysexits.h)."""
SIGNALS = ("SIGTERM", "SIGUSR1", "SIGHUP")
"""Signals that request a stop: launchers send the first two before a time limit, a closed terminal the last one."""
PARENT_SECONDS = 1.0
ORPHAN_SECONDS = 60.0
"""Time for a process without a parent to reach the end of a step, after which it is ended as by SIGKILL."""


@dataclass
class _Request:
    cause: str = ""
    deferrals: int = 0


_request = _Request()  # of the process, as its signals are


def request_stop(cause: str) -> None:
    """Stop the work of this process: now, or at the end of the step in hand.

    Args:
        cause: Cause in words, such as "SIGTERM".

    Raises:
        Interrupted: The stop is not deferred.
    """
    _request.cause = cause
    check_stop()


def exit_code(stop: BaseException | None) -> int:
    """Return the exit code of an interrupted command, as shells state it: 128 and the number of the signal.

    Args:
        stop: What interrupted it: an `Interrupted` with the name of a signal; anything else counts as Ctrl-C.
    """
    name = str(stop) if isinstance(stop, Interrupted) else ""
    return 128 + (signal.Signals[name] if name in SIGNALS else signal.SIGINT)


def check_stop() -> None:
    """Stop here if a stop has been requested and is not deferred.

    Raises:
        Interrupted: The work stops.
    """
    if _request.cause and not _request.deferrals:
        cause, _request.cause = _request.cause, ""  # met: what runs next in this process is not stopped
        raise Interrupted(cause)


@contextlib.contextmanager
def stop_deferred() -> Iterator[None]:
    """Let requests to stop wait for the end of this context.

    Raises:
        Interrupted: A stop was requested meanwhile.
    """
    _request.deferrals += 1
    try:
        yield
    finally:
        _request.deferrals -= 1
    check_stop()


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """Take `SIGNALS` as requests to stop. Signals that are ignored (`nohup`) or handled already stay as they are."""
    if threading.current_thread() is not threading.main_thread():  # Python sets handlers in the main thread only
        yield
        return
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    # `watch_parent` wakes the main thread by a signal, too.
    request_stop(PARENT_ENDED if parent_has_ended() else signal.Signals(number).name)


def parent_has_ended() -> bool:
    """Whether the zoo that started this process and waits for it has ended; False where none does."""
    parent = os.environ.get(PARENT_VARIABLE)
    return parent is not None and os.getppid() != int(parent)


def watch_parent() -> None:
    """Request a stop of this process when the zoo that started it has ended, even if that was killed.

    A process whose step does not end by then is ended; its last checkpoint remains.
    """
    if PARENT_VARIABLE not in os.environ:
        return

    def watch() -> None:
        while not parent_has_ended():
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(STOPPED)

    threading.Thread(target=watch, daemon=True).start()
