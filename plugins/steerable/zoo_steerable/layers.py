"""Layers on steerable maps. Only the filters come from escnn or e2cnn; the rest is plain torch.

A map of C fields with d numbers each is a tensor [N, C*d, H, W]; channel c*d + j holds number j of field c, as in
both libraries. After `eval()` the modules of the libraries store the filter expanded from their weights as a buffer. It
becomes part of the state dict, and is out of date when weights change in evaluation mode, as those of a moving average
do. `SteerableConv` expands its filter at every use. The layers take and return plain tensors instead of
GeometricTensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo_steerable.basis import FilterQuery, filter_basis
from zoo_steerable.sampling import blur


class SteerableConv(nn.Module):
    """Convolve with filters that commute with a group (Weiler & Cesa 2019, arXiv:1911.08251).

    The weight is [C_out, C_in, B], for B basis filters between two fields. The state dict also holds `fingerprint`, a
    few numbers computed from the basis: the weights are coefficients, which are meaningless with another basis.

    Args:
        query: Description of the filter basis.
        in_fields, out_fields: Numbers of input and output fields, C_in and C_out.
        padding: Pixels of zeros on each side; default: as many as keep the size of the map.
    """

    filters: Tensor
    fingerprint: Tensor

    def __init__(self, query: FilterQuery, in_fields: int, out_fields: int, *, padding: int | None = None) -> None:
        super().__init__()
        basis = filter_basis(query)
        self.query = query
        self.in_fields, self.out_fields = in_fields, out_fields
        self.padding = query.kernel_size // 2 if padding is None else padding
        deviation = basis.deviation / in_fields**0.5
        self.weight = nn.Parameter(torch.randn(out_fields, in_fields, len(deviation)) * deviation)
        self.register_buffer("filters", basis.filters, persistent=False)
        self.register_buffer("fingerprint", basis.fingerprint.clone())

    def expand(self) -> Tensor:
        """Return the planar filter [C_out * d_out, C_in * d_in, k, k]; gradients flow to the weight."""
        count, outgoing, incoming, size, _ = self.filters.shape
        # Autocast would round the coefficients before they are combined, differently for each element of the group.
        with torch.autocast(self.weight.device.type, enabled=False):
            combined = self.weight.flatten(0, 1) @ self.filters.view(count, -1)
        blocks = combined.view(self.out_fields, self.in_fields, outgoing, incoming, size, size)
        return blocks.transpose(1, 2).reshape(self.out_fields * outgoing, self.in_fields * incoming, size, size)

    def forward(self, maps: Tensor) -> Tensor:
        """Map [N, C_in * d_in, H, W] to [N, C_out * d_out, H, W]."""
        return F.conv2d(maps, self.expand(), padding=self.padding)

    def export(self) -> nn.Conv2d:
        """Return an equivalent ordinary convolution."""
        bank = self.expand().detach()
        size = self.query.kernel_size
        convolution = nn.Conv2d(bank.shape[1], bank.shape[0], size, padding=self.padding, bias=False)
        convolution.weight = nn.Parameter(bank.clone())
        return convolution.to(bank.device).train(self.training)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        given = state_dict.get(f"{prefix}fingerprint")
        if given is not None and not (
            given.shape == self.fingerprint.shape
            and torch.allclose(given.to(self.fingerprint), self.fingerprint, atol=1e-3)
        ):
            query = self.query
            raise UsageError(
                f"The weights '{prefix}weight' do not match the filter basis of {query.library} "
                f"{query.symmetry.name}, {query.kernel_size}x{query.kernel_size} pixels, frequency_cutoff "
                f"{query.frequency_cutoff}: they were trained with another group, hyper-parameter or library version."
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        query = self.query
        return (
            f"{query.library} {query.symmetry.name}, {self.in_fields} {query.incoming} -> "
            f"{self.out_fields} {query.outgoing}, kernel_size={query.kernel_size}, padding={self.padding}"
        )


class RegularNorm(nn.BatchNorm2d):
    """Batch norm with one mean and variance for each regular field, and a non-linearity; both are equivariant.

    Equals the libraries' InnerBatchNorm with ReLU or ELU. The state dict is that of `nn.BatchNorm2d(fields)`.

    Args:
        fields: Number of fields C.
        size: Numbers in a field, |G|; 1 for scalars.
        nonlinearity: Non-linearity, "relu" or "elu".
    """

    def __init__(self, fields: int, size: int, *, nonlinearity: str) -> None:
        super().__init__(fields)
        self.size, self.nonlinearity = size, nonlinearity

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise [N, C*|G|, H, W] and apply the non-linearity."""
        batch, _, height, width = maps.shape
        normalised = super().forward(maps.reshape(batch, self.num_features, self.size * height, width))
        activated = F.relu(normalised) if self.nonlinearity == "relu" else F.elu(normalised)
        return activated.view(maps.shape)


