"""Settings that all code shares, threads and the working folder: code of a plugin must leave them as they are."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator

from zoo.global_state import changed_settings
from zoo.plurals import counted
from zoo.testing.outcome import require

SECONDS_TO_END = 1.0
"""Time that a thread may take to end after the function that started it."""


@contextlib.contextmanager
def left_as_they_are() -> Iterator[None]:
    """Run a block in an empty working folder; afterwards settings, threads and the folder must be as before.

    Raises:
        ConformanceError: The block changed a setting, left a thread running, or wrote a file into the working folder.
    """
    changed: dict[str, str] = {}
    with no_thread_left(), tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with changed_settings(changed):
            yield
        written = sorted(os.listdir(folder))
    require(not changed, f"It changes {'; '.join(changed.values())}.", hint="Set nothing that all code shares.")
    require(
        not written,
        f"It writes {', '.join(written[:3])} into the working folder.",
        hint="Write to a folder in zoo.paths.cache_dir().",
    )


@contextlib.contextmanager
def no_thread_left() -> Iterator[None]:
    """Run a block; the threads that it starts must have ended soon after it.

    Raises:
        ConformanceError: One goes on.
    """
    threads = set(threading.enumerate())
    yield
    # Threads of libraries in C++ that have called Python once are of another class.
    left = [one for one in threading.enumerate() if one not in threads and type(one).__name__ != "_DummyThread"]
    for one in left:
        one.join(timeout=SECONDS_TO_END)
    running = [one.name for one in left if one.is_alive()]
    require(
        not running,
        f"It leaves {counted(len(running), 'thread')} running: {', '.join(running[:3])}.",
        hint="End it before the function returns: a process that is forked from this one lacks the thread, or hangs.",
    )
