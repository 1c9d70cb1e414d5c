"""Down-sampling by two that commutes with p4m exactly, for odd and for even image sizes.

Means: the window is two pixels wide in both cases. An even line of pixels is divided into pairs, with weights
(1/2, 1/2). An odd line cannot be divided into pairs symmetrically, so the window is centred on the pixels 0, 2, 4, ...
and includes half of each neighbour, (1/4, 1/2, 1/4). Both windows are unchanged when the line is reversed; a fixed
stride would sample other pixels of the mirrored line. The window also damps frequencies that the coarser grid cannot
represent (Zhang 2019, arXiv:1904.11486), and it passes the same frequencies at odd and even sizes.

Strides: the grid of every second pixel of an odd line, 0, 2, ..., is unchanged by a mirror. On an even line a mirror
exchanges 0, 2, 4, ... and 1, 3, 5, ... So each group element samples its own grid, which is the identity's grid moved
by the element. The map of element r is then the planar stride of L_r^-1 f, transformed by L_r:
s_r = L_r s(L_r^-1 f), and s(L_g f) has at element r the map L_r s(L_{g^-1 r}^-1 f) = L_g s_{g^-1 r}: the group only
permutes and transforms the maps, as in every other layer. This is the stride of a planar network, lifted to the group.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_gconv.groups import PointGroup


def window(size: int, *, like: Tensor) -> Tensor:
    """Return the weights, [2] or [3], of the window for a line of `size` pixels, in `like`'s dtype and device."""
    pair = like.new_full((2,), 0.5)  # filled on the device: a list would be copied to it, which waits for a GPU
    return pair if size % 2 == 0 else torch.cat([pair[:1] / 2, pair[:1], pair[:1] / 2])


def downsample(maps: Tensor) -> Tensor:
    """Halve the resolution: [N, C, H, W] to [N, C, ceil(H/2), ceil(W/2)]. Pixels outside the image are zero."""
    odd = maps.shape[-2] % 2, maps.shape[-1] % 2
    if any(odd):
        # A mean over pairs before the mean over pairs below makes (1/4, 1/2, 1/4).
        maps = F.avg_pool2d(maps, (1 + odd[0], 1 + odd[1]), stride=1, padding=odd)
    return F.avg_pool2d(maps, 2)


def blur_bank(bank: Tensor, image_shape: Sequence[int]) -> tuple[Tensor, tuple[int, int]]:
    """Fold the window into a filter bank: conv2d with the result at stride 2 equals convolution followed by the mean.

    Args:
        bank: Filter bank [O, I, k, k].
        image_shape: Height and width of the maps that will be convolved.

    Returns:
        The bank [O, I, k + 1 or 2, k + 1 or 2], and the padding (rows, columns) beyond k // 2 that it needs.
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


def shift_bank(bank: Tensor, group: PointGroup, image_shape: Sequence[int]) -> Tensor:
    """Move each element's filters onto its own grid: conv2d with the result at stride 2 samples that grid.

    Args:
        bank: Filter bank [C_out*|G|, I, k, k], with row o*|G| + r for element r.
        group: Group G.
        image_shape: Height and width of the maps that will be convolved.

    Returns:
        The bank [C_out*|G|, I, k or k + 1, k or k + 1], one larger along an axis of even length. The padding is that of
        `bank`.
    """
    even = [1 - size % 2 for size in image_shape]
    if not any(even):
        return bank
    filters = bank.unflatten(0, (-1, group.order)).unbind(1)
    shifted = []
    for element, filter_of_element in enumerate(filters):
        row, column = (offset * on for offset, on in zip(group.grid_offset(element), even, strict=True))
        shifted.append(F.pad(filter_of_element, (column, even[1] - column, row, even[0] - row)))
    return torch.stack(shifted, 1).flatten(0, 1)


def group_max_pool(maps: Tensor, group: PointGroup) -> Tensor:
    """Take the maximum of 3x3 windows around every second pixel of each element's own grid.

    This is `max_pool2d(maps, 3, stride=2, padding=1)`, the pooling in the stem of a ResNet, lifted to the group.

    Args:
        maps: Maps [N, C*|G|, H, W].
        group: Group G.

    Returns:
        Maps [N, C*|G|, ceil(H/2), ceil(W/2)].
    """
    even = [1 - size % 2 for size in maps.shape[-2:]]
    if not any(even):
        return F.max_pool2d(maps, 3, stride=2, padding=1)
    pooled = []
    for element, of_element in enumerate(maps.unflatten(1, (-1, group.order)).unbind(2)):
        row, column = (offset * on for offset, on in zip(group.grid_offset(element), even, strict=True))
        # An odd axis is padded on both sides, an even one on the side opposite to the start of the grid.
        padding = (1 - column, column if even[1] else 1, 1 - row, row if even[0] else 1)
        pooled.append(F.max_pool2d(F.pad(of_element, padding, value=-torch.inf), 3, stride=2))
    return torch.stack(pooled, 2).flatten(1, 2)


def max_pool(maps: Tensor) -> Tensor:
    """Take the maximum of the windows of `downsample`: pairs of an even line, triples 0, 2, 4, ... of an odd one.

    Args:
        maps: Maps [N, C, H, W].

    Returns:
        Maps [N, C, ceil(H/2), ceil(W/2)].
    """
    odd = maps.shape[-2] % 2, maps.shape[-1] % 2
    return F.max_pool2d(maps, (2 + odd[0], 2 + odd[1]), stride=2, padding=odd)


def upsample(maps: Tensor, image_shape: Sequence[int]) -> Tensor:
    """Double the resolution by the nearest neighbour, so that it commutes with p4m: the counterpart of `downsample`.

    Pixels of an even line repeat the pixel of their pair. On an odd line the pixels 0, 2, 4, ... repeat one pixel, and
    those between have two nearest neighbours, of which they take the mean; one of the two would be another one in the
    mirrored line.

    Args:
        maps: Maps [N, C, ceil(H/2), ceil(W/2)].
        image_shape: H and W.

    Returns:
        Maps [N, C, H, W].
    """
    halves = [(size + 1) // 2 for size in image_shape]
    if list(maps.shape[-2:]) != halves:
        raise ValueError(f"maps of {tuple(maps.shape[-2:])} pixels are not half of {tuple(image_shape)}, rounded up")
    maps = maps.repeat_interleave(2, -2).repeat_interleave(2, -1)
    odd = image_shape[0] % 2, image_shape[1] % 2
    return F.avg_pool2d(maps, (1 + odd[0], 1 + odd[1]), stride=1) if any(odd) else maps
