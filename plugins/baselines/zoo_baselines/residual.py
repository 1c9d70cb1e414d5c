"""Anomaly score by principal components: the part of an image that the components of normal images do not hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.own_fit import SplitsToFit
from zoo_baselines.columns import first_images


class ComponentResidual(nn.Module):
    """Mean square of the residual of an image after its projection on principal components.

    The unit is the mean over the validation images, which the components have not been fitted to.

    Args:
        pixels: Pixels of an image, over all channels.
        components: Number of components; with fewer images or pixels, the others stay 0.
        most_images: Largest number of training images.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, pixels: int, *, components: int, most_images: int) -> None:
        super().__init__()
        if type(components) is not int or not 1 <= components <= 4096:
            raise UsageError(f"components={components!r} must be a whole number from 1 to 4096.")
        self.most_images = most_images
        self.register_buffer("centre", torch.zeros(pixels))
        self.register_buffer("scale", torch.ones(()))
        self.components = nn.Parameter(torch.zeros(components, pixels), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [n] of images [n, C, H, W]."""
        pixels = images.flatten(1).double() - self.centre.double()
        # Of orthonormal components: the square of the residual is the rest of the square.
        residual = pixels - (pixels @ self.components.double().T) @ self.components.double()
        return (residual.square().mean(1) / self.scale.double()).float()

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Fit the components to the training images, and the unit to the validation images."""
        from sklearn.decomposition import PCA

        batches = first_images(splits.train, most=self.most_images, every_class=False)
        pixels = torch.cat([images.flatten(1).cpu() for images, _ in batches])
        count = min(len(self.components), *pixels.shape)
        splits.progress(0, 2, "principal components")
        found = PCA(count, svd_solver="randomized", random_state=splits.seed).fit(pixels.numpy())
        splits.progress(1, 2, "principal components")
        self.centre.copy_(torch.from_numpy(found.mean_))
        self.components.zero_()
        self.components[:count] = torch.from_numpy(found.components_)
        self.scale.fill_(1.0)
        scores = torch.cat([self(images) for images, _ in splits.val.batches()])
        self.scale.copy_(scores.double().mean().clamp_min(1e-30))


def pca_residual(
    *, in_chans: int, num_classes: int, image_size: int, components: int, most_images: int
) -> ComponentResidual:
    """Return a detector of images that principal components of normal ones do not describe."""
    return ComponentResidual(in_chans * image_size**2, components=components, most_images=most_images)
