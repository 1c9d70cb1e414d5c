"""Batch norm over processes: with one process it equals that of torch; test_teamwork compares two processes."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import nn
from zoo_gconv.layers import GroupBatchNorm

from zoo.train.batch_norm import SharedBatchNorm


@pytest.fixture(scope="module", autouse=True)
def group(tmp_path_factory):
    """Connect this process with itself."""
    path = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


LAYERS = {
    "2d": (lambda: nn.BatchNorm2d(4), (6, 4, 5, 5)),
    "1d": (lambda: nn.BatchNorm1d(4), (8, 4)),
    "3d without weights": (lambda: nn.BatchNorm3d(4, affine=False), (3, 4, 2, 3, 3)),
    "without memory": (lambda: nn.BatchNorm2d(4, track_running_stats=False), (6, 4, 5, 5)),
    "on a group, with relu in place": (lambda: GroupBatchNorm(2, 4, relu=True), (6, 8, 5, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_group_of_one_gives_what_torch_gives(name):
    make, shape = LAYERS[name]
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(shape, generator=generator) * 3 + 50  # a mean far from zero: squares would lose the variance
    towards = torch.randn(shape, generator=generator)
    outcome = []
    for shared in (True, False):
        torch.manual_seed(0)
        layer = make()
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
        asked = maps.clone().requires_grad_()
        for _ in range(2):
            if shared:
                with SharedBatchNorm():
                    out = layer(asked)
            else:
                out = layer(asked)
        (out * towards).sum().backward()
        gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
        outcome.append({"out": out.detach(), "maps": asked.grad, **gradients, **dict(layer.named_buffers())})
    for key, value in outcome[0].items():
        torch.testing.assert_close(
            value, outcome[1][key], rtol=1e-4, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_evaluation_and_other_functions_are_left_alone():
    layer, maps = nn.BatchNorm2d(3).eval(), torch.randn(2, 3, 4, 4)
    nn.init.uniform_(layer.running_mean)
    expected = layer(maps)
    with SharedBatchNorm():
        assert torch.equal(layer(maps), expected)
        assert torch.equal(torch.relu(maps), maps.clamp_min(0))


def test_half_precision_keeps_its_type():
    layer, maps = nn.BatchNorm2d(3), torch.randn(8, 3, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    with SharedBatchNorm():
        out = layer(maps)
    out.sum().backward()
    assert (out.dtype, maps.grad.dtype, layer.weight.grad.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    torch.testing.assert_close(out.float(), nn.BatchNorm2d(3)(maps.float()), atol=0.03, rtol=0.01)
