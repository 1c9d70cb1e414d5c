"""Brings an image to the pixel scale and size of the training images. Flux is conserved; nothing is sharpened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME_SCALE = 1e-3
"""Relative difference of pixel scales that is not worth an interpolation: 0.15 pixels at the edge of 150."""


LEAST_SHARE = 1e-6
"""Least share of an old pixel that a new one takes; less is the rounding of the pixel scales."""


def seen_part(shape: tuple[int, ...], *, size: int, zoom: float = 1.0) -> tuple[slice, slice]:
    """Return the rows and columns of an image that `resample_image` uses; all others can hold any values.

    Args:
        shape: Shape of the image; H and W come last.
        size: H and W of the result.
        zoom: Side of a new pixel over that of an old one.
    """
    rows, columns = (_axis(length, size, zoom)[0] for length in shape[-2:])
    return rows, columns


def resample_image(image: NDArray[Any], *, size: int, zoom: float = 1.0) -> tuple[NDArray[np.float32], float]:
    """Return the image around its centre, resampled and cropped or padded, and the share of it that is padding.

    Counts per pixel grow with a pixel's area, as they would in a camera with such pixels: values are integrated
    over the new pixels. Padding has the median of the image's own border, which keeps a sky that is not subtracted.

    Args:
        image: [C, H, W] of any type of number; only the part that is used is read and converted.
        size: H and W of the result.
        zoom: Side of a new pixel over that of an old one.

    Returns:
        [C, size, size], and a share from 0 to 1.
    """
    sky = _sky(image)
    (rows, down), (columns, across) = (_axis(length, size, zoom) for length in image.shape[1:])
    part = np.array(image[:, rows, columns], dtype=np.float32)
    if abs(zoom - 1) <= SAME_SCALE:
        return _padded(part, size, sky)
    # What is left of the sky after subtraction counts as the image's; padding brings in none.
    result = np.einsum("ij,cjk,lk->cil", down, part - sky, across, optimize=True) + sky * zoom**2
    inside = np.outer(down.sum(1), across.sum(1)) / zoom**2
    return np.ascontiguousarray(result, dtype=np.float32), float(1 - inside.mean())


def _sky(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return the median of each channel's border [C, 1, 1], without pixels that are not finite."""
    border = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], axis=1).astype(np.float32)
    finite = [channel[np.isfinite(channel)] for channel in border]
    return np.array([np.median(each) if len(each) else 0 for each in finite], dtype=np.float32)[:, None, None]


def _padded(part: NDArray[np.float32], size: int, sky: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    result = np.broadcast_to(sky, (len(part), size, size)).astype(np.float32)
    placed = [slice((size - length) // 2, (size - length) // 2 + length) for length in part.shape[1:]]
    result[:, placed[0], placed[1]] = part
    return result, 1 - part[0].size / size**2


def _axis(length: int, size: int, zoom: float) -> tuple[slice, NDArray[np.float64]]:
    """Return the old pixels that lie in the new ones along an axis, and how much of each [size, n] lies in each.

    Both are centred on the same point. Old pixels are taken to be uniform where the new ones are larger. Where they
    are smaller, the light between old pixel centres is interpolated linearly, which keeps the sum and shows no blocks.
    """
    if abs(zoom - 1) <= SAME_SCALE:
        start, count = max(0, (length - size) // 2), min(length, size)
        return slice(start, start + count), np.eye(0)
    half = size / 2 * zoom
    first, last = max(0, int(length / 2 - half) - 2), min(length, int(length / 2 + half) + 3)
    edges = (np.arange(size + 1) - size / 2) * zoom + length / 2
    pixels = np.arange(first, last)
    if zoom >= 1:
        cumulative = np.clip(edges[:, None] - pixels, 0, 1)
    else:
        # The integral of a triangle of width 2 around each pixel's centre, up to each edge.
        distance = np.clip(edges[:, None] - (pixels + 0.5), -1, 1)
        cumulative = 0.5 + distance - 0.5 * np.sign(distance) * distance**2
    overlap: NDArray[np.float64] = np.diff(cumulative, axis=0)
    used = np.flatnonzero(overlap.max(axis=0) > LEAST_SHARE)
    start, stop = int(used[0]), int(used[-1]) + 1
    return slice(first + start, first + stop), overlap[:, start:stop]
