"""ConvNeXt on p4m, with its pointwise layers dense (`p4m_convnext`) or in the Fourier basis of D4 (`octic`).

    image -> 5x5 lifting convolution, stride 2 -> GELU -> halving -> blocks -> halving -> blocks ... -> head
    block     x + MLP(norm(depthwise convolution(x)))
    halving   pointwise(depthwise convolution of stride 2(norm(x)))
    head      mean over space -> norm -> pool over the group -> linear

The two networks represent the same functions with different parameters; `octic` needs fewer operations. Every layer
commutes with quarter turns and mirrors at every image size, so the logits are invariant.

Layout: maps between layers are pixels [N, H, W, 8*C], channel r*C + c for feature c at element r. A pointwise layer
views them as rows [N*H*W, 8, C] without a copy, and a convolution as a channels-last image in the same memory.

Source: Liu et al. 2022, *A ConvNet for the 2020s*, arXiv:2201.03545 (the planar network; layer scale and stochastic
depth are left out); Cohen & Welling 2016, arXiv:1602.07576 (group convolutions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gconv.fourier import ORDER, OcticLinear, OcticMLP, RegularLinear, RegularMLP
from zoo_gconv.groups import P4M
from zoo_gconv.identity import mark
from zoo_gconv.layers import GroupPool, P4MConvZ2
from zoo_gconv.sampling import blur_bank
from zoo_gconv.settings import complete_convnext


class Stem(P4MConvZ2):
    """A lifting convolution whose filter bank has the channel order of this module: row r*C + c."""

    def expand(self) -> Tensor:
        """Gather the planar filter bank [8*C_out, C_in, k, k] from the weight."""
        return super().expand().unflatten(0, (self.out_features, ORDER)).transpose(0, 1).flatten(0, 1)


class DepthwiseGroupConv(nn.Module):
    """Convolve each feature's map at element r with the feature's filter transformed by r.

    This is a group convolution whose filter is zero except at the identity element: psi_c(y, s) = psi_c(y) delta(s, e).
    It needs as many operations as the planar depthwise layer; pointwise layers mix the elements. Maps are [N, 8*C, H,
    W], element by element.

    Args:
        features: Number of features C.
        kernel_size: Edge length k of the filters, odd.
        stride: 1, or 2 for the mean over windows two pixels wide (`zoo_gconv.sampling`).
    """

    table: Tensor

    def __init__(self, features: int, kernel_size: int, *, stride: int = 1) -> None:
        super().__init__()
        self.features, self.kernel_size, self.stride = features, kernel_size, stride
        self.weight = nn.Parameter(torch.empty(features, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("table", torch.tensor(P4M.lifting_table(kernel_size)), persistent=False)
        nn.init.normal_(self.weight, std=1 / kernel_size)

    def forward(self, maps: Tensor) -> Tensor:
        """Map [N, 8*C, H, W] to the same shape, or to half of H and W, rounded up."""
        filters = self.weight.flatten(1)[:, self.table].transpose(0, 1).reshape(-1, 1, *self.weight.shape[1:])
        bias = self.bias.repeat(ORDER)
        padding = self.kernel_size // 2
        if self.stride == 1:
            return F.conv2d(maps, filters, bias, padding=padding, groups=len(filters))
        filters, extra = blur_bank(filters, maps.shape[-2:])
        paddings = (padding + extra[0], padding + extra[1])
        return F.conv2d(maps, filters, bias, stride=2, padding=paddings, groups=len(filters))

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"{self.features}, kernel_size={self.kernel_size}, stride={self.stride}"


class GroupLayerNorm(nn.Module):
    """Normalise the 8*C numbers of each pixel; scale and shift are one number per feature, as equivariance requires.

    Args:
        features: Number of features C.
    """

    def __init__(self, features: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.features, self.eps = features, eps
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise [..., 8*C] over its last axis."""
        weight, bias = self.weight.repeat(ORDER), self.bias.repeat(ORDER)
        return F.layer_norm(features, (ORDER * self.features,), weight, bias, self.eps)

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"{self.features}"


class Block(nn.Module):
    """The residual block of ConvNeXt.

    Args:
        features: Number of features C.
        kernel_size: Kernel size of the depthwise convolution.
        mlp: Pointwise layers, from [M, 8, C] to [M, 8, C].
    """

    def __init__(self, features: int, *, kernel_size: int, mlp: nn.Module) -> None:
        super().__init__()
        self.depthwise = DepthwiseGroupConv(features, kernel_size)
        self.norm = GroupLayerNorm(features)
        self.mlp = mlp

    def forward(self, pixels: Tensor) -> Tensor:
        """Map [N, H, W, 8*C] to the same shape."""
        residual = self.mlp(_rows(self.norm(_convolve(self.depthwise, pixels))))
        # The sum takes its memory order from the first operand, so the MLP's result needs no reordering.
        return (_rows(pixels) + residual).reshape(pixels.shape)


