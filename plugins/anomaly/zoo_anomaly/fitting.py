"""First training images, a normal distribution and photon noise, for the methods that fit themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.own_fit import ImagesToFit, SplitsToFit
from zoo.models.residual import Residual, noise_of

BATCH = 256


def check_most_images(most: int) -> None:
    """Check the largest number of training images.

    Raises:
        UsageError: It is not a whole number above 1.
    """
    if type(most) is not int or most < 2:
        raise UsageError(f"most_images={most!r} must be a whole number, at least 2.")


def first_images(split: ImagesToFit, *, most: int) -> Iterator[Tensor]:
    """Yield the first `most` images of a split, or all, in batches [n, C, H, W].

    Raises:
        UsageError: `most` is not a whole number above 1, or the device has no float64.
    """
    check_most_images(most)
    if split.labels.device.type == "mps":
        raise UsageError("These methods compute in float64, which MPS does not have.", hint="Use --device cpu")
    left = most
    for images, _ in split.batches(BATCH):
        yield images[:left]
        left -= len(images)
        if left <= 0:
            return


def first_pixels(split: ImagesToFit, *, most: int) -> NDArray[np.float32]:
    """Return the pixels [n, C*H*W] of the first images: the only copy of them in memory."""
    pixels = np.empty((min(most, len(split)), int(np.prod(split.image_shape))), np.float32)
    done = 0
    for images in first_images(split, most=most):
        pixels[done : done + len(images)] = images.flatten(1).cpu().numpy()
        done += len(images)
    return pixels


@torch.no_grad()
def columns_of(
    columns: Callable[[Tensor], Tensor], splits: SplitsToFit, *, most: int, what: str
) -> NDArray[np.float64]:
    """Return numbers [n, F] of the first training images; `what` names them for the progress."""
    total, done, found = min(most, len(splits.train)), 0, []
    for images in first_images(splits.train, most=most):
        found.append(columns(images).double().cpu().numpy())
        done += len(images)
        splits.progress(done, total, what)
    return np.concatenate(found)


class Gaussian(nn.Module):
    """A normal distribution of columns, and the squared Mahalanobis distance from it.

    Its covariance is shrunk by Ledoit & Wolf 2004, Journal of Multivariate Analysis 88, 365.

    Args:
        columns: F.
        farthest: Largest distance of a column from its mean, in standard deviations, so that scores stay finite.
    """

    mean: Tensor
    scale: Tensor
    whitening: Tensor

    def __init__(self, columns: int, *, farthest: float = 1e6) -> None:
        super().__init__()
        self.farthest = farthest
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))
        self.register_buffer("whitening", torch.eye(columns))

    def forward(self, columns: Tensor) -> Tensor:
        """Return the squared distance [n] over F, float32, of columns [n, F]."""
        standard = (columns.double() - self.mean.double()) * self.scale.double()
        standard = standard.clamp(-self.farthest, self.farthest)
        return ((standard @ self.whitening.double()) ** 2).mean(1).float()

    def fit(self, columns: NDArray[np.float64]) -> None:
        """Fit to columns [n, F]; a constant column does not count."""
        from sklearn.covariance import LedoitWolf

        mean, deviation = columns.mean(0), columns.std(0)
        constant = deviation <= 1e-6 * np.abs(mean) + 1e-30
        scale = np.where(constant, 0, 1 / np.where(constant, 1, deviation))
        covariance = LedoitWolf(assume_centered=True).fit((columns - mean) * scale).covariance_
        values, vectors = np.linalg.eigh(covariance)
        whitening = vectors / np.sqrt(np.maximum(values, 1e-12))
        for buffer, value in ((self.mean, mean), (self.scale, scale), (self.whitening, whitening)):
            buffer.copy_(torch.from_numpy(value))


@torch.no_grad()
def fit_photon_noise(residual: Residual, images: Tensor, reconstructed: Tensor) -> None:
    """Set the photon noise of a residual to the most likely value, to a tenth of a decade; mean squares have none."""
    if residual.log_gain is None:
        return
    # In units of an image's own noise squared over its own brightness: the light's unit is not known.
    unit = float((noise_of(images) ** 2 / images.flatten(1).std(1).clamp_min(1e-30)).median().clamp_min(1e-30))
    gains = [unit * 10 ** (power / 10) for power in range(-40, 41)]
    losses = []
    for gain in gains:
        residual.set_gain(gain)
        losses.append(float(residual.loss(images, reconstructed)))
    residual.set_gain(gains[int(np.nanargmin(losses))])
