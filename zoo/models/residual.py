"""Residual of an image after its reconstruction, in units of its noise: loss and anomaly score of reconstructions."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from zoo.errors import UsageError

KINDS = ("chi_square", "mean_square")
SMALLEST_NOISE = 1e-4
"""Smallest noise of a pixel, as a share of the image's standard deviation: images without noise stay finite."""

_MAD_TO_SIGMA = 1.4826  # of a Gaussian
_BENT = 6.0  # noise of a second difference along both axes, of pixels with noise 1: sqrt(6) for each axis
_RATE = 10.0  # so that a learning rate which suits weights moves the photon noise by a factor in a hundred steps
_FIRST_GAIN = 1e-2


@runtime_checkable
class Reconstructs(Protocol):
    """A network that reconstructs images; the page of results shows what it leaves of the most anomalous ones."""

    def residual_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions, and residuals over the noise, both [N, C, H, W], of standardised images."""
        ...


def noise_of(images: Tensor) -> Tensor:
    """Return the noise of the median pixel of each image, in the image's own unit.

    It is the robust rms of second differences along both axes, in which the sky's level and the slope of smooth light
    vanish (Immerkaer 1996, Computer Vision and Image Understanding 64, 300). It does not change when an image is turned
    or mirrored.

    Args:
        images: [N, C, H, W], of at least 3 x 3 pixels.

    Returns:
        [N].
    """
    bent = images.detach()
    for axis in (-1, -2):
        size = bent.shape[axis]
        left, middle, right = (bent.narrow(axis, start, size - 2) for start in range(3))
        bent = left - 2 * middle + right
    bent = bent.flatten(1)
    spread = (bent - bent.median(1, keepdim=True).values).abs().median(1).values
    least = SMALLEST_NOISE * images.detach().flatten(1).std(1) + torch.finfo(images.dtype).tiny ** 0.25
    return torch.maximum(_MAD_TO_SIGMA / _BENT * spread, least)


class Residual(nn.Module):
    """Compare images with their reconstructions: a loss for training, and a score for each image.

    The chi square of a pixel is its squared residual over its variance. The variance is that of the image's
    median pixel (`noise_of`) and one in proportion to the reconstructed light beyond it, whose factor is a parameter:
    photon noise, and the errors of reconstructions, which are largest where there is light. The
    loss is the negative log-likelihood of Gaussian noise with this variance, from which the factor is learnt, and the
    score is the mean chi square. Neither changes where images have other units, up to the parameter.

    Args:
        kind: "chi_square", or "mean_square", the mean squared difference of pixels without regard to their noise,
            which is both loss and score.
    """

    def __init__(self, kind: str = "chi_square") -> None:
        super().__init__()
        if kind not in KINDS:
            raise UsageError(f"residual={kind!r} must be one of {', '.join(KINDS)}.")
        self.kind = kind
        self.log_gain = nn.Parameter(torch.zeros(())) if kind == "chi_square" else None
        self.set_gain(_FIRST_GAIN)

    @torch.no_grad()
    def set_gain(self, gain: float) -> None:
        """Set the factor of the photon noise: variance of a pixel per unit of light; mean squares have none."""
        if self.log_gain is not None:
            self.log_gain.fill_(math.log(gain) / _RATE)

    def loss(self, images: Tensor, reconstructed: Tensor) -> Tensor:
        """Return the mean over images and pixels of the negative log-likelihood, or of the squared difference."""
        squared, variance = self._squared(images, reconstructed)
        if variance is None:
            return squared.mean()
        return (squared / variance + variance.log()).mean() / 2

    def forward(self, images: Tensor, reconstructed: Tensor) -> Tensor:
        """Return the score [N] of images [N, C, H, W]."""
        squared, variance = self._squared(images, reconstructed)
        return (squared if variance is None else squared / variance).flatten(1).mean(1)

    def over_noise(self, images: Tensor, reconstructed: Tensor) -> Tensor:
        """Return the residual of each pixel [N, C, H, W] in units of its noise, for pictures."""
        _, variance = self._squared(images, reconstructed)
        noise = noise_of(images)[:, None, None, None] if variance is None else variance.sqrt()
        return (images - reconstructed.to(images.dtype)) / noise

    def _squared(self, images: Tensor, reconstructed: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return squared residuals and variances of the pixels, in the precision of the images and not of autocast."""
        reconstructed = reconstructed.to(images.dtype)
        squared = (images - reconstructed) ** 2
        if self.log_gain is None:
            return squared, None
        # Detached: brighter light would otherwise be the cheapest way to explain a residual.
        light = reconstructed.detach()
        middle = images.flatten(1).median(1).values[:, None, None, None]
        gain = (_RATE * self.log_gain).exp().to(images.dtype)
        return squared, noise_of(images)[:, None, None, None] ** 2 + gain * (light - middle).clamp_min(0)