class Halving(nn.Module):
    """Halve the resolution by a depthwise convolution, then change the features.

    Args:
        in_features: Number of input features C.
        out_features: Number of output features C'.
        linear: Class of the pointwise layer, `OcticLinear` or `RegularLinear`.
    """

    def __init__(self, in_features: int, out_features: int, *, linear: type[OcticLinear] | type[RegularLinear]) -> None:
        super().__init__()
        self.norm = GroupLayerNorm(in_features)
        self.depthwise = DepthwiseGroupConv(in_features, 3, stride=2)
        self.pointwise = linear(in_features, out_features)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map [N, H, W, 8*C] to [N, ceil(H/2), ceil(W/2), 8*C']."""
        pixels = _convolve(self.depthwise, self.norm(pixels))
        return self.pointwise(_rows(pixels)).reshape(*pixels.shape[:3], -1)


def _convolve(convolution: nn.Module, pixels: Tensor) -> Tensor:
    """Apply a convolution of maps [N, C, H, W] to pixels [N, H, W, C]."""
    return convolution(pixels.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _rows(pixels: Tensor) -> Tensor:
    """View pixels [N, H, W, 8*C] as rows [N*H*W, 8, C]."""
    return pixels.flatten(0, 2).unflatten(1, (ORDER, -1))


class GroupConvNeXt(nn.Module):
    """Classify images [N, C, H, W] into logits [N, K] that are invariant to quarter turns and mirrors.

    Args:
        linear, mlp: Classes of the pointwise layers, octic or regular.
        in_chans: Number of image channels C.
        num_classes: Number of classes K.
        widths: Number of features of each stage; a feature has eight channels.
        blocks: Number of blocks of each stage.
        kernel_size: Kernel size of the depthwise convolutions in the blocks, odd.
        dropout: Probability of dropping a pooled feature in the head.
        pooling: Reduction over the group in the head, "max" or "mean".
    """

    def __init__(
        self,
        linear: type[OcticLinear] | type[RegularLinear],
        mlp: type[OcticMLP] | type[RegularMLP],
        *,
        in_chans: int,
        num_classes: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        kernel_size: int,
        dropout: float,
        pooling: str,
    ) -> None:
        super().__init__()
        self.stem = Stem(in_chans, widths[0], 5, stride=2)
        stages: list[nn.Module] = []
        features = widths[0]
        for width, count in zip(widths, blocks, strict=True):
            stages.append(Halving(features, width, linear=linear))
            stages += [Block(width, kernel_size=kernel_size, mlp=mlp(width)) for _ in range(count)]
            features = width
        self.stages = nn.Sequential(*stages)
        self.norm = GroupLayerNorm(features)
        self.group_pool = GroupPool(ORDER, pooling)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features, num_classes)
        mark(self, P4M)

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to logits [N, K]."""
        pixels = F.gelu(self.stem(images)).permute(0, 2, 3, 1).contiguous()
        features = self.norm(self.stages(pixels).mean((1, 2)))
        features = features.unflatten(1, (ORDER, -1)).transpose(1, 2).flatten(1)
        return self.classifier(self.dropout(self.group_pool(features)))


LAYERS: dict[str, tuple[type[OcticLinear] | type[RegularLinear], type[OcticMLP] | type[RegularMLP]]] = {
    "p4m_convnext": (RegularLinear, RegularMLP),
    "octic": (OcticLinear, OcticMLP),
    "octic_small": (OcticLinear, OcticMLP),
}
"""Classes of the pointwise layers."""


def build(*, model: str, in_chans: int, num_classes: int, image_size: int, **hparams: Any) -> GroupConvNeXt:
    """Build a ConvNeXt on p4m.

    Args:
        model: Name in the catalogue: "p4m_convnext", "octic" or "octic_small".
        in_chans: Number of image channels C.
        num_classes: Number of classes K.
        image_size: Edge length of the images in pixels, which is only checked; the network accepts every size that
            passes the check.
        hparams: Hyper-parameters that replace values of `zoo_gconv.catalogue.NETWORKS[model].defaults`.

    Raises:
        UsageError: A hyper-parameter or the image size is invalid.
    """
    shape = {"in_chans": in_chans, "num_classes": num_classes, "image_size": image_size}
    return GroupConvNeXt(*LAYERS[model], **complete_convnext(model, **shape, hparams=hparams))
