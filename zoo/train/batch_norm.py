"""Batch norm over the images of all processes that train a network together, whatever layer asks for it.

torch's `SyncBatchNorm.convert_sync_batchnorm` puts a layer of its own in the place of every batch norm, which would
undo layers that derive from one (group convolutions pool over the group), and it does not run on a CPU. Here the layers
stay; the function that they all end in is another one while the network trains.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class SharedBatchNorm(TorchFunctionMode):
    """Within this context, `torch.nn.functional.batch_norm` takes its statistics from the images of all processes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace one function, and leave all others alone."""
        kwargs = kwargs or {}
        return _batch_norm(*args, **kwargs) if func is F.batch_norm else func(*args, **kwargs)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Do what `torch.nn.functional.batch_norm` does, over all processes; the names of the arguments are torch's."""
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    size, mean, variance = _moments(input.detach())
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((variance * (size / (size - 1))).to(running_var), momentum)
    normalised: Tensor = _Normalise.apply(input, mean, (variance + eps).rsqrt(), size, weight, bias)
    return normalised


def _moments(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how many values a channel has in all processes, their mean [C] and their variance [C], in float32.

    The variances about the processes' own means are joined as in Chan, Golub & LeVeque 1983: a difference of sums of
    squares would lose digits.
    """
    variance, mean = torch.var_mean(maps.float(), dim=_all_but_channels(maps), correction=0)
    count = torch.full_like(mean, maps.numel() / maps.shape[1])
    parts = [torch.empty(3, len(mean), device=maps.device) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, torch.stack([count, mean, variance]))
    counts, means, variances = torch.stack(parts, 1)  # [process, channel] each
    size = counts.sum(0)
    joint = (counts * means).sum(0) / size
    return size[0], joint, (counts * (variances + (means - joint) ** 2)).sum(0) / size


class _Normalise(torch.autograd.Function):
    """(x - mean) / deviation * weight + bias, where mean and deviation depend on the x of all processes."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, mean: Tensor, inverse: Tensor, size: Tensor, weight: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        """Return [N, C, ...] in the type of the maps."""
        scale = inverse if weight is None else inverse * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        ctx.save_for_backward(maps, mean, inverse, size, weight)
        ctx.biased = bias is not None
        return torch.addcmul(_as(shift, maps), maps.float(), _as(scale, maps)).to(maps.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of maps, weight and bias; those of weight and bias are this process's part."""
        maps, mean, inverse, size, weight = ctx.saved_tensors
        slope = gradients[0].float()
        normal = (maps.float() - _as(mean, maps)) * _as(inverse, maps)
        over = _all_but_channels(maps)
        own = torch.stack([slope.sum(over), (slope * normal).sum(over)])
        everyone = own.clone()
        dist.all_reduce(everyone)
        level, tilt = everyone / size
        scale = inverse if weight is None else inverse * weight
        of_maps = (slope - _as(level, maps) - normal * _as(tilt, maps)) * _as(scale, maps)
        return (
            of_maps.to(maps.dtype),
            None,
            None,
            None,
            None if weight is None else own[1].to(weight.dtype),
            own[0].to(inverse.dtype if weight is None else weight.dtype) if ctx.biased else None,
        )


def _all_but_channels(maps: Tensor) -> list[int]:
    return [0, *range(2, maps.ndim)]


def _as(values: Tensor, maps: Tensor) -> Tensor:
    """Return [C] in a shape that goes with maps [N, C, ...]."""
    return values.view(-1, *[1] * (maps.ndim - 2))
