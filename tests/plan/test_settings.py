"""Training settings: allowed values, parsing, and the schedule of the learning rate."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from zoo.errors import UsageError
from zoo.plan.overrides import parse_settings
from zoo.plan.settings import CHOICES, SETTING_NAMES, TrainingSettings
from zoo.train.schedule import learning_rate_factor


def rates(schedule, total):
    return np.array([learning_rate_factor(step, total, schedule) for step in range(total)])


@pytest.mark.parametrize(("schedule", "rise"), [("one-cycle", 0.3), ("cosine", 0.05)])
def test_the_rate_rises_once_to_its_highest_and_falls_to_nothing(schedule, rise):
    factors = rates(schedule, 1000)
    top = int(factors.argmax())
    assert top == pytest.approx(rise * 1000, abs=1)
    assert factors[top] == pytest.approx(1)
    assert factors[0] == pytest.approx(0.04)
    assert np.all(np.diff(factors[: top + 1]) > 0)
    assert np.all(np.diff(factors[top:]) < 0)
    assert 0 < factors[-1] < 1e-4
    # The fall is half a cosine: at its middle the rate is half of the highest.
    assert factors[(top + 1000) // 2] == pytest.approx(0.5, abs=0.01)


def test_the_decay_equals_the_cosine_of_torch():
    """CosineAnnealingLR over the steps after the rise."""
    import torch

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=70)
    for step in range(30, 100):
        assert learning_rate_factor(step, 100, "one-cycle") == pytest.approx(schedule.get_last_lr()[0], abs=1e-6)
        optimizer.step()
        schedule.step()


def test_a_constant_rate_does_not_change():
    assert set(rates("constant", 50)) == {1.0}


@pytest.mark.parametrize("schedule", CHOICES["schedule"])
@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_short_trainings_have_a_positive_rate(schedule, total):
    factors = rates(schedule, total)
    assert np.all(factors > 0)
    assert np.all(factors <= 1)


@pytest.mark.parametrize("name", SETTING_NAMES)
@pytest.mark.parametrize("value", ["abc", None, True, -1, float("nan"), [1], {}])
def test_values_of_the_wrong_kind_are_refused_by_name(name, value):
    if name in ("stream", "new_noise") and value is True:
        value = "True"
    if name == "auxiliary" and value == "abc":
        value = "a b"
    with pytest.raises(UsageError, match=f"^{name}="):
        TrainingSettings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("epochs", 1.0), ("batch_size", 0), ("ema", 1.0), ("label_smoothing", 1.0), ("lr", 1e7)],
)
def test_values_beyond_their_range_are_refused(name, value):
    with pytest.raises(UsageError, match=name):
        TrainingSettings(**{name: value})


@pytest.mark.parametrize(
    "values",
    [{"lr": 0}, {"lr": 1}, {"ema": 0}, {"clip": 0.0}, {"patience": 0}, {"epochs": 100_000}, {"schedule": "cosine"}],
)
def test_values_at_the_limits_are_accepted(values):
    assert asdict(TrainingSettings(**values)).items() >= values.items()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4), ("8", 8), ("8.0", 8.0), ("true", True), ("True", True), ("None", None), ("null", None),
        ("d4", "d4"), ("[4, 8]", [4, 8]), ('"8"', "8"), ("U(10, 30)", "U(10, 30)"), ("a=b", "a=b"), ("", ""),
        ('{"a": 1}', {"a": 1}),
    ],
)  # fmt: skip
def test_values_are_json_or_text(text, value):
    parsed = parse_settings([f"name={text}"])
    assert parsed == {"name": value}
    assert type(parsed["name"]) is type(value)


def test_blanks_around_a_name_are_ignored():
    assert parse_settings([" lr =1", "data.snr=5"]) == {"lr": 1, "data.snr": 5}


@pytest.mark.parametrize(
    "pairs", [["lr"], ["=1"], [" =1"], [""], ["lr=1", "lr=1"], ["lr=nan", "lr=NaN"], ["a=-Infinity"]]
)
def test_invalid_pairs_are_refused(pairs):
    with pytest.raises(UsageError, match="--set"):
        parse_settings(pairs)