class IrrepsNorm(nn.Module):
    """Batch norm and a non-linearity for fields of irreps: scalars are normalised as usual, vectors by their length.

    "gated" (Weiler et al. 2018, arXiv:1807.02547) multiplies the vector of each frequency by the sigmoid of a gate, an
    additional scalar; it maps "gated" fields to "irreps" fields. "norm" (Worrall et al. 2017, arXiv:1612.04642) changes
    the length of each vector from l to relu(l + b), where b is learned; it maps "irreps" to "irreps". In both, scalars
    go through ReLU.

    Args:
        fields: Number of fields C.
        frequency: Highest frequency, at least 1.
        nonlinearity: Non-linearity, "gated" or "norm".
    """

    running_square: Tensor

    def __init__(self, fields: int, frequency: int, *, nonlinearity: str) -> None:
        super().__init__()
        self.fields, self.frequency, self.nonlinearity = fields, frequency, nonlinearity
        self.scalars = 1 + (frequency if nonlinearity == "gated" else 0)
        self.scalar_norm = nn.BatchNorm2d(fields * self.scalars)
        self.scale = nn.Parameter(torch.ones(fields, frequency))
        if nonlinearity == "norm":
            self.bias = nn.Parameter(torch.full((fields, frequency), -0.1))
        self.register_buffer("running_square", torch.ones(fields, frequency))

    def forward(self, maps: Tensor) -> Tensor:
        """Map [N, C*d_in, H, W] to [N, C*(1 + 2*frequency), H, W]."""
        batch, _, height, width = maps.shape
        parts = maps.view(batch, self.fields, -1, height, width)
        scalars = self.scalar_norm(parts[:, :, : self.scalars].flatten(1, 2)).view(
            batch, self.fields, -1, height, width
        )
        # Lengths and their means in single precision even under autocast, because squares overflow and lose digits.
        vectors = parts[:, :, self.scalars :].view(batch, self.fields, self.frequency, 2, height, width).float()
        vectors = vectors * (self.scale * self._mean_square(vectors).add(1e-5).rsqrt())[..., None, None, None]
        if self.nonlinearity == "gated":
            vectors = vectors * scalars[:, :, 1:, None].sigmoid()
        else:
            length = vectors.square().sum(3, keepdim=True).add(1e-8).sqrt()
            vectors = vectors * (F.relu(length + self.bias[..., None, None, None]) / length)
        vectors = vectors.view(batch, self.fields, 2 * self.frequency, height, width)
        return torch.cat([F.relu(scalars[:, :, :1]), vectors.to(scalars.dtype)], 2).flatten(1, 2)

    def _mean_square(self, vectors: Tensor) -> Tensor:
        """Return the mean square of a component [C, frequency], of the batch in training or else the running mean."""
        if not self.training:
            return self.running_square
        square = vectors.square().mean((0, 3, 4, 5))
        with torch.no_grad():
            self.running_square.lerp_(square, 0.1)  # the default momentum of batch norm in torch
        return square

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"{self.fields}, frequency={self.frequency}, nonlinearity={self.nonlinearity}"


class GroupPool(nn.Module):
    """Take the largest number of each regular field, which is invariant: [N, C*|G|, ...] to [N, C, ...].

    Args:
        size: Numbers in a field, |G|.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, maps: Tensor) -> Tensor:
        """Reduce each field."""
        return maps.unflatten(1, (-1, self.size)).amax(2)


class AntialiasedPool(nn.Module):
    """Blur with a Gaussian of 5x5 pixels and take every `stride`-th one: the libraries' PointwiseAvgPoolAntialiased.

    Used by the network of 2021 only; it is exact at odd sizes only. Other networks use `zoo_steerable.sampling.halve`.

    Args:
        stride: Stride, 1 or 2.
        padding: Pixels of zeros on each side.
    """

    def __init__(self, *, stride: int, padding: int) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding

    def forward(self, maps: Tensor) -> Tensor:
        """Map [N, C, H, W] to the smaller [N, C, H', W']."""
        return blur(maps, (5, 5), stride=self.stride, padding=(self.padding, self.padding))
