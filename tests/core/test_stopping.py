"""Requests to stop: signals and the end of the parent process, at once or after the step in hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from zoo import stopping
from zoo.errors import Interrupted
from zoo.stopping import PARENT_VARIABLE, STOPPED, check_stop, request_stop, stop_deferred, stop_on_signals


@pytest.fixture(autouse=True)
def no_request(monkeypatch):
    monkeypatch.setattr(stopping, "_request", stopping._Request())


@pytest.fixture(autouse=True)
def no_signal_is_ignored():
    """Undo `nohup`, which a test run may have been started with."""
    before = {name: signal.signal(getattr(signal, name), signal.SIG_DFL) for name in stopping.SIGNALS}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP"])
def test_a_signal_stops_the_work_at_once(name):
    def work():
        with stop_on_signals():
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(5)

    with pytest.raises(Interrupted, match=name):
        work()
    assert signal.getsignal(getattr(signal, name)) is signal.SIG_DFL
    check_stop()  # the request has been met


def test_a_signal_waits_for_the_end_of_the_step_in_hand():
    done = []

    def work():
        with stop_on_signals():
            for step in range(3):
                with stop_deferred():
                    if step == 1:
                        os.kill(os.getpid(), signal.SIGTERM)
                        with stop_deferred():
                            pass  # an inner step is a part of it
                    done.append(step)

    with pytest.raises(Interrupted):
        work()
    assert done == [0, 1]


def test_an_error_of_the_step_is_not_replaced_by_the_request():
    def work():
        with stop_deferred():
            request_stop("a test")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        work()
    with pytest.raises(Interrupted, match="a test"):
        check_stop()
    check_stop()  # once


def test_ignored_and_handled_signals_stay_as_they_are():
    handled = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
    try:
        with stop_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGUSR1)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert handled == [1]
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGUSR1, before[1])


def python(code, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.parametrize("busy", [False, True])
def test_a_process_stops_when_its_parent_has_ended(busy):
    """Process 0 is nobody's parent: as if the real one had been killed. A step that does not end is ended."""
    code = f"""
        import contextlib, time
        from zoo import stopping
        stopping.ORPHAN_SECONDS = 0.3
        with stopping.stop_on_signals(), stopping.stop_deferred() if {busy} else contextlib.nullcontext():
            stopping.watch_parent()
            time.sleep(60)
    """
    process = python(code, **{PARENT_VARIABLE: "0"})
    said, _ = process.communicate(timeout=50)
    assert (b"Interrupted: the end of its parent process" in said, process.returncode) == (
        (False, STOPPED) if busy else (True, 1)
    )


def test_a_process_whose_parent_lives_goes_on():
    code = """
        import time
        from zoo import stopping
        stopping.PARENT_SECONDS = 0.01
        stopping.watch_parent()
        time.sleep(0.3)
    """
    process = python(code, **{PARENT_VARIABLE: str(os.getpid())})
    assert process.communicate(timeout=50) == (b"", None)
    assert process.returncode == 0
