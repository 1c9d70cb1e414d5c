"""Multinomial logistic regression, on scalars of the image and on principal components of its pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.own_fit import SplitsToFit
from zoo.scores.scalars import NAMES, scalars_of
from zoo_baselines.columns import (
    checked_most,
    columns_of,
    first_images,
    images_to_fit,
    mean_and_inverse,
    standardised,
)


class Linear(nn.Module):
    """Standardise columns, and apply a linear map.

    Args:
        columns: Number of columns.
        classes: K.
        strength: Inverse of the regularisation, scikit-learn's C.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, columns: int, classes: int, *, strength: float) -> None:
        super().__init__()
        if not strength > 0:
            raise UsageError(f"strength={strength!r} must be a positive number.")
        self.strength = strength
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))
        self.weight = nn.Parameter(torch.zeros(classes, columns), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(classes), requires_grad=False)

    def forward(self, columns: Tensor) -> Tensor:
        """Return logits [n, K] in float64 of columns [n, F]."""
        return self._standardised(columns) @ self.weight.double().T + self.bias.double()

    def fit(self, columns: Tensor, labels: Tensor) -> None:
        """Fit the map to columns [n, F] and labels [n]."""
        from sklearn.linear_model import LogisticRegression

        mean, inverse = mean_and_inverse(columns)
        self.mean.copy_(mean)
        self.scale.copy_(inverse)
        model = LogisticRegression(C=self.strength, max_iter=2000)
        model.fit(self._standardised(columns).cpu().numpy(), labels.cpu().numpy())
        weight, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
        if len(weight) == 1:  # two classes: the logit of the second
            weight, bias = (torch.cat([-one / 2, one / 2]) for one in (weight, bias))
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def _standardised(self, columns: Tensor) -> Tensor:
        return standardised(columns, self.mean, self.scale)


class ScalarsLinear(nn.Module):
    """Logistic regression on the scalars.

    Args:
        classes: K.
        strength: Inverse of the regularisation.
        most_images: Largest number of training images.
    """

    def __init__(self, classes: int, *, strength: float, most_images: int) -> None:
        super().__init__()
        self.most_images = checked_most(most_images)
        self.linear = Linear(len(NAMES), classes, strength=strength)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [n, K] of images [n, C, H, W]."""
        logits: Tensor = self.linear(scalars_of(images))
        return logits.float()

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit to the training images."""
        self.linear.fit(*columns_of(scalars_of, splits, most=self.most_images))


class PrincipalComponents(nn.Module):
    """Logistic regression on principal components.

    Args:
        pixels: Pixels of an image, over all channels.
        classes: K.
        components: Number of components; with fewer images or pixels, the others stay 0.
        strength: Inverse of the regularisation.
        most_images: Largest number of training images.
    """

    centre: Tensor

    def __init__(self, pixels: int, classes: int, *, components: int, strength: float, most_images: int) -> None:
        super().__init__()
        if type(components) is not int or not 1 <= components <= 4096:
            raise UsageError(f"components={components!r} must be a whole number from 1 to 4096.")
        self.most_images = checked_most(most_images)
        self.register_buffer("centre", torch.zeros(pixels))
        self.components = nn.Parameter(torch.zeros(components, pixels), requires_grad=False)
        self.linear = Linear(components, classes, strength=strength)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [n, K] of images [n, C, H, W]."""
        logits: Tensor = self.linear(self._scores(images))
        return logits.float()

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit components and map to the training images."""
        from sklearn.decomposition import PCA

        # The only copy of the images in memory: it is filled batch by batch, and centred in place.
        total, done = images_to_fit(splits.train, most=self.most_images), 0
        pixels = np.empty((total, len(self.centre)), np.float32)
        for images, _ in first_images(splits.train, most=self.most_images):
            pixels[done : done + len(images)] = images.flatten(1).cpu().numpy()
            done += len(images)
        count = min(len(self.components), *pixels.shape)
        splits.progress(0, 3, "principal components")
        found = PCA(count, svd_solver="randomized", random_state=splits.seed, copy=False).fit(pixels)
        del pixels
        splits.progress(1, 3, "principal components")
        self.centre.copy_(torch.from_numpy(found.mean_))
        self.components.zero_()
        self.components[:count] = torch.from_numpy(found.components_)
        columns, labels = columns_of(self._scores, splits, most=self.most_images)
        self.linear.fit(columns, labels)

    def _scores(self, images: Tensor) -> Tensor:
        """Return [n, components] in float64, which autocast leaves as it is."""
        return (images.flatten(1).double() - self.centre.double()) @ self.components.double().T


def scalars_linear(
    *, in_chans: int, num_classes: int, image_size: int, strength: float, most_images: int
) -> ScalarsLinear:
    """Return a logistic regression on the scalars."""
    return ScalarsLinear(num_classes, strength=strength, most_images=most_images)


def pca_linear(
    *, in_chans: int, num_classes: int, image_size: int, components: int, strength: float, most_images: int
) -> PrincipalComponents:
    """Return a logistic regression on principal components of the pixels."""
    return PrincipalComponents(
        in_chans * image_size**2, num_classes, components=components, strength=strength, most_images=most_images
    )
