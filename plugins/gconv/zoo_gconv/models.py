"""The networks p4 and p4m and their plain twin z2: one architecture, three groups.

    image -> lifting convolution -> group convolutions -> pool over the group -> pool over space -> linear

The head sees pooled features only, so the logits of a turned or mirrored image are those of the image
itself, at every image size and before any training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

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
    """Classify images [N, C, H, W] into logits [N, K] that the group leaves unchanged.

    Args:
        lifting: the first layer's class, from images to maps on the group.
        convolution: the class of all further layers.
        in_chans: C.
        num_classes: K.
        widths: features after each convolution, each a stack of |G| channels.
        kernel_sizes: odd edge length of each filter.
        strides: 1 or 2, for each convolution.
        dropout: probability of dropping a pooled feature in the head.
        pooling: reduction over the group in the head, "max" or "mean".
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
"""Classes of the first layer and of all further ones."""


def build(*, model: str, in_chans: int, num_classes: int, image_size: int, **hparams: Any) -> GroupNetwork:
    """Build a small network.

    Args:
        model: "p4", "p4m" or "z2".
        in_chans: C.
        num_classes: K.
        image_size: edge length in pixels that the depth must suit; the network takes any size it suits.
        hparams: changes to `zoo_gconv.catalogue.NETWORKS[model].defaults`.

    Raises:
        UsageError: such a network cannot be built.
    """
    shape = {"in_chans": in_chans, "num_classes": num_classes, "image_size": image_size}
    return GroupNetwork(*LAYERS[model], **complete(model, **shape, hparams=hparams))
