"""The gradient of a batch in micro-batches."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.functional import cross_entropy

from zoo.train.accumulate import accumulate


@pytest.mark.parametrize(("micro_batches", "used"), [(1, 1), (2, 2), (4, 3)])
def test_more_micro_batches_than_images_allow_are_fewer(micro_batches, used):
    """A run that was split goes on in a team, whose processes have fewer images each."""
    torch.manual_seed(0)
    module = nn.Linear(5, 3)
    images, labels = torch.randn(3, 5), torch.arange(3)
    loss, _, count = accumulate(
        module,
        lambda some, own: (cross_entropy(module(some), own), None),
        images,
        labels,
        fraction=1.0,
        fabric=Fabric(accelerator="cpu", devices=1),
        micro_batches=micro_batches,
        least_images=1,
    )
    assert count == used
    found = module.weight.grad.clone()
    module.zero_grad()
    whole = cross_entropy(module(images), labels)
    whole.backward()
    torch.testing.assert_close(loss, whole.detach())
    torch.testing.assert_close(found, module.weight.grad)
