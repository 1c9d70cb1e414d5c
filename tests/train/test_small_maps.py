"""Convolutions of a few pixels in bf16 on a CPU: the same sums as oneDNN's, and the same gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.train import small_maps
from zoo.train.small_maps import SmallMapsAsProducts

CASES = {
    "ResNet": ((6, 2, 2), {"padding": 1}, True),
    "stride": ((6, 4, 4), {"padding": (1, 1), "stride": 2}, True),
    "oblong": ((6, 1, 5), {"padding": (1, 0), "stride": (1, 2)}, True),
    "dilated": ((6, 5, 5), {"dilation": 2}, True),
    "large": ((6, 3, 3), {"padding": 1}, False),
    "words": ((6, 2, 2), {"padding": "same"}, False),
    "groups": ((6, 2, 2), {"padding": 1, "groups": 2}, False),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_products_are_convolutions(name, bias, monkeypatch):
    shape, options, replaced = CASES[name]
    taken = []
    monkeypatch.setattr(
        small_maps, "_as_product", lambda *a, _f=small_maps._as_product, **k: (taken.append(_f(*a, **k)), taken[-1])[1]
    )
    torch.manual_seed(0)
    images = torch.randn(5, *shape, requires_grad=True)
    weight = torch.randn(8, shape[0] // options.get("groups", 1), 3, 3, requires_grad=True)
    offset = torch.randn(8, requires_grad=True) if bias else None
    upstream = None
    found = []
    for mode in (None, SmallMapsAsProducts()):
        with torch.autocast("cpu", torch.bfloat16):
            if mode is None:
                out = F.conv2d(images, weight, offset, **options)
            else:
                with mode:
                    out = F.conv2d(images, weight, offset, **options)
        upstream = torch.randn(out.shape).to(out.dtype) if upstream is None else upstream
        inputs = [tensor for tensor in (images, weight, offset) if tensor is not None]
        found.append([out, *torch.autograd.grad(out, inputs, upstream)])
    assert [one is not None for one in taken] == [replaced]
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one.float(), other.float(), atol=0.1, rtol=0.02)


def test_float32_keeps_its_bits(monkeypatch):
    monkeypatch.setattr(small_maps, "_as_product", lambda *arguments, **options: 1 / 0)
    images, weight = torch.randn(2, 6, 2, 2), torch.randn(8, 6, 3, 3)
    with SmallMapsAsProducts():
        found = F.conv2d(images, weight, padding=1)
    assert torch.equal(found, F.conv2d(images, weight, padding=1))
