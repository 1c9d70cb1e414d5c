"""Mahalanobis distance of the features of an encoder that was trained on normal images.

Source of the distance: Lee et al. 2018, arXiv:1807.03888. The features are those of an auto-encoder: a fit gets images
and no truth of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.own_fit import SplitsToFit
from zoo_anomaly.autoencoders import VariationalAutoEncoder
from zoo_anomaly.convolutional import SMALL, Architecture
from zoo_anomaly.fitting import Gaussian, columns_of, first_images

BATCH = 64
RATE = 2e-3
CLIP = 1.0
PASSES_AT_MOST = 10_000


class MahalanobisFeatures(nn.Module):
    """Score images by the Mahalanobis distance of their features.

    A variational auto-encoder is trained on the training images, turned and mirrored at random. The features are the
    mean of its code, and mean and standard deviation over the pixels of every channel after each of its convolutions.

    Args:
        architecture: Layers.
        in_chans: C.
        image_size: H and W.
        passes: Passes over the training images.
        most_images: Largest number of training images.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self, architecture: Architecture, *, in_chans: int, image_size: int, passes: int, most_images: int
    ) -> None:
        super().__init__()
        if type(passes) is not int or not 1 <= passes <= PASSES_AT_MOST:
            raise UsageError(f"passes={passes!r} must be a whole number from 1 to {PASSES_AT_MOST:,}.")
        self.passes, self.most_images = passes, most_images
        self.autoencoder = VariationalAutoEncoder(
            architecture, in_chans=in_chans, image_size=image_size, residual="chi_square", beta=1.0
        )
        self.gaussian = Gaussian(architecture.latent + 2 * sum(architecture.widths))
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.eval()

    def features(self, images: Tensor) -> Tensor:
        """Return features [n, F] of images [n, C, H, W] as they are stored."""
        maps = (images - self.centre) / self.spread
        found = []
        for layer in self.autoencoder.encoder.convolutions:
            maps = layer(maps)
            if isinstance(layer, nn.ReLU):
                found += [maps.mean((2, 3)), maps.std((2, 3), correction=0)]
        code, _ = self.autoencoder.code(maps.flatten(1)).chunk(2, 1)
        return torch.cat([code, *found], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the squared distance [n] over the number of features, of images [n, C, H, W]."""
        return self.gaussian(self.features(images))

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Train the auto-encoder and fit the distribution of its features."""
        device = splits.train.labels.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(splits.seed)
            self._train(splits)
        self.gaussian.fit(columns_of(self.features, splits, most=self.most_images, what="features"))

    def _train(self, splits: SplitsToFit) -> None:
        for module in self.autoencoder.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                module.reset_parameters()  # so that a fit depends on its seed only
        images = torch.cat(list(first_images(splits.train, most=self.most_images)))
        self.centre.copy_(images.mean())
        self.spread.copy_(images.std().clamp_min(1e-12))
        images = (images - self.centre) / self.spread
        size = min(BATCH, len(images))
        steps = self.passes * (len(images) // size)
        parameters = list(self.autoencoder.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(2, steps))
        self.autoencoder.train()
        done = 0
        with torch.enable_grad():
            for _ in range(self.passes):
                for chosen in torch.randperm(len(images)).split(size)[: len(images) // size]:
                    turned = images[chosen.to(images.device)].rot90(int(torch.randint(4, ())), (-2, -1))
                    turned = turned.flip(-1) if torch.rand(()) < 0.5 else turned
                    optimizer.zero_grad()
                    self.autoencoder.loss(turned, torch.zeros(size)).backward()
                    nn.utils.clip_grad_norm_(parameters, CLIP)
                    optimizer.step()
                    schedule.step()
                    done += 1
                    splits.progress(done, steps, "fit")
        self.autoencoder.eval()


def build_mahalanobis_features(
    *, in_chans: int, num_classes: int, image_size: int, passes: int, most_images: int, **hparams: Any
) -> MahalanobisFeatures:
    """Build the Mahalanobis distance of features.

    Args:
        in_chans: Number of image channels.
        num_classes: Not used.
        image_size: Edge length of the images in pixels.
        passes: Passes over the training images.
        most_images: Largest number of training images.
        hparams: Fields of `zoo_anomaly.convolutional.Architecture`.
    """
    architecture = Architecture(**{**SMALL, **hparams})
    shape = {"in_chans": in_chans, "image_size": image_size}
    return MahalanobisFeatures(architecture, **shape, passes=passes, most_images=most_images)
