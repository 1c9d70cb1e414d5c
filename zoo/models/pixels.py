"""Brightness and noise of images. A network is reliable only on images like its training images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zoo.data.split import Split
from zoo.errors import DataError
from zoo.models.about import Pixels, Quantiles

SAMPLE = 512
QUANTILES = (0.01, 0.5, 0.99)
FAR = 3.0
"""Factor above or below nearly all training images that is far outside them."""

FAR_CORNER = 0.25
"""Distance of a level of the darkest corner from nearly all training images, in units of the noise, that is far."""
FAR_SHARE = 1 / 3
"""As `FAR_CORNER`, in units of the range of nearly all training images, where that is more."""

_CORNER = 1 / 16  # width of a corner over that of the image
_MAD_TO_SIGMA = 1.4826  # of a Gaussian


def peak_and_noise(images: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the brightest pixel and the noise of each image.

    The noise is the robust rms of second differences along the rows over sqrt(6), which is that of independent
    pixels: the sky's level and the slope of smooth light drop out of it.

    Args:
        images: [n, C, H, W].

    Returns:
        [n] each, in the images' unit.
    """
    peak = images.max(axis=(1, 2, 3)).astype(np.float64)
    if images.shape[3] < 3:
        return peak, np.zeros(len(images))
    bends = np.diff(images.astype(np.float64), n=2, axis=3).reshape(len(images), -1)
    centred = np.abs(bends - np.median(bends, axis=1, keepdims=True))
    return peak, _MAD_TO_SIGMA * np.median(centred, axis=1) / np.sqrt(6)


def corner_level(images: NDArray[np.float32], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the level of the darkest corner of each image over its noise, which a sky that was not subtracted raises.

    Args:
        images: [n, C, H, W].
        noise: [n] from `peak_and_noise`.

    Returns:
        Lowest of the means of the corners, without those of equal pixels, which are masks and padding; NaN where all
        are, or an image has no noise. [n].
    """
    height, width = (max(2, int(size * _CORNER)) for size in images.shape[2:])
    rows, columns = (slice(height), slice(-height, None)), (slice(width), slice(-width, None))
    corners = [images[:, :, row, column].reshape(len(images), -1) for row in rows for column in columns]
    means = [np.where(np.ptp(each, axis=1) > 0, each.mean(axis=1, dtype=np.float64), np.nan) for each in corners]
    darkest: NDArray[np.float64] = np.fmin.reduce(means)
    level: NDArray[np.float64] = np.divide(darkest, noise, out=np.full(len(images), np.nan), where=noise > 0)
    return level


def normalisation(split: Split, *, data: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel of training images; a constant channel has a tiny one.

    Args:
        split: Training images.
        data: Name of the data set for an error.

    Raises:
        DataError: A pixel is not finite, or all are equal.
    """
    mean, deviation = split.moments()
    if not (np.isfinite(mean).all() and np.isfinite(deviation).all()):
        raise DataError(f"{data}: the training images hold values that are not finite.")
    if not deviation.any():
        raise DataError(f"{data}: all pixels of all training images are {mean[0]:g}; a network cannot learn from them.")
    return mean, np.maximum(deviation, 1e-12)


def summary(images: NDArray[np.float32]) -> Pixels:
    """Return the quantiles 0.01, 0.5 and 0.99 of brightest pixel, noise and darkest corner of training images.

    Args:
        images: [n, C, H, W].
    """
    peak, noise = peak_and_noise(images)
    corners = corner_level(images, noise)
    corners = corners[~np.isnan(corners)]
    corner = _quantiles(corners) if len(corners) else None
    return Pixels(peak=_quantiles(peak), noise=_quantiles(noise), images=len(images), corner=corner)


def _quantiles(values: NDArray[np.float64]) -> Quantiles:
    low, middle, high = np.quantile(values, QUANTILES).tolist()
    return low, middle, high


def far_outside(values: NDArray[np.float64], quantiles: Sequence[float]) -> NDArray[np.bool_]:
    """Return which values [n] are `FAR` times above or below nearly all of those that the quantiles describe."""
    low, _, high = quantiles
    return (values < low / FAR) | (values > high * FAR)


def far_level(levels: NDArray[np.float64], quantiles: Sequence[float] | None) -> NDArray[np.bool_]:
    """Return which levels [n] are far above or below nearly all of those that the quantiles describe."""
    if quantiles is None:  # weights of earlier versions
        return np.zeros(len(levels), dtype=bool)
    low, _, high = quantiles
    margin = max(FAR_CORNER, FAR_SHARE * (high - low))
    return (levels < low - margin) | (levels > high + margin)
