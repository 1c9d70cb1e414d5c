"""Deep support vector data description: features of normal images gather around one point.

Source: Ruff et al. 2018, *Deep One-Class Classification*, ICML, proceedings.mlr.press/v80/ruff18a.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo_anomaly.convolutional import SMALL, Architecture

SMALLEST_CENTRE = 0.1
"""Smallest distance from 0 of a coordinate of the centre: a feature at 0 would be learnt by weights of 0."""


class DeepSVDD(nn.Module):
    """Score images by the squared distance of their features from a fixed centre.

    If all images could have the same features, training would find them. No layer therefore has a bias, batch norm has
    neither a factor nor a constant, the non-linearity is unbounded, and no coordinate of the centre is 0. The centre is
    the mean of the features of the first batch of a training, before any step.

    Args:
        architecture: Layers; `latent` is the number of features.
        in_chans: C.
        image_size: H and W.
    """

    centre: Tensor
    batches: Tensor

    def __init__(self, architecture: Architecture, *, in_chans: int, image_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_chans
        plan = architecture.plan(in_chans=in_chans, image_size=image_size)
        for layer in plan:
            layers += [
                nn.Conv2d(
                    layer.channels,
                    layer.width,
                    layer.kernel,
                    stride=layer.stride,
                    padding=layer.padding,
                    bias=False,
                ),
                nn.BatchNorm2d(layer.width, affine=False),
                nn.LeakyReLU(),
            ]
            channels = layer.width * layer.next_size**2
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, architecture.latent, bias=False))
        self.register_buffer("centre", torch.zeros(architecture.latent))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def features(self, images: Tensor) -> Tensor:
        """Return features [N, F] of images [N, C, H, W]."""
        return self.trunk(images).to(images.dtype)

    def forward(self, images: Tensor) -> Tensor:
        """Return the anomaly score [N]."""
        return ((self.features(images) - self.centre) ** 2).mean(1)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean score of a batch of normal images; labels are not used."""
        features = self.features(images)
        if self.training:
            self._set_centre(features.detach())
        return ((features - self.centre) ** 2).mean()

    @torch.no_grad()
    def _set_centre(self, features: Tensor) -> None:
        """Set the centre in the first batch, without a question to the device."""
        mean = features.mean(0)
        away = torch.where(mean < 0, -SMALLEST_CENTRE, SMALLEST_CENTRE)
        mean = torch.where(mean.abs() < SMALLEST_CENTRE, away, mean)
        self.centre.copy_(torch.where(self.batches == 0, mean, self.centre))
        self.batches.add_(1)


def build_deep_svdd(*, in_chans: int, num_classes: int, image_size: int, **hparams: Any) -> DeepSVDD:
    """Build a deep SVDD.

    Args:
        in_chans: Number of image channels.
        num_classes: Not used.
        image_size: Edge length of the images in pixels.
        hparams: Fields of `zoo_anomaly.convolutional.Architecture` but for `last_kernel`.
    """
    architecture = Architecture(**{**SMALL, "latent": 32, **hparams})
    return DeepSVDD(architecture, in_chans=in_chans, image_size=image_size)
