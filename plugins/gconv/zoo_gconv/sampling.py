"""Down-sampling by two that commutes with p4m exactly, for odd and for even image sizes.

The window is two pixels wide in both cases. An even line of pixels is divided into pairs, with weights
(1/2, 1/2). An odd line has no such division that a mirror keeps: there the window is centred on the pixels
0, 2, 4, ... and holds half of each neighbour, (1/4, 1/2, 1/4). Both choices map onto themselves when the line
is reversed; a fixed stride would sample other pixels of the mirrored line. The window also damps what
the coarser grid cannot hold (Zhang 2019, arXiv:1904.11486), and a network trained at one parity sees the same band
at the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def window(size: int, *, like: Tensor) -> Tensor:
    """Return the weights, [2] or [3], of the window for a line of `size` pixels, in `like`'s dtype and device."""
    return like.new_tensor([0.5, 0.5] if size % 2 == 0 else [0.25, 0.5, 0.25])


def downsample(maps: Tensor) -> Tensor:
    """Halve the resolution: [N, C, H, W] to [N, C, ceil(H/2), ceil(W/2)]. Outside the image is zero."""
    odd = maps.shape[-2] % 2, maps.shape[-1] % 2
    if any(odd):
        # A mean over pairs before the mean over pairs below makes (1/4, 1/2, 1/4).
        maps = F.avg_pool2d(maps, (1 + odd[0], 1 + odd[1]), stride=1, padding=odd)
    return F.avg_pool2d(maps, 2)


def blur_bank(bank: Tensor, image_shape: Sequence[int]) -> tuple[Tensor, tuple[int, int]]:
    """Fold the window into a filter bank: conv2d with the result at stride 2 is convolution, then mean.

    Args:
        bank: [O, I, k, k].
        image_shape: height and width of the maps that will be convolved.

    Returns:
        the bank [O, I, k + 1 or 2, k + 1 or 2], and the padding (rows, columns) beyond k // 2 that it needs.
    """
    rows, columns = (window(size, like=bank) for size in image_shape)
    kernel = torch.outer(rows, columns)[None, None]
    taps = bank.shape[-2:]
    # Blurring every unit filter gives the linear map [taps, blurred taps]: one matrix product for all filters.
    units = torch.eye(taps.numel(), dtype=bank.dtype, device=bank.device).view(-1, 1, *taps)
    blurred_units = F.conv2d(units, kernel, padding=(len(rows) - 1, len(columns) - 1))
    blurred = bank.flatten(2) @ blurred_units.flatten(1)
    extra = (image_shape[0] % 2, image_shape[1] % 2)
    return blurred.view(*bank.shape[:2], *blurred_units.shape[-2:]), extra
