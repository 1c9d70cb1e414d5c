"""Brings an image to the pixel scale and size of the training images. Flux is conserved; nothing is sharpened."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAME_SCALE = 1e-3
"""Relative difference of pixel scales that is not worth an interpolation: 0.15 pixels at the edge of 150."""


def resample_image(image: NDArray[np.float32], *, size: int, zoom: float = 1.0) -> tuple[NDArray[np.float32], float]:
    """Return the image around its centre, resampled and cropped or padded, and the share of it that is padding.

    Counts per pixel grow with a pixel's area, as they would in a camera with such pixels: values are integrated
    over the new pixels. Padding has the median of the image's own border, which keeps a sky that is not subtracted.

    Args:
        image: [C, H, W].
        size: H and W of the result.
        zoom: side of a new pixel over that of an old one.

    Returns:
        [C, size, size], and a share from 0 to 1.
    """
    border = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], axis=1)
    sky = np.median(border, axis=1)[:, None, None]
    if abs(zoom - 1) <= SAME_SCALE:
        return _crop_or_pad(image, size, sky)
    rows, columns = (_overlap(length, size, zoom) for length in image.shape[1:])
    # What is left of the sky after subtraction counts as the image's; padding brings in none.
    result = np.einsum("ij,cjk,lk->cil", rows, image - sky, columns, optimize=True) + sky * zoom**2
    inside = np.outer(rows.sum(1), columns.sum(1)) / zoom**2
    return np.ascontiguousarray(result, dtype=np.float32), float(1 - inside.mean())


def _crop_or_pad(image: NDArray[np.float32], size: int, sky: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    result = np.broadcast_to(sky, (len(image), size, size)).astype(np.float32)
    taken, placed = [], []
    for length in image.shape[1:]:
        start = max(0, (length - size) // 2)
        count = min(length, size)
        offset = (size - count) // 2
        taken.append(slice(start, start + count))
        placed.append(slice(offset, offset + count))
    result[:, placed[0], placed[1]] = image[:, taken[0], taken[1]]
    filled = (placed[0].stop - placed[0].start) * (placed[1].stop - placed[1].start)
    return result, 1 - filled / size**2


def _overlap(length: int, size: int, zoom: float) -> NDArray[np.float64]:
    """Return [size, length]: how much of each old pixel lies in each new one, with both centred on the same point.

    Old pixels are taken to be uniform where the new ones are larger. Where they are smaller, the light between old
    pixel centres is interpolated linearly, which keeps the sum and shows no blocks.
    """
    edges = (np.arange(size + 1) - size / 2) * zoom + length / 2
    if zoom >= 1:
        cumulative = np.clip(edges[:, None] - np.arange(length), 0, 1)
    else:
        # The integral of a triangle of width 2 around each pixel's centre, up to each edge.
        distance = np.clip(edges[:, None] - (np.arange(length) + 0.5), -1, 1)
        cumulative = 0.5 + distance - 0.5 * np.sign(distance) * distance**2
    overlap: NDArray[np.float64] = np.diff(cumulative, axis=0)
    return overlap
