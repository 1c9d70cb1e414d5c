"""Rotations of images, all in one sense: positive angles turn the content counter-clockwise, with row 0 at the bottom.

`zoo.lensing` counts angles in this sense, and pictures are drawn with `origin="lower"`. Drawn with row 0 at the top,
the same rotation is clockwise; `torch.rot90(images, k)` rotates by -k quarter turns in this sense.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def rotate_quarters(images: Tensor, quarters: int) -> Tensor:
    """Return images [..., H, W] rotated by a number of quarter turns, which moves pixels and interpolates nothing."""
    return torch.rot90(images, -quarters, (-2, -1))


def transform_d4(images: Tensor, element: int) -> Tensor:
    """Return images under element 0 to 7 of D4: rotated by -(element % 4) quarter turns, then mirrored from 4 on."""
    rotated = rotate_quarters(images, -(element % 4))
    return rotated.flip(-1) if element >= 4 else rotated


def inverse_rotation(angle: float | Tensor) -> Tensor:
    """Return the matrix [..., 2, 2] that takes (x, y) of a pixel in the rotated image to its place in the original.

    Args:
        angle: Angle in radians, one number or a tensor [...].
    """
    if isinstance(angle, Tensor):
        cos, sin = angle.cos(), angle.sin()
    else:
        cos, sin = (torch.tensor(value, dtype=torch.float64) for value in (math.cos(angle), math.sin(angle)))
    return torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)


def rotate(
    images: Tensor,
    angle: float | Tensor,
    *,
    mirrored: Tensor | None = None,
    interpolation: str = "bilinear",
    padding: str = "zeros",
) -> Tensor:
    """Return images [N, C, H, W] rotated about their centre by interpolation between pixels.

    Args:
        images: Square images.
        angle: Angle in radians, one number or one for each image [N].
        mirrored: Factor of each image [N]: -1 to mirror left and right after the rotation, or 1; None mirrors none.
        interpolation: "bilinear" or "bicubic".
        padding: "zeros", or "border" to repeat the pixels at the edge.
    """
    matrix = inverse_rotation(angle).expand(len(images), 2, 2)
    if mirrored is not None:
        matrix = torch.stack([matrix[..., 0] * mirrored[:, None], matrix[..., 1]], -1)
    grid = F.affine_grid(F.pad(matrix, (0, 1)).to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode=padding, align_corners=False)


def rotate_smooth(images: Tensor, angle_degrees: float) -> Tensor:
    """Return smooth images [N, C, H, W] rotated about their centre, nearly without interpolation error.

    Quarter turns move pixels; what is left is made of three shears, each a shift of lines by Fourier's theorem (Larkin,
    Oldenburg & Klemm 1997): nearly exact for images that are band-limited and zero near the frame.

    Args:
        images: Square images.
        angle_degrees: Angle in degrees.
    """
    quarters = round(angle_degrees / 90)
    angle = math.radians(angle_degrees - 90 * quarters)
    rotated = rotate_quarters(images, quarters)
    if not angle:
        return rotated
    size = rotated.shape[-1]
    # Sheared lines leave the frame, and would come in again at the other side.
    margin = (size + 1) // 2
    rotated = F.pad(rotated, (margin,) * 4)
    for factor, dimension in ((math.tan(angle / 2), -1), (-math.sin(angle), -2), (math.tan(angle / 2), -1)):
        rotated = _shear(rotated, factor, dimension)
    return rotated[..., margin : margin + size, margin : margin + size].contiguous()


def _shear(images: Tensor, factor: float, dimension: int) -> Tensor:
    """Shift each line along a dimension, -1 or -2, by `factor` pixels for each pixel between it and the centre."""
    if dimension == -2:
        return _shear(images.mT, factor, -1).mT
    height, width = images.shape[-2:]
    shift = factor * (torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2)
    phase = 2 * math.pi * torch.fft.rfftfreq(width, device=images.device).to(images.dtype) * shift[:, None]
    sheared: Tensor = torch.fft.irfft(torch.fft.rfft(images) * torch.polar(torch.ones_like(phase), phase), n=width)
    return sheared
