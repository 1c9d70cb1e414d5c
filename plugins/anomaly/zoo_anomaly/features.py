"""Mahalanobis distance of the features of an encoder that was trained on normal images.

Source of the distance: Lee et al. 2018, arXiv:1807.03888. The encoder is that of an auto-encoder, or of a network that
estimates stored truths of the normal images, such as Einstein radius and shear.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.own_fit import ImagesToFit, SplitsToFit
from zoo_anomaly.autoencoders import VariationalAutoEncoder
from zoo_anomaly.convolutional import SMALL, Architecture, Encoder
from zoo_anomaly.fitting import Gaussian, check_most_images, columns_of, first_images

BATCH = 64
RATE = 2e-3
CLIP = 1.0
PASSES_AT_MOST = 10_000


class EncoderDistance(nn.Module, ABC):
    """Score images by the Mahalanobis distance of the features of an encoder.

    The encoder is trained on the training images, turned and mirrored at random. The features are its code, and mean
    and standard deviation over the pixels of every channel after each of its convolutions.

    Args:
        architecture: Layers.
        passes: Passes over the training images.
        most_images: Largest number of training images.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, architecture: Architecture, *, passes: int, most_images: int) -> None:
        super().__init__()
        if type(passes) is not int or not 1 <= passes <= PASSES_AT_MOST:
            raise UsageError(f"passes={passes!r} must be a whole number from 1 to {PASSES_AT_MOST:,}.")
        self.passes, self.most_images = passes, most_images
        self.gaussian = Gaussian(architecture.latent + 2 * sum(architecture.widths))
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    @property
    @abstractmethod
    def convolutions(self) -> nn.Sequential:
        """Convolutions of the encoder, each followed by a ReLU or not."""

    @abstractmethod
    def code(self, features: Tensor) -> Tensor:
        """Return codes [n, Z] for the pixels [n, F] of the last map."""

    def maps(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the pixels [n, F] of the last map, and mean and deviation of the maps, of standardised images."""
        maps, found = images, []
        for layer in self.convolutions:
            maps = layer(maps)
            if isinstance(layer, nn.ReLU):
                found += [maps.mean((2, 3)), maps.std((2, 3), correction=0)]
        return maps.flatten(1), found

    def features(self, images: Tensor) -> Tensor:
        """Return features [n, F] of images [n, C, H, W] as they are stored."""
        last, found = self.maps((images - self.centre) / self.spread)
        return torch.cat([self.code(last), *found], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the squared distance [n] over the number of features, of images [n, C, H, W]."""
        return self.gaussian(self.features(images))

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Train the encoder and fit the distribution of its features."""
        device = splits.train.labels.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(splits.seed)
            self.train_encoder(splits)
        self.gaussian.fit(columns_of(self.features, splits, most=self.most_images, what="features"))

    @abstractmethod
    def train_encoder(self, splits: SplitsToFit) -> None:
        """Train the encoder; torch's random numbers are seeded."""

    def minimise(self, network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], splits: SplitsToFit) -> None:
        """Train a network anew on the first training images.

        Args:
            network: The layers that are trained.
            loss: Function of standardised images [n, C, H, W], turned and mirrored, and their places [n].
            splits: Images.
        """
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                module.reset_parameters()  # so that a fit depends on its seed only
        images = torch.cat(list(first_images(splits.train, most=self.most_images)))
        self.centre.copy_(images.mean())
        self.spread.copy_(images.std().clamp_min(1e-12))
        images = (images - self.centre) / self.spread
        size = min(BATCH, len(images))
        steps = self.passes * (len(images) // size)
        parameters = list(network.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(2, steps))
        network.train()
        done = 0
        with torch.enable_grad():
            for _ in range(self.passes):
                for chosen in torch.randperm(len(images)).split(size)[: len(images) // size]:
                    places = chosen.to(images.device)
                    turned = images[places].rot90(int(torch.randint(4, ())), (-2, -1))
                    turned = turned.flip(-1) if torch.rand(()) < 0.5 else turned
                    optimizer.zero_grad()
                    loss(turned, places).backward()
                    nn.utils.clip_grad_norm_(parameters, CLIP)
                    optimizer.step()
                    schedule.step()
                    done += 1
                    splits.progress(done, steps, "fit")
        network.eval()


class MahalanobisFeatures(EncoderDistance):
    """The features of a variational auto-encoder; its code is the mean.

    Args:
        architecture, passes, most_images: Arguments of `EncoderDistance`.
        in_chans: C.
        image_size: H and W.
    """

    def __init__(
        self, architecture: Architecture, *, in_chans: int, image_size: int, passes: int, most_images: int
    ) -> None:
        super().__init__(architecture, passes=passes, most_images=most_images)
        self.autoencoder = VariationalAutoEncoder(
            architecture, in_chans=in_chans, image_size=image_size, residual="chi_square", beta=1.0
        )
        self.eval()

    @property
    def convolutions(self) -> nn.Sequential:
        """Convolutions of the auto-encoder."""
        return self.autoencoder.encoder.convolutions

    def code(self, features: Tensor) -> Tensor:
        """Return the means of the codes."""
        return self.autoencoder.code(features).chunk(2, 1)[0]

    def train_encoder(self, splits: SplitsToFit) -> None:
        """Train the auto-encoder."""
        self.minimise(
            self.autoencoder, lambda images, places: self.autoencoder.loss(images, torch.zeros(len(images))), splits
        )


class MahalanobisTruths(EncoderDistance):
    """The features of a network that estimates stored truths of the normal images; its code is the layer before last.

    Args:
        architecture, passes, most_images: Arguments of `EncoderDistance`.
        in_chans: C.
        image_size: H and W.
        truths: Names of the truths. Those that are undefined, or the same, for all training images are left out.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        in_chans: int,
        image_size: int,
        passes: int,
        most_images: int,
        truths: Sequence[str],
    ) -> None:
        super().__init__(architecture, passes=passes, most_images=most_images)
        if not isinstance(truths, list | tuple) or not truths or len(set(truths)) < len(truths):
            raise UsageError(f"truths={truths!r} must be a list of different names of stored truths.")
        self.truths = tuple(truths)
        self.encoder = Encoder(architecture, in_chans=in_chans, image_size=image_size, last_relu=True)
        self.linear = nn.Linear(self.encoder.features, architecture.latent)
        self._notes: list[str] = []
        self.eval()

    @property
    def convolutions(self) -> nn.Sequential:
        """Convolutions of the network."""
        return self.encoder.convolutions

    def code(self, features: Tensor) -> Tensor:
        """Return what the last layer estimates the truths from."""
        return self.linear(features).relu()

    def fit_notes(self) -> list[str]:
        """Return how well the truths are estimated, and those that are left out."""
        return self._notes

    def train_encoder(self, splits: SplitsToFit) -> None:
        """Train the network to estimate the standardised truths.

        Raises:
            UsageError: No truth is stored, or none is defined and differs between the training images.
        """
        check_most_images(self.most_images)
        truths = splits.train.truths(self.truths)[: self.most_images]
        known = truths.isfinite()
        mean = truths.nanmean(0)
        deviation = (truths - mean).square().nanmean(0).sqrt()
        # Of no image, both are NaN.
        kept = [k for k in range(len(self.truths)) if deviation[k] > 1e-6 * mean[k].abs()]
        if not kept:
            raise UsageError(
                f"{', '.join(self.truths)}: each is undefined, or the same, for all training images.",
                hint="Name other stored truths: --set 'model.truths=[\"NAME\"]'",
            )
        mean, deviation = mean[kept], deviation[kept]
        wanted = torch.where(known[:, kept], (truths[:, kept] - mean) / deviation, 0.0)
        counted = known[:, kept].float()
        last = nn.Linear(self.linear.out_features, len(kept)).to(truths.device)

        def estimates(images: Tensor) -> Tensor:
            estimated: Tensor = last(self.code(self.maps(images)[0]))
            return estimated

        def loss(images: Tensor, places: Tensor) -> Tensor:
            return (counted[places] * (estimates(images) - wanted[places]) ** 2).mean()

        self.minimise(nn.ModuleList([self.encoder, self.linear, last]), loss, splits)
        self._notes = self._report(splits.val, estimates, kept=kept, mean=mean, deviation=deviation)

    @torch.no_grad()
    def _report(
        self,
        val: ImagesToFit,
        estimates: Callable[[Tensor], Tensor],
        *,
        kept: Sequence[int],
        mean: Tensor,
        deviation: Tensor,
    ) -> list[str]:
        found = torch.cat([estimates((images - self.centre) / self.spread) for images, _ in val.batches(BATCH)])
        error = found - (val.truths(self.truths)[:, kept] - mean) / deviation
        shares = (1 - error.square().nanmean(0)).tolist()
        parts = [f"{self.truths[k]} {share:.2f}" for k, share in zip(kept, shares, strict=True)]
        notes = [f"share of the variance of each truth that is explained for validation images: {', '.join(parts)}"]
        if left := [name for k, name in enumerate(self.truths) if k not in kept]:
            notes.append(f"undefined, or the same, for all training images and left out: {', '.join(left)}")
        return notes


def build_mahalanobis_features(
    *, in_chans: int, num_classes: int, image_size: int, passes: int, most_images: int, **hparams: Any
) -> MahalanobisFeatures:
    """Build the Mahalanobis distance of features of an auto-encoder.

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


def build_mahalanobis_truths(
    *,
    in_chans: int,
    num_classes: int,
    image_size: int,
    passes: int,
    most_images: int,
    truths: Sequence[str],
    **hparams: Any,
) -> MahalanobisTruths:
    """Build the Mahalanobis distance of features of a network that estimates truths.

    Args:
        in_chans, num_classes, image_size, passes, most_images, hparams: As for `build_mahalanobis_features`.
        truths: Names of stored truths.
    """
    architecture = Architecture(**{**SMALL, **hparams})
    return MahalanobisTruths(
        architecture, in_chans=in_chans, image_size=image_size, passes=passes, most_images=most_images, truths=truths
    )
