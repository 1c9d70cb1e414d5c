"""Auto-encoders: what a short code cannot reproduce is the anomaly.

The plain one (AE), the variational one (VAE: Kingma & Welling 2014, arXiv:1312.6114) and the adversarial one (AAE:
Makhzani et al. 2015, arXiv:1511.05644), each as in arXiv:2008.12731 and in a form for today.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.models.residual import Residual
from zoo_anomaly.convolutional import PUBLISHED, SMALL, Architecture, Decoder, Encoder

LARGEST_LOG_VARIANCE = 20.0
"""Of a code: its exponential and the loss stay finite."""


def stretched(images: Tensor) -> Tensor:
    """Stretch each image [N, C, H, W] from its lowest to its highest pixel to [0, 1], in 255 steps as in 8 bits."""
    low = images.flatten(1).amin(1)[:, None, None, None]
    span = images.flatten(1).amax(1)[:, None, None, None] - low
    return ((images - low) / span.clamp_min(torch.finfo(images.dtype).tiny) * 255).round() / 255


class AutoEncoder(nn.Module):
    """Score images by the residual of their reconstruction from a short code.

    Args:
        architecture: Layers.
        in_chans: C.
        image_size: H and W.
        residual: Loss and score, "chi_square" or "mean_square".
        published: Whether images are stretched and reconstructions end in a hyperbolic tangent, as published.
        batch_norm: Whether batch norm follows the code, as in the published plain auto-encoder.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        in_chans: int,
        image_size: int,
        residual: str,
        published: bool = False,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        shape = {"in_chans": in_chans, "image_size": image_size}
        self.published = published
        # The published plain auto-encoder has no ReLU between its last convolution and its first transposed one.
        self.encoder = Encoder(architecture, **shape, last_relu=not batch_norm)
        self.code = self._head(self.encoder.features, architecture.latent)
        self.code_norm = nn.BatchNorm1d(architecture.latent) if batch_norm else nn.Identity()
        self.decoder = Decoder(architecture, **shape, first_relu=not published, tanh=published)
        self.residual = Residual(residual)

    def _head(self, features: int, latent: int) -> nn.Module:
        return nn.Linear(features, latent)

    def encode(self, images: Tensor) -> Tensor:
        """Return codes [N, Z] of images as `prepared` returns them."""
        return self.code_norm(self.code(self.encoder(images)))

    def prepared(self, images: Tensor) -> Tensor:
        """Return the images that are reconstructed: stretched ones in the published form."""
        return stretched(images) if self.published else images

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return reconstructions [N, C, H, W] of prepared images."""
        return self.decoder(self.encode(images))

    def forward(self, images: Tensor) -> Tensor:
        """Return the anomaly score [N] of images [N, C, H, W]."""
        images = self.prepared(images)
        return self.residual(images, self.reconstruct(images))

    def residual_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions, and residuals over the noise, for pictures (`zoo.models.residual.Reconstructs`)."""
        images = self.prepared(images)
        rebuilt = self.reconstruct(images)
        return rebuilt, self.residual.over_noise(images, rebuilt)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch of normal images; labels are not used."""
        images = self.prepared(images)
        return self.residual.loss(images, self.reconstruct(images))


class VariationalAutoEncoder(AutoEncoder):
    """An auto-encoder whose codes are normal distributions: drawn in training, their means in evaluation.

    The loss is the negative evidence lower bound per pixel: the residual's loss, and the divergence of the codes from a
    standard normal distribution, which `beta` multiplies (Higgins et al. 2017).

    Args:
        beta: Factor of the divergence; 1 is the bound where the residual is a likelihood ("chi_square").
        others: Arguments of `AutoEncoder`.
    """

    def __init__(self, architecture: Architecture, *, beta: float, **others: Any) -> None:
        super().__init__(architecture, **others)
        if isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 <= beta < float("inf"):
            raise UsageError(f"beta={beta!r} must be a number, 0 or more.")
        self.beta = beta

    def _head(self, features: int, latent: int) -> nn.Module:
        return nn.Linear(features, 2 * latent)

    def distribution(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and logarithms of variances [N, Z] of the codes of prepared images."""
        mean, log_variance = self.code(self.encoder(images)).to(images.dtype).chunk(2, 1)
        return mean, log_variance.clamp_max(LARGEST_LOG_VARIANCE)

    def encode(self, images: Tensor) -> Tensor:
        """Return the means [N, Z]."""
        return self.distribution(images)[0]

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the negative evidence lower bound per pixel; labels are not used."""
        images = self.prepared(images)
        mean, log_variance = self.distribution(images)
        code = mean
        if self.training:
            code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        loss = self.residual.loss(images, self.decoder(code))
        return loss + self.beta * divergence(mean, log_variance).mean() / images[0].numel()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergences [N] of normal distributions [N, Z] from the standard one."""
    return (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2


class AdversarialAutoEncoder(AutoEncoder):
    """An auto-encoder whose codes are made indistinguishable from draws of N(0, spread^2), with three losses in turn.

    Turn 0 reconstructs images, turn 1 trains a discriminator of codes and draws, and turn 2 trains the encoder against
    it, at a tenth of the learning rate.

    Args:
        spread: Standard deviation of the draws.
        hidden: Width of the discriminator's two hidden layers.
        others: Arguments of `AutoEncoder`.
    """

    TURNS = 3

    def __init__(self, architecture: Architecture, *, spread: float, hidden: int, **others: Any) -> None:
        super().__init__(architecture, **others)
        if isinstance(spread, bool) or not isinstance(spread, int | float) or not 0 < spread < float("inf"):
            raise UsageError(f"spread={spread!r} must be a positive number.")
        if type(hidden) is not int or hidden < 1:
            raise UsageError(f"hidden={hidden!r} must be a whole number, 1 or more.")
        self.spread = spread
        self.discriminator = nn.Sequential(
            nn.Linear(architecture.latent, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def optimizers(self, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
        """Return the optimisers of the three turns."""
        encoder = [*self.encoder.parameters(), *self.code.parameters(), *self.code_norm.parameters()]
        rest = [*self.decoder.parameters(), *self.residual.parameters()]
        return [
            torch.optim.Adam([*encoder, *rest], lr=lr, weight_decay=weight_decay),
            torch.optim.Adam(self.discriminator.parameters(), lr=lr, weight_decay=weight_decay),
            torch.optim.Adam(encoder, lr=lr / 10, weight_decay=weight_decay),
        ]

    def training_losses(self, images: Tensor, labels: Tensor, turn: int) -> Tensor:
        """Return the loss of one turn, 0 to 2; labels are not used."""
        if turn == 0:
            return self.loss(images, labels)
        codes = self.encode(self.prepared(images))
        if turn == 1:
            drawn = self.spread * torch.randn_like(codes)
            # softplus(-x) is -log sigmoid(x), without a small number inside of the logarithm.
            real, coded = (self.discriminator(codes).to(images.dtype) for codes in (drawn, codes.detach()))
            return (F.softplus(-real) + F.softplus(coded)).mean()
        return F.softplus(-self.discriminator(codes).to(images.dtype)).mean()


class WithAdam:
    """Adam, as published, in place of the harness's AdamW; goes before the class of an auto-encoder with one loss."""

    def optimizers(self, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
        """Return the only optimiser."""
        parameters = cast("nn.Module", self).parameters()
        return [torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)]

    def training_losses(self, images: Tensor, labels: Tensor, turn: int) -> Tensor:
        """Return the loss."""
        return cast("AutoEncoder", self).loss(images, labels)


class PublishedAutoEncoder(WithAdam, AutoEncoder):
    """The auto-encoder of arXiv:2008.12731."""


class PublishedVariationalAutoEncoder(WithAdam, VariationalAutoEncoder):
    """The variational auto-encoder of arXiv:2008.12731."""


def build_ae(*, in_chans: int, num_classes: int, image_size: int, published: bool, **hparams: Any) -> AutoEncoder:
    """Build a plain auto-encoder.

    Args:
        in_chans: Number of image channels.
        num_classes: Not used.
        image_size: Edge length of the images in pixels.
        published: Whether it is that of arXiv:2008.12731.
        hparams: `residual`, and the fields of `zoo_anomaly.convolutional.Architecture`.
    """
    kind = PublishedAutoEncoder if published else AutoEncoder
    return kind(batch_norm=published, **_common(in_chans, image_size, published=published, **hparams))


def build_vae(
    *, in_chans: int, num_classes: int, image_size: int, published: bool, **hparams: Any
) -> VariationalAutoEncoder:
    """Build a variational auto-encoder; arguments as for `build_ae`, and `beta`."""
    kind = PublishedVariationalAutoEncoder if published else VariationalAutoEncoder
    return kind(**_common(in_chans, image_size, published=published, **hparams))


def build_aae(
    *, in_chans: int, num_classes: int, image_size: int, published: bool, **hparams: Any
) -> AdversarialAutoEncoder:
    """Build an adversarial auto-encoder; arguments as for `build_ae`, `spread` and `hidden`."""
    return AdversarialAutoEncoder(**_common(in_chans, image_size, published=published, **hparams))


def _common(in_chans: int, image_size: int, *, published: bool, residual: str, **hparams: Any) -> dict[str, Any]:
    """Return the arguments that the three share, and the others as they are."""
    layers = PUBLISHED if published else SMALL
    architecture = Architecture(**{name: hparams.pop(name, value) for name, value in layers.items()})
    shape = {"in_chans": in_chans, "image_size": image_size}
    return {"architecture": architecture, **shape, "residual": residual, "published": published, **hparams}
