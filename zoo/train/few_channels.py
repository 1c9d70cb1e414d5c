"""Batch norm of few channels on a GPU: torch's kernels, given pieces of channels.

torch's kernels give all values of a channel to one block of threads. A group convolution pools its statistics over the
group, so its channels are few and long: on an H100, 10 channels keep 10 of 132 multiprocessors busy, and batch norm
took 82 % of the GPU's time in a training step of gconv/p4m. Here each channel is divided into pieces, whose statistics
are joined by the kernels that torch has for batch norm over several processes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

MOST_CHANNELS = 256
"""Largest number of channels that are divided."""
MOST_PIECES = 1024
"""Largest number of pieces of all channels together."""
LEAST_VALUES = 1 << 15
"""Smallest number of values in a channel that is divided."""


class FewChannelsInPieces(TorchFunctionMode):
    """Within this context, `torch.nn.functional.batch_norm` divides the channels; sums differ by rounding only."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace one function, and leave all others alone."""
        kwargs = kwargs or {}
        return _batch_norm(*args, **kwargs) if func is F.batch_norm else func(*args, **kwargs)


def pieces_of(shape: torch.Size) -> int:
    """Return the number of pieces that each channel of maps [N, C, ...] is divided into; 1 where it does not pay."""
    channels = shape[1]
    if channels > MOST_CHANNELS or shape.numel() < channels * LEAST_VALUES:
        return 1
    pixels = shape[2:].numel()
    return max((count for count in range(1, MOST_PIECES // channels + 1) if pixels % count == 0), default=1)


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
    """Do what `torch.nn.functional.batch_norm` does; the names of the arguments are torch's."""
    usual = running_mean is None or weight is None or bias is None or not training
    if usual or not input.is_cuda or not input.is_contiguous() or (pieces := pieces_of(input.shape)) == 1:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    normalised: Tensor = _InPieces.apply(input, weight, bias, running_mean, running_var, momentum, eps, pieces)
    return normalised


class _InPieces(torch.autograd.Function):
    """Batch norm in training mode, by the primitives of `torch.nn.SyncBatchNorm`."""

    @staticmethod
    def forward(
        ctx: Any,
        maps: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
        pieces: int,
    ) -> Tensor:
        """Return [N, C, ...] in the type of the maps; update the running statistics."""
        means, inverses = torch.batch_norm_stats(_divided(maps, pieces), eps)
        counts = running_mean.new_full((pieces,), maps.numel() // (maps.shape[1] * pieces))
        mean, inverse = torch.batch_norm_gather_stats_with_counts(
            maps, _of_pieces(means, pieces), _of_pieces(inverses, pieces), running_mean, running_var, momentum, eps,
            counts,
        )  # fmt: skip
        ctx.save_for_backward(maps, weight, mean, inverse)
        ctx.pieces = pieces
        normalised: Tensor = torch.batch_norm_elemt(maps, weight, bias, mean, inverse, eps)
        return normalised

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of maps, weight and bias."""
        maps, weight, mean, inverse = ctx.saved_tensors
        slope, pieces = gradients[0].contiguous(), ctx.pieces
        of_slope, of_product, _, _ = torch.batch_norm_backward_reduce(
            _divided(slope, pieces), _divided(maps, pieces), mean.repeat_interleave(pieces),
            inverse.repeat_interleave(pieces), None, True, False, False,
        )  # fmt: skip
        slope_sum, product_sum = of_slope.view(-1, pieces).sum(1), of_product.view(-1, pieces).sum(1)
        count = torch.full((1,), maps.numel() // maps.shape[1], dtype=torch.int32, device=maps.device)
        of_maps = torch.batch_norm_backward_elemt(slope, maps, mean, inverse, weight, slope_sum, product_sum, count)
        of_weight, of_bias = (product_sum * inverse).to(weight.dtype), slope_sum.to(weight.dtype)
        return of_maps, of_weight, of_bias, None, None, None, None, None


def _divided(maps: Tensor, pieces: int) -> Tensor:
    """Return a view [N, C * pieces, ...] of [N, C, ...]."""
    return maps.view(maps.shape[0], maps.shape[1] * pieces, -1)


def _of_pieces(values: Tensor, pieces: int) -> Tensor:
    """Return [pieces, C] of [C * pieces]."""
    return values.view(-1, pieces).t().contiguous()
