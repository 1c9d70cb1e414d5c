"""The networks p4 and p4m and their plain counterparts: one architecture, three groups.

    image -> lifting convolution -> group convolutions -> pool over the group -> pool over space -> linear

The input of the head is pooled over the group and over space, so the logits of a rotated or mirrored image equal those
of the image, at every image size, trained or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from zoo_gconv.catalogue import NETWORKS
from zoo_gconv.identity import mark
from zoo_gconv.layers import (
    GroupBatchNorm,
    GroupConv,
    GroupPool,
    LiftingConv,
    P4ConvP4,
    P4ConvZ2,
    P4MConvP4M,
    P4MConvZ2,
    Z2ConvZ2,
)
from zoo_gconv.settings import complete


class GroupNetwork(nn.Module):
    """Classify images [N, C, H, W] into logits [N, K] that are invariant under the group.

    Args:
        lifting: Class of the first layer, which maps images to maps on the group.
        convolution: Class of all further layers.
        in_chans: Number of image channels C.
        num_classes: Number of classes K.
        widths: Number of features after each convolution; a feature has |G| channels.
        kernel_sizes: Edge length of the filters of each convolution, odd.
        strides: Stride of each convolution, 1 or 2.
        dropout: Probability of dropping a pooled feature in the head.
        pooling: Reduction over the group in the head, "max" or "mean".
    """

    def __init__(
        self,
        lifting: type[LiftingConv],
        convolution: type[LiftingConv] | type[GroupConv],
        *,
        in_chans: int,
        num_classes: int,
        widths: Sequence[int],
        kernel_sizes: Sequence[int],
        strides: Sequence[int],
        dropout: float,
        pooling: str = "max",
    ) -> None:
        super().__init__()
        order = self.order = lifting.group.order
        layers: list[nn.Module] = []
        features = in_chans
        for width, kernel_size, stride in zip(widths, kernel_sizes, strides, strict=True):
            layer = convolution if layers else lifting
            layers += [
                layer(features, width, kernel_size, stride=stride),
                GroupBatchNorm(width, order, relu=True),
            ]
            features = width
        self.trunk = nn.Sequential(*layers)
        self.group_pool = GroupPool(order, pooling)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features, num_classes)
        mark(self, lifting.group)

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to logits [N, K]."""
        pooled = self.group_pool(self.trunk(images)).mean((-2, -1))
        return self.classifier(self.dropout(pooled))


LAYERS: dict[str, tuple[type[LiftingConv], type[LiftingConv] | type[GroupConv]]] = {
    "p4": (P4ConvZ2, P4ConvP4),
    "p4m": (P4MConvZ2, P4MConvP4M),
    "z2": (Z2ConvZ2, Z2ConvZ2),
}
"""Group -> classes of the first layer and of all further ones."""


def build(*, model: str, in_chans: int, num_classes: int, image_size: int, **hparams: Any) -> GroupNetwork:
    """Build a small network.

    Args:
        model: Name in the catalogue, such as "p4m" or "z2".
        in_chans: Number of image channels C.
        num_classes: Number of classes K.
        image_size: Edge length of the images in pixels, which is only checked; the network accepts every size that
            passes the check.
        hparams: Hyper-parameters that replace values of `zoo_gconv.catalogue.NETWORKS[model].defaults`.

    Raises:
        UsageError: A hyper-parameter or the image size is invalid.
    """
    shape = {"in_chans": in_chans, "num_classes": num_classes, "image_size": image_size}
    return GroupNetwork(*LAYERS[NETWORKS[model].group or "z2"], **complete(model, **shape, hparams=hparams))
