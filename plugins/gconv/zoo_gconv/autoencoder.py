"""An auto-encoder on p4m for anomaly detection: the reconstruction turns with the image, and the score does not change.

    image -> lifting convolution -> group convolutions, each of stride 2 -> code, a small map on the group
          -> nearest up-sampling and group convolution, as often -> mean over the group -> image

The code keeps its place and its direction: a linear layer on it would break the symmetry. Transposed convolutions of
stride 2 would, too: their grid begins at one border of an even image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.residual import Residual
from zoo_gconv.identity import mark
from zoo_gconv.layers import GroupBatchNorm, GroupPool, P4MConvP4M, P4MConvZ2
from zoo_gconv.sampling import upsample
from zoo_gconv.settings import complete_autoencoder


class GroupAutoEncoder(nn.Module):
    """Score images [N, C, H, W] by the residual of a reconstruction that is equivariant under p4m.

    Args:
        in_chans: Number of image channels C.
        widths: Number of features after each convolution of the encoder, which halve the resolution; a feature has
            eight channels.
        latent: Number of features of the code.
        kernel_size: Edge length of the filters, odd.
        residual: Loss and score, "chi_square" or "mean_square" (`zoo.models.residual`).
    """

    def __init__(self, *, in_chans: int, widths: Sequence[int], latent: int, kernel_size: int, residual: str) -> None:
        super().__init__()
        group = P4MConvZ2.group
        order = group.order
        encoder: list[nn.Module] = []
        for before, width in zip([in_chans, *widths], widths, strict=False):
            layer = P4MConvP4M if encoder else P4MConvZ2
            encoder += [layer(before, width, kernel_size, stride=2), GroupBatchNorm(width, order, relu=True)]
        self.encoder = nn.Sequential(*encoder, P4MConvP4M(widths[-1], latent, 1, bias=True))
        decoder = []
        for before, width in zip([latent, *reversed(widths)], reversed(widths), strict=False):
            layers = [P4MConvP4M(before, width, kernel_size), GroupBatchNorm(width, order, relu=True)]
            decoder.append(nn.Sequential(*layers))
        self.decoder = nn.ModuleList(decoder)
        # A group convolution and the mean over the group: every equivariant linear map to the plane is one.
        self.project = nn.Sequential(P4MConvP4M(widths[0], in_chans, kernel_size, bias=True), GroupPool(order, "mean"))
        self.residual = Residual(residual)
        mark(self, group)

    def encode(self, images: Tensor) -> Tensor:
        """Return codes [N, 8 * latent, h, w] with h and w of H / 2^depth, rounded up."""
        return self.encoder(images)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return reconstructions [N, C, H, W]."""
        height, width = images.shape[-2:]
        shapes = [(height, width)]
        for _ in self.decoder[1:]:
            height, width = (height + 1) // 2, (width + 1) // 2
            shapes.append((height, width))
        maps = self.encode(images)
        for layers, shape in zip(self.decoder, reversed(shapes), strict=True):
            maps = layers(upsample(maps, shape))
        return self.project(maps)

    def forward(self, images: Tensor) -> Tensor:
        """Return the anomaly score [N] of images [N, C, H, W]."""
        return self.residual(images, self.reconstruct(images))

    def residual_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions, and residuals over the noise, for pictures (`zoo.models.residual.Reconstructs`)."""
        rebuilt = self.reconstruct(images)
        return rebuilt, self.residual.over_noise(images, rebuilt)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch of normal images; labels are not used."""
        return self.residual.loss(images, self.reconstruct(images))


def build(*, model: str, in_chans: int, num_classes: int, image_size: int, **hparams: Any) -> GroupAutoEncoder:
    """Build the auto-encoder.

    Args:
        model: Name in the catalogue: "p4m_ae".
        in_chans: Number of image channels C.
        num_classes: Not used.
        image_size: Edge length of the images in pixels, which is only checked; the network accepts every size that
            passes the check.
        hparams: Hyper-parameters that replace values of `zoo_gconv.catalogue.NETWORKS[model].defaults`.

    Raises:
        UsageError: A hyper-parameter or the image size is invalid.
    """
    shape = {"in_chans": in_chans, "num_classes": num_classes, "image_size": image_size}
    return GroupAutoEncoder(**complete_autoencoder(model, **shape, hparams=hparams))
