"""Detectors in closed form: principal components of the pixels, and a normal distribution of scalars of the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.own_fit import ImagesToFit, SplitsToFit
from zoo.models.residual import Residual
from zoo.scores.scalars import NAMES, scalars_of
from zoo_anomaly.fitting import Gaussian, columns_of, first_images, first_pixels, fit_photon_noise

NOISE_IMAGES = 512
"""Number of validation images from which the photon noise is found."""
FARTHEST = 1e3
"""Largest distance of a scalar from its mean, in standard deviations."""


class PrincipalComponents(nn.Module):
    """The mean image and the directions in which training images differ most.

    Args:
        pixels: Pixels of an image, over all channels.
        components: Number of components; with fewer images or pixels, the others stay 0.
        most_images: Largest number of training images.
    """

    centre: Tensor
    variances: Tensor
    rest: Tensor

    def __init__(self, pixels: int, *, components: int, most_images: int) -> None:
        super().__init__()
        if type(components) is not int or not 1 <= components <= 4096:
            raise UsageError(f"components={components!r} must be a whole number from 1 to 4096.")
        self.most_images = most_images
        self.register_buffer("centre", torch.zeros(pixels))
        self.components = nn.Parameter(torch.zeros(components, pixels), requires_grad=False)
        self.register_buffer("variances", torch.ones(components))
        self.register_buffer("rest", torch.ones(()))

    def project(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates [n, components] and reconstructions [n, C, H, W] of images, in float64."""
        centred = images.flatten(1).double() - self.centre.double()
        coordinates = centred @ self.components.double().T
        rebuilt = coordinates @ self.components.double() + self.centre.double()
        return coordinates, rebuilt.view(images.shape)

    def fit(self, splits: SplitsToFit) -> None:
        """Fit to the training images, by a randomised singular value decomposition.

        Source: Halko, Martinsson & Tropp 2011, arXiv:0909.4061.
        """
        from sklearn.decomposition import PCA

        pixels = first_pixels(splits.train, most=self.most_images)
        count = min(len(self.components), *pixels.shape)
        splits.progress(0, 2, "principal components")
        found = PCA(count, svd_solver="randomized", random_state=splits.seed, copy=False).fit(pixels)
        self.centre.copy_(torch.from_numpy(found.mean_))
        self.components.zero_()
        self.components[:count] = torch.from_numpy(found.components_)
        # Of all directions of the pixels; scikit-learn divides by those that the images span.
        left = float(found.noise_variance_) * (min(pixels.shape) - count)
        total = left + float(found.explained_variance_.sum())
        rest = max(left, 0.0) / max(1, pixels.shape[1] - count)
        # A component that no training image has varies like the rest of the pixels.
        self.rest.fill_(max(rest, 1e-12 * total / pixels.shape[1], 1e-30))
        self.variances.fill_(float(self.rest))
        self.variances[:count] = torch.from_numpy(found.explained_variance_).clamp_min(float(self.rest))
        splits.progress(1, 2, "principal components")


class PCAResidual(nn.Module):
    """Score images by what the principal components of normal images leave of them.

    Args:
        pixels, components, most_images: As for `PrincipalComponents`.
        residual: Score, "chi_square" or "mean_square" (`zoo.models.residual`).
    """

    def __init__(self, pixels: int, *, components: int, most_images: int, residual: str) -> None:
        super().__init__()
        self.pca = PrincipalComponents(pixels, components=components, most_images=most_images)
        self.residual = Residual(residual).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the anomaly score [n] of images [n, C, H, W]."""
        return self.residual(images.double(), self.pca.project(images)[1]).float()

    def residual_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions, and residuals over the noise, for pictures (`zoo.models.residual.Reconstructs`)."""
        rebuilt = self.pca.project(images)[1]
        return rebuilt.float(), self.residual.over_noise(images.double(), rebuilt).float()

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit the components to the training images, and the photon noise to validation images, which they leave more
        of than of those that they were fitted to."""
        self.pca.fit(splits)
        images = _few_images(splits).double()
        fit_photon_noise(self.residual, images, self.pca.project(images)[1])


class MahalanobisPixels(nn.Module):
    """Score images by the Mahalanobis distance of their pixels under probabilistic principal components.

    The covariance is that of the components, and of one variance in all other directions (Tipping & Bishop 1999,
    Journal of the Royal Statistical Society B 61, 611).

    Args:
        pixels, components, most_images: As for `PrincipalComponents`.
    """

    def __init__(self, pixels: int, *, components: int, most_images: int) -> None:
        super().__init__()
        self.pca = PrincipalComponents(pixels, components=components, most_images=most_images)

    def forward(self, images: Tensor) -> Tensor:
        """Return the squared distance [n] over the number of pixels, of images [n, C, H, W]."""
        coordinates, rebuilt = self.pca.project(images)
        inside = (coordinates**2 / self.pca.variances.double()).sum(1)
        outside = ((images.double() - rebuilt) ** 2).flatten(1).sum(1) / self.pca.rest.double()
        return ((inside + outside) / images[0].numel()).float()

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit to the training images."""
        self.pca.fit(splits)


class MahalanobisScalars(nn.Module):
    """Score images by the Mahalanobis distance of 64 scalars: what needs no network.

    Args:
        most_images: Largest number of training images.
    """

    def __init__(self, *, most_images: int) -> None:
        super().__init__()
        self.most_images = most_images
        self.gaussian = Gaussian(len(NAMES), farthest=FARTHEST)

    def forward(self, images: Tensor) -> Tensor:
        """Return the squared distance [n] over the number of scalars, of images [n, C, H, W]."""
        return self.gaussian(scalars_of(images))

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit to the training images."""
        self.gaussian.fit(columns_of(scalars_of, splits, most=self.most_images, what="scalars"))


def _few_images(splits: SplitsToFit) -> Tensor:
    """Return the first validation images, or training images where there are no others."""
    split: ImagesToFit = splits.val if len(splits.val) else splits.train
    return torch.cat(list(first_images(split, most=NOISE_IMAGES)))


def build_pca_residual(
    *, in_chans: int, num_classes: int, image_size: int, components: int, most_images: int, residual: str
) -> PCAResidual:
    """Build the residual of principal components."""
    pixels = in_chans * image_size**2
    return PCAResidual(pixels, components=components, most_images=most_images, residual=residual)


def build_mahalanobis_pixels(
    *, in_chans: int, num_classes: int, image_size: int, components: int, most_images: int
) -> MahalanobisPixels:
    """Build the Mahalanobis distance of pixels."""
    return MahalanobisPixels(in_chans * image_size**2, components=components, most_images=most_images)


def build_mahalanobis_scalars(
    *, in_chans: int, num_classes: int, image_size: int, most_images: int
) -> MahalanobisScalars:
    """Build the Mahalanobis distance of scalars."""
    return MahalanobisScalars(most_images=most_images)
