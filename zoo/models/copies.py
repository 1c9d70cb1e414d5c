"""Copies of networks, and of their tensors for a file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

M = TypeVar("M", bound=nn.Module)


def copy_of(module: M) -> M:
    """Return a copy of a network that shares no tensor with it.

    Unlike `copy.deepcopy`, it also copies tensors that were computed from parameters and kept, such as the weight of
    `torch.nn.utils.weight_norm` or the filters of e2cnn in evaluation mode; the copies have no gradient.
    """
    with _DetachedCopies():
        return copy.deepcopy(module)


class _DetachedCopies(TorchFunctionMode):
    """Within this context, `copy.deepcopy` copies the values of a tensor that has a history, which it else refuses."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace one function, and leave all others alone."""
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            memo[id(tensor)] = tensor.detach().clone()
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def tensors_for_file(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as safetensors accepts them: on the CPU, contiguous, none in the memory of another.

    Layers that share a weight have it under several names; the file then holds it under each of them.
    """
    ready: dict[str, Tensor] = {}
    used: set[int] = set()
    for name, tensor in tensors.items():
        on_cpu = tensor.detach().cpu().contiguous()
        if (memory := on_cpu.untyped_storage().data_ptr()) in used:
            on_cpu = on_cpu.clone()
        used.add(memory)
        ready[name] = on_cpu
    return ready
