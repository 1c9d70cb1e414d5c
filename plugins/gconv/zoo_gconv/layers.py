"""Group convolutions on p4 and p4m in plain torch (Cohen & Welling 2016, arXiv:1602.07576).

State layout: a feature map on the group is a plain tensor [N, C*|G|, H, W] whose channel c*|G| + r holds
feature c at group element r, so the |G| maps of one feature are adjacent. With this order,
  - a group convolution is one `conv2d` with a filter bank gathered from the weight in one indexing step;
  - batch norm over (N, G, H, W) is `batch_norm` on the view [N, C, |G|*H, W], which copies nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gconv.groups import P4, P4M, Z2, PointGroup
from zoo_gconv.sampling import blur_bank, shift_bank


class _PlanarBank(nn.Module):
    """A convolution whose planar filter bank is gathered from one filter per output and input feature.

    The bank is cached in eval mode on the CPU while no gradient can reach the weight. The cache is not a parameter or a
    buffer, and is not part of state dicts, copies or pickles. It is valid while the weight equals, value by value, the
    one that it was made from. The comparison takes a few microseconds and detects every change of the weight; torch's
    version counters miss some changes, for example by fused optimizers and edits through `weight.data`. On other
    devices the comparison would wait for the device and cost more than it saves.

    Args:
        in_features: Number of input features (not channels), C_in.
        out_features: Number of output features, C_out.
        kernel_size: Edge length k of the filters, odd; may be even without padding.
        stride: 1, or 2 to halve the resolution, rounded up.
        downsampling: Method of stride 2: "mean" takes the mean over windows two pixels wide, "stride" every second
            pixel of each element's own grid; see `zoo_gconv.sampling`. Both are folded into the bank, so the
            full-resolution map is never computed.
        padding: Whether k // 2 zeros are added on each side; False requires stride 1.
        bias: Whether to learn one constant per output feature, shared by the group as equivariance requires.
    """

    group: ClassVar[PointGroup]
    in_order: int
    table: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        stride: int = 1,
        downsampling: str = "mean",
        padding: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or (padding and kernel_size % 2 == 0):
            raise ValueError(f"kernel_size is {kernel_size}; it must be odd, so that the kernel has a centre")
        if stride not in (1, 2):
            raise ValueError(f"stride is {stride}; it must be 1 or 2")
        if downsampling not in ("mean", "stride"):
            raise ValueError(f"downsampling is {downsampling!r}; it must be 'mean' or 'stride'")
        if stride == 2 and not padding:
            raise ValueError("stride is 2; without padding it must be 1")
        self.in_features, self.out_features = in_features, out_features
        self.kernel_size, self.stride, self.downsampling = kernel_size, stride, downsampling
        self.padding = kernel_size // 2 if padding else 0
        self.weight = nn.Parameter(torch.empty(self._weight_shape()))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.register_buffer("table", torch.tensor(self._make_table()), persistent=False)
        self._cache: tuple[Tensor, Tensor] | None = None
        # He et al. 2015: keeps the variance of a map if a ReLU follows.
        nn.init.kaiming_normal_(self.weight.view(out_features, -1), nonlinearity="relu")

    def _weight_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def _make_table(self) -> list[list[int]]:
        raise NotImplementedError

    def expand(self) -> Tensor:
        """Gather the planar filter bank [C_out*|G|, C_in*|G_in|, k, k] from the weight.

        Row o*|G| + r is the filter of output feature o, transformed by r. Gradients flow to the weight.
        """
        order, taps = self.table.shape
        weight = self.weight.view(self.out_features, 1, self.in_features, taps)
        shape = (self.out_features, order, self.in_features, taps)
        bank = weight.expand(shape).gather(-1, self.table[None, :, None].expand(shape))
        return bank.view(self.out_features * order, -1, self.kernel_size, self.kernel_size)

    def filter_bank(self) -> Tensor:
        """Return `expand()`, from the cache where that is safe."""
        weight = self.weight
        if (
            self.training
            or weight.device.type != "cpu"
            or (torch.is_grad_enabled() and weight.requires_grad)
            or torch.compiler.is_compiling()
            # functional_call and vmap substitute tensors that may not be compared.
            or not isinstance(weight, nn.Parameter)
        ):
            return self.expand()
        if self._cache is not None:
            source, bank = self._cache
            if source.dtype == weight.dtype and torch.equal(source, weight):
                return bank
        # A bank made under inference_mode could not serve a later pass that differentiates by the input.
        with torch.inference_mode(False), torch.no_grad():
            self._cache = weight.detach().clone(), self.expand()
        return self._cache[1]

    def forward(self, maps: Tensor) -> Tensor:
        """Map [N, C_in*|G_in|, H, W] to [N, C_out*|G|, H, W], or to half of H and W, rounded up."""
        bank = self.filter_bank()
        padding = self.padding
        bias = None if self.bias is None else self.bias.repeat_interleave(self.group.order)
        if self.stride == 1:
            return F.conv2d(maps, bank, bias, padding=padding)
        if self.downsampling == "stride":
            bank = shift_bank(bank, self.group, maps.shape[-2:])
            return F.conv2d(maps, bank, bias, stride=2, padding=padding)
        bank, extra = blur_bank(bank, maps.shape[-2:])
        return F.conv2d(maps, bank, bias, stride=2, padding=(padding + extra[0], padding + extra[1]))

    def train(self, mode: bool = True) -> Self:
        """Set the mode and delete the cached bank."""
        self._cache = None
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self._cache = None
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": None}

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"{self.in_features}, {self.out_features}, kernel_size={self.kernel_size}, stride={self.stride}"


class LiftingConv(_PlanarBank):
    """Correlate an image with every transformed copy of a filter (eq. 10 of Cohen & Welling 2016).

    [f * psi](x, r) = sum_c sum_y f_c(y) psi_c(r^-1 (y - x)); [N, C_in, H, W] to [N, C_out*|G|, H, W].
    The weight is [C_out, C_in, k, k]. Subclasses set `group`; the arguments are those of `_PlanarBank`.
    """

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.out_features, self.in_features, self.kernel_size, self.kernel_size)

    def _make_table(self) -> list[list[int]]:
        return self.group.lifting_table(self.kernel_size)


class GroupConv(_PlanarBank):
    """Correlate a map on the group with a filter on the group (eq. 11 of Cohen & Welling 2016).

    [f * psi](x, r) = sum_c sum_{y, s} f_c(y, s) psi_c(r^-1 (y - x), r^-1 s); [N, C_in*|G|, H, W] to
    [N, C_out*|G|, H, W]. The weight is [C_out, C_in, |G|, k, k]. Subclasses set `group`.
    """

    def _weight_shape(self) -> tuple[int, ...]:
        order = self.group.order
        return (self.out_features, self.in_features, order, self.kernel_size, self.kernel_size)

    def _make_table(self) -> list[list[int]]:
        return self.group.regular_table(self.kernel_size)


class Z2ConvZ2(LiftingConv):
    """The plain convolution: the same code with the trivial group."""

    group = Z2


class P4ConvZ2(LiftingConv):
    """Lift an image to p4: four rotations."""

    group = P4


class P4ConvP4(GroupConv):
    """Convolve on p4."""

    group = P4


class P4MConvZ2(LiftingConv):
    """Lift an image to p4m: four rotations, with and without a mirror."""

    group = P4M


class P4MConvP4M(GroupConv):
    """Convolve on p4m."""

    group = P4M


class GroupBatchNorm(nn.BatchNorm2d):
    """Batch norm with one mean and variance per feature, pooled over batch, group and space.

    The state dict is that of `nn.BatchNorm2d(features)`; maps are [N, C*|G|, H, W], in and out.

    Args:
        features: Number of features C.
        order: Number of elements |G| of the group.
        relu: Whether to apply ReLU as well.
    """

    def __init__(
        self, features: int, order: int, *, relu: bool = False, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__(features, eps=eps, momentum=momentum)
        self.order, self.relu = order, relu

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise [N, C*|G|, H, W]."""
        batch, _, height, width = maps.shape
        stacked = maps.reshape(batch, self.num_features, self.order * height, width)
        normalised = super().forward(stacked)
        if self.relu:
            # In place here, before viewing back: in place on a view, autograd would copy every gradient.
            normalised = F.relu_(normalised)
        return normalised.view(maps.shape)

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"{self.num_features}, order={self.order}, relu={self.relu}"


class GroupPool(nn.Module):
    """Reduce each feature over the group: [N, C*|G|, ...] to [N, C, ...]. The result transforms as an image does.

    Args:
        order: Number of elements |G| of the group.
        reduction: Reduction over the group, "max" or "mean".
    """

    def __init__(self, order: int, reduction: str) -> None:
        super().__init__()
        if reduction not in ("max", "mean"):
            raise ValueError(f"reduction is {reduction!r}; it must be 'max' or 'mean'")
        self.order, self.reduction = order, reduction

    def forward(self, maps: Tensor) -> Tensor:
        """Reduce [N, C*|G|, ...] to [N, C, ...]."""
        orbit = maps.unflatten(1, (-1, self.order))
        return orbit.amax(2) if self.reduction == "max" else orbit.mean(2)
