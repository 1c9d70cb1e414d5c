"""Copies between devices under torch's fake tensors, for tests of code that shall keep a GPU busy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode


def _indexable() -> bool:
    """Return whether fake tensors of a GPU can be indexed; those of torch 2.6 need its driver."""
    try:
        with FakeTensorMode():
            numbers = torch.empty(2, 2, device="cuda")
            return bool(numbers[None].ndim)
    except RuntimeError:
        return False


needs_fake_gpu = pytest.mark.skipif(not _indexable(), reason="fake tensors of a GPU need a driver in this torch")


class Copies(TorchDispatchMode):
    """Counts the tensors that are copied from one device to another, each of which makes the processor wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            source = args[0] if func is torch.ops.aten._to_copy.default else args[1]
            if source.device.type != result.device.type:
                self.found.append(f"{func} {tuple(source.shape)}")
        return result
