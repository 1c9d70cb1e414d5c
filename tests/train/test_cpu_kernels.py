"""Convolutions and max pooling on a CPU: the results and gradients of torch."""

from __future__ import annotations

import contextlib

import pytest
import torch
import torch.nn.functional as F

from zoo.train import cpu_kernels
from zoo.train.cpu_kernels import FasterOnCpu

CASES = {
    "ResNet": ((6, 2, 2), {"padding": 1}, True),
    "row": ((6, 1, 4), {"padding": 1}, True),
    "pixel": ((6, 1, 1), {"padding": 1}, True),
    "far": ((6, 2, 2), {"padding": 2, "dilation": 2}, True),
    "padded": ((6, 2, 1), {"padding": (3, 1), "stride": (3, 2)}, True),
    "stride": ((6, 4, 4), {"padding": (1, 1), "stride": 2}, True),
    "oblong": ((6, 1, 5), {"padding": (1, 0), "stride": (1, 2)}, True),
    "dilated": ((6, 5, 5), {"dilation": 2}, True),
    "large": ((6, 3, 3), {"padding": 1}, False),
    "words": ((6, 2, 2), {"padding": "same"}, False),
    "groups": ((6, 2, 2), {"padding": 1, "groups": 2}, False),
    "blur": ((4, 8, 8), {"padding": 1, "stride": 2, "groups": 4}, True),
    "blur without stride": ((4, 8, 8), {"padding": 1, "groups": 4}, False),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_replacements_are_convolutions(name, bias, monkeypatch):
    shape, options, replaced = CASES[name]
    taken = []
    convolved = cpu_kernels._convolved
    monkeypatch.setattr(cpu_kernels, "_convolved", lambda *a, **k: (taken.append(convolved(*a, **k)), taken[-1])[1])
    torch.manual_seed(0)
    images = torch.randn(5, *shape, requires_grad=True)
    weight = torch.randn(8, shape[0] // options.get("groups", 1), 3, 3, requires_grad=True)
    offset = torch.randn(8, requires_grad=True) if bias else None
    upstream = None
    found = []
    for mode in (None, FasterOnCpu()):
        with torch.autocast("cpu", torch.bfloat16):
            if mode is None:
                out = F.conv2d(images, weight, offset, **options)
            else:
                with mode:
                    out = F.conv2d(images, weight, offset, **options)
        upstream = torch.randn(out.shape).to(out.dtype) if upstream is None else upstream
        inputs = [tensor for tensor in (images, weight, offset) if tensor is not None]
        assert out.is_contiguous()
        found.append([out, *torch.autograd.grad(out, inputs, upstream)])
    assert [one is not None for one in taken] == [replaced]
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one.float(), other.float(), atol=0.1, rtol=0.02)


DEPTHWISE = {
    "octic": ({"kernel": 5, "padding": 2}, True),
    "halving": ({"kernel": 4, "padding": (1, 2), "stride": 2}, True),
    "dilated": ({"kernel": 5, "padding": 3, "dilation": (1, 2)}, True),
    "two filters": ({"kernel": 5, "filters": 2}, True),
    "small": ({"kernel": 3, "padding": 1}, False),
    "constant": ({"kernel": 5, "trained": False}, False),
    "grouped": ({"kernel": 5, "in_group": 2}, False),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_convolutions_have_the_gradients_of_torch(name, bf16, layout, monkeypatch):
    case, replaced = DEPTHWISE[name]
    options = {key: case[key] for key in ("padding", "stride", "dilation") if key in case}
    channels, kernel, in_group = 6, case["kernel"], case.get("in_group", 1)
    taken = []
    depthwise = cpu_kernels._depthwise
    monkeypatch.setattr(cpu_kernels, "_depthwise", lambda *a: (taken.append(depthwise(*a)), taken[-1])[1])
    torch.manual_seed(0)
    images = torch.randn(5, channels, 9, 8).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(channels * case.get("filters", 1), in_group, kernel, kernel)
    weight.requires_grad_(case.get("trained", True))
    found = []
    for mode in (contextlib.nullcontext(), FasterOnCpu()):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16), mode:
            out = F.conv2d(images, weight, groups=channels // in_group, **options)
        upstream = torch.linspace(-1, 1, out.numel()).sin().view(out.shape).to(out.dtype)
        inputs = [tensor for tensor in (images, weight) if tensor.requires_grad]
        found.append([out, *torch.autograd.grad(out, inputs, upstream)])
    assert sum(one is not None for one in taken) == replaced
    assert found[1][0].is_contiguous(memory_format=layout)
    tolerances = {"atol": 0.1, "rtol": 0.02} if bf16 else {"atol": 1e-4, "rtol": 1e-5}
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one.float(), other.float(), **tolerances)


@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (3, 6), (5, 1)])
def test_other_convolutions_keep_their_bits_in_float32(kernel, groups):
    images, weight = torch.randn(2, 6, 2, 2), torch.randn(6, 6 // groups, kernel, kernel, requires_grad=True)
    found = []
    for mode in (contextlib.nullcontext(), FasterOnCpu()):
        with mode:
            out = F.conv2d(images, weight, padding=kernel // 2, stride=2, groups=groups)
        found.append((out, *torch.autograd.grad(out.sum(), weight)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.complex64])
def test_other_types_are_left_to_torch(dtype, groups):
    kernel = 3 if groups == 1 else 5
    images, weight = torch.ones(2, 6, 2, 2, dtype=dtype), torch.ones(6, 6 // groups, kernel, kernel, dtype=dtype)
    if dtype.is_floating_point or dtype.is_complex:
        weight.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16), FasterOnCpu():
        found = F.conv2d(images, weight, stride=2, padding=2, groups=groups)
    expected = F.conv2d(images, weight, stride=2, padding=2, groups=groups)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_float16_is_left_to_torch():
    images, weight = torch.randn(2, 6, 8, 8), torch.randn(6, 1, 5, 5, requires_grad=True)
    with torch.autocast("cpu", torch.float16), FasterOnCpu():
        assert F.conv2d(images, weight, groups=6).dtype == torch.float16


def test_depthwise_convolutions_without_a_gradient_are_left_to_torch():
    images, weight = torch.randn(2, 6, 8, 8), torch.randn(6, 1, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = F.conv2d(images, weight, stride=2, groups=6)
        with FasterOnCpu():
            assert torch.equal(F.conv2d(images, weight, stride=2, groups=6), expected)


def test_a_batch_may_be_empty():
    with torch.autocast("cpu", torch.bfloat16), FasterOnCpu():
        assert F.conv2d(torch.ones(0, 6, 2, 2), torch.ones(8, 6, 3, 3), padding=1).shape == (0, 8, 2, 2)


POOLS = {
    "ResNet": ((16, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1}, True),
    "oblong": ((8, 7, 9), {"kernel_size": (2, 3), "padding": (1, 0), "ceil_mode": True}, True),
    "dilated": ((8, 9, 9), {"kernel_size": 2, "stride": (1, 2), "dilation": (2, 1)}, True),
    "few channels": ((7, 8, 8), {"kernel_size": 2}, False),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", POOLS)
def test_max_pooling_has_the_bits_of_torch(name, dtype, monkeypatch):
    shape, options, replaced = POOLS[name]
    taken = []
    apply = cpu_kernels._MaxPool.apply
    monkeypatch.setattr(cpu_kernels._MaxPool, "apply", lambda *a: (taken.append(1), apply(*a))[1])
    torch.manual_seed(0)
    maps = torch.randn(5, *shape).round(decimals=1).relu()  # with equal maxima
    maps[0, 0, 2, 2] = torch.nan
    found = []
    for mode in (contextlib.nullcontext(), FasterOnCpu()):
        leaf = maps.to(dtype).requires_grad_()
        with mode:
            pooled = F.max_pool2d(leaf, **options)
        slope = torch.arange(pooled.numel(), dtype=dtype).view(pooled.shape)
        [gradient] = torch.autograd.grad(pooled, leaf, slope)
        assert [pooled.is_contiguous(), gradient.is_contiguous()] == [True, True]
        found.append((pooled, gradient))
    assert bool(taken) == replaced
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_max_pooling_leaves_adjacent_channels_to_torch():
    maps = torch.randn(2, 16, 6, 6).contiguous(memory_format=torch.channels_last)
    with FasterOnCpu():
        pooled = F.max_pool2d(maps, 2)
        _, places = F.max_pool2d(maps.contiguous(), 2, return_indices=True)
    assert pooled.is_contiguous(memory_format=torch.channels_last)
    assert places.dtype == torch.int64
