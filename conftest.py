"""For all tests: one thread each, since the tests themselves run side by side, and no cache but their own."""

from __future__ import annotations

import atexit
import gc
import inspect
import os
import signal
import subprocess

import pytest
from hosts import admitting_once, remembering

import zoo.host
from zoo.processor import usable_cores

# Before torch is imported, and for every process that a test starts.
os.environ["OMP_NUM_THREADS"] = "1"
# Checks with two threads: threads that wait for each other sleep, and leave the core to the tests beside them.
os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["ZOO_CPU_BF16"] = "0"  # the same plans and bits on every processor
os.environ["ZOO_PLUGIN_TRIALS"] = "0"  # most tests write plugins; a process for each would take a quarter of a second
for variable in ("ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS", "ZOO_PLUGIN_FILES", "ZOO_PARENT_PID", "ZOO_TENSORBOARD"):
    os.environ.pop(variable, None)


os.fsync = lambda file: (
    None
)  # files of tests need not outlive the machine: waiting for the disk took a tenth of the time
zoo.host._admit = admitting_once(zoo.host._admit)
zoo.host.load_plugins = remembering(zoo.host.load_plugins)  # before test files import it


# Collection makes a million objects that stay until the end: each search for garbage would go through all of them, and
# so would the end of the process.
gc.disable()
if "PYTEST_XDIST_WORKER" in os.environ:
    atexit.register(os._exit, 0)  # the last one to be called; the result is that of the process that started it


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return one worker more than there are cores: slow tests wait for the processes that they start."""
    given = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", "")
    return int(given) if given.isdigit() else usable_cores() + (config.option.markexpr != "not slow")


def pytest_collection_finish() -> None:
    """Search for garbage from now on, and only in what the tests make."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def speed_measured_briefly():
    """Measure the speed of inference, which every run stores, for 10 ms and not for a second."""
    from zoo.scores.score import inference_rate

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(inspect.unwrap(inference_rate).__kwdefaults__, "seconds", 0.01)
        yield


@pytest.fixture(autouse=True)
def surroundings_kept():
    """Restore the environment, which `zoo --plugin` changes; let Ctrl-C work also in a job that ignores it."""
    before, handler = dict(os.environ), signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def forked_commands(request, monkeypatch):
    """Fork each `python -m zoo` from a process that has loaded torch, except in tests that are marked `cold`."""
    if not request.node.get_closest_marker("cold"):
        from warm import Popen

        monkeypatch.setattr(subprocess, "Popen", Popen)
