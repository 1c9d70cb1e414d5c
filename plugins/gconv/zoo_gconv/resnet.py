"""ResNet-18 on p4 and p4m: the planar network, layer by layer, with group convolutions.

    image -> 7x7 lifting convolution, stride 2 -> max pool, stride 2 -> four stages of two residual blocks
          -> mean over space and pool over the group -> linear

Strides and max pool are those of the planar network, lifted (`zoo_gconv.sampling`): each group element samples
its own grid, so the logits are invariant at every image size, odd or even. Parameters have the names that torchvision
and timm use; `zoo_gconv.pretrained` depends on them.

Source: He et al. 2016, arXiv:1512.03385 (the network); Cohen & Welling 2016, arXiv:1602.07576, section 8.2 (residual
networks of group convolutions).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gconv.groups import PointGroup
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
)
from zoo_gconv.pretrained import start
from zoo_gconv.sampling import group_max_pool
from zoo_gconv.settings import complete_resnet


class GroupMaxPool(nn.Module):
    """Apply `group_max_pool`: [N, C*|G|, H, W] to [N, C*|G|, ceil(H/2), ceil(W/2)]."""

    def __init__(self, group: PointGroup) -> None:
        super().__init__()
        self.group = group

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maxima of 3x3 windows, each element on its own grid."""
        return group_max_pool(maps, self.group)


class ResidualBlock(nn.Module):
    """Two 3x3 group convolutions and a shortcut, which is a 1x1 group convolution where the shape changes.

    Args:
        convolution: Class of the convolutions.
        in_features, out_features: Numbers of input and output features (not channels).
        stride: Stride of the first convolution and of the shortcut.
    """

    def __init__(self, convolution: type[GroupConv], in_features: int, out_features: int, *, stride: int) -> None:
        super().__init__()
        order = convolution.group.order
        self.conv1 = convolution(in_features, out_features, 3, stride=stride, downsampling="stride")
        self.bn1 = GroupBatchNorm(out_features, order, relu=True)
        self.conv2 = convolution(out_features, out_features, 3)
        self.bn2 = GroupBatchNorm(out_features, order)
        self.downsample: nn.Sequential | None = None
        if stride == 2 or in_features != out_features:
            self.downsample = nn.Sequential(
                convolution(in_features, out_features, 1, stride=stride, downsampling="stride"),
                GroupBatchNorm(out_features, order),
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Map [N, C_in*|G|, H, W] to [N, C_out*|G|, H, W], or to half of H and W, rounded up."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        residual = self.bn2(self.conv2(self.bn1(self.conv1(maps))))
        return F.relu_(residual + shortcut)


class GroupResNet(nn.Module):
    """Classify images [N, C, H, W] into logits [N, K] that are invariant under the group.

    Args:
        lifting: Class of the first layer, which maps images to maps on the group.
        convolution: Class of all further layers.
        in_chans: Number of image channels C.
        num_classes: Number of classes K.
        widths: Number of features of each stage; a feature has |G| channels.
        dropout: Probability of dropping a pooled feature in the head.
        pooling: Reduction over the group in the head, "max" or "mean".
    """

    def __init__(
        self,
        lifting: type[LiftingConv],
        convolution: type[GroupConv],
        *,
        in_chans: int,
        num_classes: int,
        widths: Sequence[int],
        dropout: float,
        pooling: str,
    ) -> None:
        super().__init__()
        group = lifting.group
        self.conv1 = lifting(in_chans, widths[0], 7, stride=2, downsampling="stride")
        self.bn1 = GroupBatchNorm(widths[0], group.order, relu=True)
        self.maxpool = GroupMaxPool(group)
        first, second, third, fourth = widths
        self.layer1 = _stage(convolution, first, first, stride=1)
        self.layer2 = _stage(convolution, first, second, stride=2)
        self.layer3 = _stage(convolution, second, third, stride=2)
        self.layer4 = _stage(convolution, third, fourth, stride=2)
        self.group_pool = GroupPool(group.order, pooling)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(fourth, num_classes)
        mark(self, group)

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to logits [N, K]."""
        maps = self.maxpool(self.bn1(self.conv1(images)))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        # Space first: the mean of each element's map is the feature that a planar network would pool.
        pooled = self.group_pool(maps.mean((-2, -1)))
        return self.fc(self.dropout(pooled))


def _stage(convolution: type[GroupConv], in_features: int, out_features: int, *, stride: int) -> nn.Sequential:
    first = ResidualBlock(convolution, in_features, out_features, stride=stride)
    return nn.Sequential(first, ResidualBlock(convolution, out_features, out_features, stride=1))


LAYERS: dict[str, tuple[type[LiftingConv], type[GroupConv]]] = {
    "p4": (P4ConvZ2, P4ConvP4),
    "p4m": (P4MConvZ2, P4MConvP4M),
}
"""Classes of the first layer and of all further ones, for each group."""


def build(*, model: str, in_chans: int, num_classes: int, image_size: int, **hparams: Any) -> GroupResNet:
    """Build a ResNet-18; the hyper-parameter `init` selects planar weights to start from.

    Args:
        model: Name in the catalogue: "p4_resnet18", "p4m_resnet18", "p4_resnet18_wide" or "p4m_resnet18_wide".
        in_chans: Number of image channels C.
        num_classes: Number of classes K.
        image_size: Edge length of the images in pixels, which is only checked; the network accepts every size that
            passes the check.
        hparams: Hyper-parameters that replace values of `zoo_gconv.catalogue.NETWORKS[model].defaults`.

    Raises:
        UsageError: A hyper-parameter or the image size is invalid.
    """
    shape = {"in_chans": in_chans, "num_classes": num_classes, "image_size": image_size}
    settings = complete_resnet(model, **shape, hparams=hparams)
    init = settings.pop("init")
    resnet = partial(GroupResNet, *LAYERS[model.partition("_")[0]])
    return resnet(**settings) if init is None else start(resnet, settings, source=init)
