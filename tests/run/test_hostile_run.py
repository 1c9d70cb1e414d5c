"""Metrics and launchers that do not keep their contract: one message, and no result that cannot be read again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zoo.errors import LauncherError
from zoo.run.launcher import CheckedLauncher
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
    "an unknown state": ("poll", lambda handles: ["PENDING", "ended"]),
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
    assert honest.poll(honest.submit(["first", "second"])) == ["ended", "ended"]
    assert CheckedLauncher("core/local", LocalLauncher).poll([]) == []
