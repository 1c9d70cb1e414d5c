"""Replacements of functions of torch that are slow in a training on a CPU.

- Convolutions in bf16 whose output is a few pixels are one matrix product. oneDNN has no fast gradient of the weights
  for these: for 512 channels on 2 x 2 pixels, the last stage of a ResNet on images of 64 pixels, it takes longer in
  bf16 than in float32, and most of the step. A product takes either the patches of the input, which repeat its pixels
  and hold the zeros around them, or all pixels of the input and one matrix that holds the tap between each pixel of the
  input and of the output. For 3 x 3 taps on 2 x 2 pixels this matrix has 16 blocks, where the patches have 36.
- Depthwise convolutions with a stride are computed in float32 where the gradient of their input is needed. oneDNN has
  no fast one in bf16: for the blur that halves the maps of a steerable network it took seven times as long, and half of
  the step.
- Depthwise convolutions with trained filters larger than 3 x 3 are computed in float32 and in channels-last layout.
  Otherwise the gradient of the filters takes two to five times as long.
- Max pooling is computed in channels-last layout. In the usual layout torch takes one value at a time, and as long as
  several convolutions of a ResNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_Pair = tuple[int, int]

MOST_PIXELS = 4
"""Largest number of pixels of an output that is computed as a product; for 16, oneDNN is as fast."""
LEAST_CHANNELS = 8
"""Smallest number of channels that are pooled together; for 4, torch is as fast."""
MOST_TAPS = 9
"""Largest number of taps of a depthwise convolution whose filters have a fast gradient in every layout."""


class FasterOnCpu(TorchFunctionMode):
    """Replaces some `conv2d`, up to rounding, and `max_pool2d`, exactly, on the CPU.

    A backward pass that computes the forward pass again, as `torch.utils.checkpoint` does, does not go through it. Max
    pooling cannot be mapped over by `torch.func.vmap` in it.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, or its replacement where there is one."""
        options = kwargs or {}
        found = None
        if func is torch.conv2d:
            found = _convolved(*args, **options)
        elif func in (F.max_pool2d, torch.max_pool2d):
            found = _pooled(*args, **options)
        return func(*args, **options) if found is None else found


def _is_bf16() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16


def _convolved(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """Return the convolution [N, C, H, W] of arguments as those of `torch.conv2d`; None where torch is as fast."""
    if input.dim() != 4 or isinstance(padding, str) or input.device.type != "cpu":
        return None
    if torch.is_autocast_enabled("cpu") and not _is_bf16():
        return None
    allowed = {torch.float32, torch.bfloat16} if _is_bf16() else {torch.float32}
    if not {tensor.dtype for tensor in (input, weight, bias) if tensor is not None} <= allowed:
        return None
    strides, paddings, dilations = (_pair(value) for value in (stride, padding, dilation))
    if groups == input.shape[1] > 1:
        return _depthwise(input, weight, bias, strides, paddings, dilations)
    if groups > 1 or not _is_bf16():
        return None
    return _as_product(input, weight, bias, strides, paddings, dilations)


def _depthwise(
    input: Tensor, weight: Tensor, bias: Tensor | None, strides: _Pair, paddings: _Pair, dilations: _Pair
) -> Tensor | None:
    """Return the convolution [N, C, H, W], in the layout of the input, if a gradient of it is slow in torch."""
    slow_filters = weight.requires_grad and weight.shape[2:].numel() > MOST_TAPS
    slow_input = _is_bf16() and input.requires_grad and max(strides) > 1
    if not torch.is_grad_enabled() or not (slow_filters or slow_input):
        return None
    layout = torch.channels_last if slow_filters else torch.preserve_format
    with torch.autocast("cpu", enabled=False):
        images, offset = input.to(torch.float32, memory_format=layout), None if bias is None else bias.float()
        maps = torch.conv2d(images, weight.float(), offset, strides, paddings, dilations, input.shape[1])
    maps = maps.to(torch.bfloat16 if _is_bf16() else torch.float32)
    return maps.contiguous() if input.is_contiguous() else maps


def _as_product(
    input: Tensor, weight: Tensor, bias: Tensor | None, strides: _Pair, paddings: _Pair, dilations: _Pair
) -> Tensor | None:
    """Return the convolution [N, C, H, W] if it is of a few pixels."""
    kernel, sizes = weight.shape[2:], input.shape[2:]
    axes = tuple(zip(sizes, kernel, strides, paddings, dilations, strict=True))
    height, width = ((size + 2 * pad - spread * (taps - 1) - 1) // step + 1 for size, taps, step, pad, spread in axes)
    if not 1 <= height * width <= MOST_PIXELS or kernel.numel() == 1:
        return None
    out_channels = len(weight)
    images, taps = input.to(torch.bfloat16), weight.to(torch.bfloat16).flatten(2)
    if sizes.numel() < kernel.numel():  # fewer blocks than in the patches
        products = _of_pixels(images, taps, bias, _tap_table(*axes))
    else:
        patches = F.unfold(images, kernel, dilation=dilations, padding=paddings, stride=strides)
        products = F.linear(patches.transpose(1, 2).reshape(-1, patches.shape[1]), taps.flatten(1), bias)
    maps = products.view(len(input), height * width, out_channels).transpose(1, 2).contiguous()
    return maps.view(len(input), out_channels, height, width)


def _of_pixels(images: Tensor, taps: Tensor, bias: Tensor | None, table: Sequence[Sequence[int]]) -> Tensor:
    """Return the products [N, pixels of the output * O] of images [N, C, H, W] and taps [O, C, taps]."""
    out_channels, channels, count = taps.shape
    planes = taps.permute(2, 0, 1).contiguous()
    pairs = torch.tensor(table)
    if int(pairs.max()) == count:  # some pixels are not connected
        planes = torch.cat([planes, planes.new_zeros(1, out_channels, channels)])
    blocks = planes.index_select(0, pairs.flatten()).unflatten(0, tuple(pairs.shape))
    matrix = blocks.transpose(1, 2).reshape(len(pairs) * out_channels, -1)  # [output pixel, O; input pixel, C]
    pixels = images.flatten(2).transpose(1, 2).flatten(1)
    return F.linear(pixels, matrix, None if bias is None else bias.repeat(len(pairs)))


@cache
def _tap_table(rows: tuple[int, ...], columns: tuple[int, ...]) -> list[list[int]]:
    """Return for each pixel of the output the tap of each pixel of the input; the number of taps where there is none.

    Args:
        rows, columns: Size of the input, number of taps, stride, padding and dilation of each axis.
    """
    count = rows[1] * columns[1]
    return [
        [row * columns[1] + column if min(row, column) >= 0 else count for row in of_row for column in of_column]
        for of_row in _taps_of_axis(*rows)
        for of_column in _taps_of_axis(*columns)
    ]


def _taps_of_axis(size: int, taps: int, stride: int, padding: int, dilation: int) -> list[list[int]]:
    """Return, for each place of the output and of the input, the tap between them; -1 where there is none."""
    offsets = range(0, dilation * taps, dilation)
    return [
        [offsets.index(place - start) if place - start in offsets else -1 for place in range(size)]
        for start in range(-padding, size + padding - dilation * (taps - 1), stride)
    ]


def _pooled(
    input: Tensor,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | None:
    """Return what `F.max_pool2d` does for the same arguments; None where it is as fast, or indices are asked for."""
    if return_indices or input.device.type != "cpu" or not input.is_floating_point():
        return None
    if input.dim() != 4 or input.shape[1] < LEAST_CHANNELS or not input.is_contiguous():
        return None
    sizes = (kernel_size, kernel_size if stride in (None, (), []) else stride, padding, dilation)
    pooled: Tensor = _MaxPool.apply(input, *(_pair(size) for size in sizes), ceil_mode)[0]
    return pooled


class _MaxPool(torch.autograd.Function):
    """Max pooling in channels-last layout; its gradient is that of torch for the usual layout, which is fast."""

    @staticmethod
    def forward(maps: Tensor, *sizes: Any) -> tuple[Tensor, Tensor]:
        """Return the maxima of maps [N, C, H, W] in windows of these sizes, and their indices, as torch does."""
        channels_last = maps.contiguous(memory_format=torch.channels_last)
        pooled, indices = torch.ops.aten.max_pool2d_with_indices(channels_last, *sizes)
        return pooled.contiguous(), indices.contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the gradient needs."""
        maps, *ctx.sizes = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(maps, output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the maps."""
        maps, indices = ctx.saved_tensors
        slope = gradients[0].contiguous()
        of_maps = torch.ops.aten.max_pool2d_with_indices_backward(slope, maps, *ctx.sizes, indices)
        return of_maps, *[None] * len(ctx.sizes)


def _pair(value: Any) -> _Pair:
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return (values[0], values[-1])
