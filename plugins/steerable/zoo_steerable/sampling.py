"""Discs, and down-sampling that commutes with quarter turns and mirrors at odd and even sizes.

A window with a stride of two starts at one edge. On an odd line of pixels it also ends at the other edge; on an even
line one pixel remains there, so a mirrored image is sampled at other positions. This breaks the equivariance of both
libraries without a warning. Here the windows are centred on the pixels 0, 2, 4, ... of an odd line and between the two
pixels of each pair of an even line. A Gaussian is close to rotation-invariant on pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIGMA_PIXELS = 0.66  # as in the example networks of e2cnn and escnn


def gaussian(count: int, *, like: Tensor) -> Tensor:
    """Return `count` weights of a centred Gaussian, with sum 1, in `like`'s dtype and device."""
    x = torch.arange(count, dtype=like.dtype, device=like.device) - (count - 1) / 2
    weights = (-(x**2) / (2 * SIGMA_PIXELS**2)).exp()
    return weights / weights.sum()


def blur(maps: Tensor, taps: tuple[int, int], *, stride: int, padding: tuple[int, int]) -> Tensor:
    """Convolve each channel [N, C, H, W] with a Gaussian window; pixels outside the image are zero."""
    channels = maps.shape[1]
    window = torch.outer(*(gaussian(count, like=maps) for count in taps))
    return F.conv2d(maps, window.expand(channels, 1, -1, -1), stride=stride, padding=padding, groups=channels)


def halve(maps: Tensor) -> Tensor:
    """Halve the resolution: [N, C, H, W] to [N, C, ceil(H/2), ceil(W/2)], and commute with symmetries of the square."""
    odd = maps.shape[-2] % 2, maps.shape[-1] % 2
    return blur(maps, (4 + odd[0], 4 + odd[1]), stride=2, padding=(1 + odd[0], 1 + odd[1]))


def disc(size: int, *, margin: float = 0.01, device: torch.device | str | None = None) -> Tensor:
    """Return weights [size, size] that are 1 in the inscribed disc and fall smoothly to 0 outside it.

    Args:
        size: Edge length in pixels.
        margin: Fraction of the radius that is left out at the rim. The formula is that of the libraries' MaskModule,
            which takes it in per cent.
        device: Device of the weights, which computes them: a CUDA graph holds no copy from the processor.
    """
    exact = torch.float32 if device is not None and torch.device(device).type == "mps" else torch.float64
    x = torch.arange(size, dtype=exact, device=device) - (size - 1) / 2
    radius_squared = x[:, None] ** 2 + x**2
    rim_squared = ((1 - margin) * (size - 1) / 2) ** 2
    return ((rim_squared - radius_squared) / 4).clamp(max=0).exp().float()
