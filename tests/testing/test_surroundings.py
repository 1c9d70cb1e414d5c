"""Things that code of a plugin may not leave behind."""

from __future__ import annotations

import threading

import pytest

from zoo.testing import ConformanceError, surroundings
from zoo.testing.surroundings import left_as_they_are


def test_a_thread_that_goes_on_is_named_and_one_that_ends_is_not(monkeypatch):
    with left_as_they_are():
        threading.Thread(target=lambda: None).start()
    goes_on = threading.Event()
    monkeypatch.setattr(surroundings, "SECONDS_TO_END", 0.05)
    try:
        with pytest.raises(ConformanceError, match="leaves 1 thread running: feeder"), left_as_they_are():
            threading.Thread(target=goes_on.wait, name="feeder", daemon=True).start()
    finally:
        goes_on.set()
