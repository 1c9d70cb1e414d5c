"""Convolutions in bf16 on a CPU whose output is a few pixels: as one matrix product, four times as fast in training.

oneDNN has no fast gradient of the weights for these: for 512 channels on 2 x 2 pixels, the last stage of a ResNet on
images of 64 pixels, it takes longer in bf16 than in float32, and most of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

MOST_PIXELS = 4
"""Largest number of pixels of an output that is computed as a product; for 16, oneDNN is as fast."""


class SmallMapsAsProducts(TorchFunctionMode):
    """Replaces `conv2d` while bf16 autocast on the CPU is enabled, for small outputs; sums differ by rounding only."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, or take the product in its place."""
        options = kwargs or {}
        if func is torch.conv2d and torch.is_autocast_enabled("cpu"):
            found = _as_product(*args, **options)
            if found is not None:
                return found
        return func(*args, **options)


def _as_product(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """Return the convolution [N, C, H, W] of arguments as those of `torch.conv2d`; None where it is no faster."""
    if groups != 1 or input.dim() != 4 or isinstance(padding, str) or input.device.type != "cpu":
        return None
    kernel = weight.shape[2:]
    strides, paddings, dilations = (_pair(value) for value in (stride, padding, dilation))
    height, width = (
        (size + 2 * pad - spread * (taps - 1) - 1) // step + 1
        for size, pad, spread, taps, step in zip(input.shape[2:], paddings, dilations, kernel, strides, strict=True)
    )
    if not 1 <= height * width <= MOST_PIXELS or kernel.numel() == 1:
        return None
    patches = F.unfold(input.to(torch.bfloat16), kernel, dilation=dilations, padding=paddings, stride=strides)
    products = F.linear(patches.transpose(1, 2).reshape(-1, patches.shape[1]), weight.flatten(1), bias)
    return products.view(len(input), height * width, -1).transpose(1, 2).reshape(len(input), -1, height, width)


def _pair(value: Any) -> tuple[int, int]:
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return (values[0], values[-1])
