"""The moving average of the weights is compared with its definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.train.average import MovingAverage


def test_the_average_is_the_weighted_sum_of_all_steps() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(7.0)
    average = MovingAverage(layer, decay=0.5)
    expected = 7.0
    for step in range(1, 30):
        layer.weight.data.fill_(float(step**2))
        average.update(layer, step=step)
        keep = min(0.5, step / (9 + step))
        expected = keep * expected + (1 - keep) * step**2
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)


def test_the_initial_weights_lose_their_influence() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    average = MovingAverage(layer, decay=0.9999)
    layer.weight.data.zero_()
    for step in range(1, 101):
        average.update(layer, step=step)
    assert 0 < average.module.weight.item() < 1e-6  # a fixed decay would leave 0.99


def test_decay_zero_keeps_the_latest_and_statistics_follow() -> None:
    norm = nn.BatchNorm1d(3)
    average = MovingAverage(norm, decay=0.0)
    norm(torch.randn(50, 3) + 2)
    average.update(norm, step=1)
    for name, value in norm.state_dict().items():
        assert torch.equal(average.module.state_dict()[name], value)
    assert average.module.training  # as the other: their tensors correspond
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
