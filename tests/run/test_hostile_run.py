"""Metrics and launchers that do not keep their contract: one message, and no result that cannot be read again."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest
import torch

from zoo.errors import LauncherError, UsageError
from zoo.run.checked import CheckedLauncher
from zoo.run.launcher import JobState
from zoo.run.local import LocalLauncher
from zoo.run.metrics import LONGEST_NAME, MOST_VALUES, metric_values


@pytest.mark.parametrize(
    "value", [0.9, 1, np.float32(0.9), np.int64(1), np.array(0.9), torch.tensor(0.9), math.nan, math.inf]
)
def test_real_numbers_are_values_of_a_metric(value):
    assert metric_values({"auc": value})["auc"] == pytest.approx(float(value), nan_ok=True)


@pytest.mark.parametrize(
    "returned",
    [
        0.5, None, [("x", 1.0)], iter(["x"]), {"x": "0.9"}, {"x": [0.9]}, {"x": np.array([0.9])}, {"x": 1 + 2j},
        {"x": True}, {"x": np.bool_(True)}, {"x": None}, {"x": torch.tensor([0.9])}, {"x": torch.tensor(1j)}, {3: 1.0},
    ],
    ids=lambda returned: str(returned).partition(" object")[0],
)  # fmt: skip
def test_other_answers_of_a_metric_are_refused(returned):
    with pytest.raises(TypeError):
        metric_values(returned)


def test_of_several_values_those_that_are_no_numbers_are_left_out():
    refused = []
    assert metric_values({"x": "0.9", "y": 0.5}, refused=refused) == {"y": 0.5}
    assert refused == ["the value of x must be a real number, not str"]
    with pytest.raises(TypeError, match="must be a real number"):
        metric_values({"x": "0.9"}, refused=[])


@pytest.mark.parametrize("name", ["", "n" * (LONGEST_NAME + 1), "\ud800", "\x1b[2J", "a\nb"])
def test_names_that_no_file_or_terminal_can_hold_are_refused(name):
    with pytest.raises(ValueError, match="printable"):
        metric_values({name: 1.0})
    with pytest.raises(ValueError, match="at most"):
        metric_values({f"v{i}": 1.0 for i in range(MOST_VALUES + 1)})


class Honest:
    def submit(self, jobs):
        return [str(job) for job in jobs]

    def poll(self, handles):
        return ["ended" for _ in handles]

    def cancel(self, handles):
        pass


LIES = {
    "too few handles": ("submit", lambda jobs: ["a"]),
    "too many handles": ("submit", lambda jobs: ["a", "b", "c"]),
    "equal handles": ("submit", lambda jobs: ["a", "a"]),
    "a text": ("submit", lambda jobs: "ab"),
    "numbers": ("submit", lambda jobs: [1, 2]),
    "no handles": ("submit", lambda jobs: None),
    "an exit": ("submit", lambda jobs: exit(0)),
    "an interrupt": ("submit", lambda jobs: (_ for _ in ()).throw(KeyboardInterrupt)),
    "a generator": ("submit", lambda jobs: (str(job) for job in jobs)),
    "no states": ("poll", lambda handles: None),
    "too few states": ("poll", lambda handles: ["ended"]),
    "an exit of poll": ("poll", lambda handles: exit(0)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_launcher_that_breaks_its_contract_is_named(lie):
    method, answer = LIES[lie]
    liar = Honest()
    setattr(liar, method, answer)
    launcher = CheckedLauncher("toy/liar", lambda: liar)
    with pytest.raises(LauncherError, match=f"toy/liar.*{method}"):
        launcher.poll(launcher.submit(["first", "second"]))


def test_what_is_no_launcher_is_named_and_a_fault_of_cancel_is_logged(caplog):
    with pytest.raises(LauncherError, match="toy/liar failed in its start: TypeError"):
        CheckedLauncher("toy/liar", lambda: int("1", "x", "y"))
    with pytest.raises(LauncherError, match="toy/liar failed in submit: AttributeError"):
        CheckedLauncher("toy/liar", object).submit([])
    liar = Honest()
    liar.cancel = lambda handles: 1 / 0
    CheckedLauncher("toy/liar", lambda: liar).cancel(["a"])
    assert "toy/liar failed in cancel: ZeroDivisionError" in caplog.text
    honest = CheckedLauncher("toy/honest", Honest)
    assert [state.kind for state in honest.poll(honest.submit(["first", "second"]))] == ["ended", "ended"]
    assert CheckedLauncher("core/local", LocalLauncher).poll([]) == []


@pytest.mark.parametrize("seconds", [0, -1.0, 3601, float("nan"), True, "30"])
def test_an_impossible_interval_is_refused_before_anything_is_queued(seconds):
    honest = Honest()
    assert CheckedLauncher("toy/honest", lambda: honest).poll_seconds is None
    honest.poll_seconds = seconds
    with pytest.raises(UsageError, match=r"toy/honest.*poll_seconds=.* above 0, at most 3600"):
        CheckedLauncher("toy/honest", lambda: honest).poll_seconds  # noqa: B018 - reading the property is what is refused
    honest.poll_seconds = 30
    assert CheckedLauncher("toy/honest", lambda: honest).poll_seconds == 30.0


@pytest.mark.parametrize(
    "state", ["PENDING", "", 5, None, JobState(kind="gone"), JobState(kind="ended", reason="bored")], ids=repr
)
def test_an_invented_state_is_one_of_a_lost_job(state):
    liar = Honest()
    liar.poll = lambda handles: [state, "ended"]
    lost, ended = CheckedLauncher("toy/liar", lambda: liar).poll(["first", "second"])
    assert (lost.kind, ended.kind) == ("lost", "ended")
    assert "toy/liar returned the state" in lost.detail
    assert lost.again
    assert not ended.again


def test_a_launcher_that_hangs_is_named_and_not_asked_again_meanwhile():
    hanging = Honest()
    release = threading.Event()
    hanging.poll = lambda handles: release.wait(20)
    launcher = CheckedLauncher("toy/hanging", lambda: hanging, limit=0.1)
    started = time.monotonic()
    with pytest.raises(LauncherError, match=r"toy/hanging has not answered in poll for 0\.1 s"):
        launcher.poll(["first"])
    with pytest.raises(LauncherError, match="still has not answered"):
        launcher.submit(["first"])
    assert time.monotonic() - started < 5
    release.set()
    launcher._stuck.join()
    assert len(launcher.submit(["first"])) == 1


def test_handles_of_a_broken_submission_are_cancelled():
    cancelled = []
    liar = Honest()
    liar.submit = lambda jobs: ["a"]
    liar.cancel = cancelled.extend
    with pytest.raises(LauncherError, match="a handle for each"):
        CheckedLauncher("toy/liar", lambda: liar).submit(["first", "second"])
    assert cancelled == ["a"]
