"""The seven-layer networks of Cohen & Welling: Z2CNN, P4CNN, its p4m version, and P4CNN with rotation pooling.

    image -> 2 layers of 3x3 -> max pool -> 4 layers of 3x3 -> a layer of 4x4 whose features are the classes
          -> pool over the group -> mean over space

The layers have no padding. All except the last have batch norm, ReLU and dropout. The 4x4 kernel rotates about the
corner of four pixels; without padding it maps n pixels to n - 3 and commutes with the group at every size. Images of 28
pixels, as published, are reduced to one pixel; larger ones to a map, whose mean gives the logits. Max pooling has
windows of two pixels on even lines and of three on odd ones (`zoo_gconv.sampling`), so every size is exact.

Source: Cohen & Welling 2016, arXiv:1602.07576, section 8.1.
"""

from __future__ import annotations

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
from zoo_gconv.sampling import max_pool
from zoo_gconv.settings import complete_cnn


class MaxPool(nn.Module):
    """Apply `max_pool`: [N, C, H, W] to [N, C, ceil(H/2), ceil(W/2)]."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maxima of the windows."""
        return max_pool(maps)


class GroupCNN(nn.Module):
    """Classify images [N, C, H, W] into logits [N, K] that are invariant under the group.

    Args:
        lifting: Class of the first layer, which maps images to maps on the group.
        convolution: Class of the other layers; with a lifting class, each is preceded by rotation pooling.
        in_chans: Number of image channels C.
        num_classes: Number of classes K.
        width: Number of features of each layer except the last.
        dropout: Probability of dropping a feature of a pixel, after each layer except the last.
        pooling: Reduction over the group, "max" or "mean".
    """

    def __init__(
        self,
        lifting: type[LiftingConv],
        convolution: type[LiftingConv] | type[GroupConv],
        *,
        in_chans: int,
        num_classes: int,
        width: int,
        dropout: float,
        pooling: str = "max",
    ) -> None:
        super().__init__()
        order = lifting.group.order
        layers: list[nn.Module] = []
        features = in_chans
        for place in range(1, 7):
            layer = lifting if place == 1 else convolution
            layers += [layer(features, width, 3, padding=False), GroupBatchNorm(width, order, relu=True)]
            layers.append(nn.Dropout(dropout))
            if issubclass(convolution, LiftingConv) and order > 1:
                layers.append(GroupPool(order, pooling))
            if place == 2:
                layers.append(MaxPool())
            features = width
        self.trunk = nn.Sequential(*layers)
        self.classifier = convolution(width, num_classes, 4, padding=False, bias=True)
        self.group_pool = GroupPool(order, pooling)
        mark(self, lifting.group)

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to logits [N, K]."""
        return self.group_pool(self.classifier(self.trunk(images))).mean((-2, -1))


LAYERS: dict[str, tuple[type[LiftingConv], type[LiftingConv] | type[GroupConv]]] = {
    "z2cnn": (Z2ConvZ2, Z2ConvZ2),
    "p4cnn": (P4ConvZ2, P4ConvP4),
    "p4mcnn": (P4MConvZ2, P4MConvP4M),
    "p4cnn_pooled": (P4ConvZ2, P4ConvZ2),
}
"""Classes of the first layer and of all further ones."""


def build(*, model: str, in_chans: int, num_classes: int, image_size: int, **hparams: Any) -> GroupCNN:
    """Build a network of Cohen & Welling.

    Args:
        model: Name in the catalogue: "z2cnn", "p4cnn", "p4mcnn", or "p4cnn_pooled", which pools over rotations after
            each layer.
        in_chans: Number of image channels C.
        num_classes: Number of classes K.
        image_size: Edge length of the images in pixels, which is only checked; the network accepts every size that
            passes the check.
        hparams: Hyper-parameters that replace values of `zoo_gconv.catalogue.NETWORKS[model].defaults`.

    Raises:
        UsageError: A hyper-parameter or the image size is invalid.
    """
    shape = {"in_chans": in_chans, "num_classes": num_classes, "image_size": image_size}
    return GroupCNN(*LAYERS[model], **complete_cnn(model, **shape, hparams=hparams))
