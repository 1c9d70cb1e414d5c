"""Detector of images unlike the training images: what no class describes, such as a galaxy without a lens.

It is the Mahalanobis distance of an image's scalars (`zoo.scores.scalars`) from those of the training images, with
quantiles of the distances of the validation images. It sees the image itself and not the features of a network, so it
does not change a network's answers, and it is fitted after the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.data.split import Split
from zoo.errors import DataError
from zoo.models.trained import share_below
from zoo.scores.scalars import NAMES, scalars_of
from zoo.scores.stats import Array

QUANTILES = 1001
"""Quantiles of the distances of validation images: a thousandth of them lies above the last but one."""
UNLIKE = 0.999
"""Share of validation images below the distance of an image that is called unlike the training images."""
TRAIN_IMAGES, VAL_IMAGES = 2048, 4096
LARGEST = 1e30
_BATCH = 256
_LEAST_SHRINKAGE = 0.01  # of the correlations towards none, so that equal scalars have an inverse


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Mean, spread and correlation of the scalars of training images, and distances of validation images.

    Args:
        middle: [F] median of each scalar.
        scale: [F] inverse of its spread; 0 for a scalar that is the same for all images.
        whitening: [F, F] of the standardised scalars.
        quantiles: [Q] of the distances of validation images, at equal steps from 0 to 1.
    """

    middle: Array
    scale: Array
    whitening: Array
    quantiles: Array

    def tensors(self) -> dict[str, Tensor]:
        """Return what a weights file keeps."""
        return {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in self.__dataclass_fields__}

    def __post_init__(self) -> None:
        count = len(self.middle)
        expected = (count,), (count,), (count, count)
        if (self.middle.shape, self.scale.shape, self.whitening.shape) != expected or count != len(NAMES):
            raise DataError(f"The detector has {count} scalars; those of an image are {len(NAMES)}.")
        if self.quantiles.ndim != 1 or len(self.quantiles) < 2:
            raise DataError("The detector has no quantiles of validation images.")

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Detector | None:
        """Return the detector of a weights file; None for a file without one.

        Raises:
            DataError: The tensors do not fit together, or belong to another list of scalars.
        """
        names = cls.__dataclass_fields__
        if not names.keys() <= tensors.keys():
            return None
        return cls(**{name: tensors[name].double().numpy() for name in names})

    def distances(self, images: NDArray[np.float32]) -> Array:
        """Return the distance [N] of raw images [N, C, H, W] from the training images."""
        return _distances(_scalars(images), self.middle, self.scale, self.whitening)

    def share_below(self, images: NDArray[np.float32]) -> Array:
        """Return the share of validation images that are closer to the training images, [N], of raw images."""
        return share_below(self.quantiles.tolist(), self.distances(images))


def fit_detector(train: Split, val: Split, *, channels: int, device: torch.device | str = "cpu") -> Detector:
    """Fit a detector to the first training images, and compare the first validation images with it.

    Args:
        train, val: Images; of training images that change, those of the last phase.
        channels: Channels of an image that are not derived from others.
        device: Device that computes the scalars.
    """
    scalars = _scalars_of(train, most=TRAIN_IMAGES, channels=channels, device=device)
    middle = np.median(scalars, 0)
    spread = np.maximum(np.quantile(np.abs(scalars - middle), 0.68, axis=0), 1e-3 * scalars.std(0))
    varies = spread > 1e-9 * np.abs(middle) + 1e-30
    scale = np.where(varies, 1 / np.where(varies, spread, 1), 0)
    standard = _standardised(scalars, middle, scale)
    count, columns = standard.shape
    share = min(1.0, max(_LEAST_SHRINKAGE, columns / count))
    covariance = standard.T @ standard / count
    spreads = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    shrunk = (1 - share) * covariance + share * np.diag(spreads**2)
    # The inverse of the triangular root: unlike eigenvectors, it has no sign of its own.
    whitening = np.linalg.inv(np.linalg.cholesky(shrunk)).T
    known = _scalars_of(val, most=VAL_IMAGES, channels=channels, device=device)
    distances = _distances(known, middle, scale, whitening)
    quantiles = np.quantile(distances, np.linspace(0, 1, QUANTILES))
    return Detector(middle=middle, scale=scale, whitening=whitening, quantiles=quantiles)


def _scalars_of(split: Split, *, most: int, channels: int, device: torch.device | str) -> Array:
    count = min(len(split), most)
    places = [np.arange(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]
    return np.concatenate([_scalars(split.images_at(some)[:, :channels], device) for some in places])


def _scalars(images: NDArray[np.float32], device: torch.device | str = "cpu") -> Array:
    """Return the scalars [N, F] of raw images."""
    with torch.inference_mode():
        parts = torch.as_tensor(images).split(_BATCH)
        found = [scalars_of(part.to(device)).double().cpu().numpy() for part in parts]
    # Of two pixels without noise a ratio may be so large that its square is infinite.
    return np.clip(np.concatenate(found), -LARGEST, LARGEST) if found else np.zeros((0, len(NAMES)))


def _standardised(scalars: Array, middle: Array, scale: Array) -> Array:
    """Return scalars in units of their spread; far ones by their logarithm, so that rare images do not widen it."""
    return np.arcsinh((scalars - middle) * scale)


def _distances(scalars: Array, middle: Array, scale: Array, whitening: Array) -> Array:
    return np.asarray(((_standardised(scalars, middle, scale) @ whitening) ** 2).mean(1))
