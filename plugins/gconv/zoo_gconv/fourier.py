"""The Fourier transform of D4, the point group of p4m, and the equivariant linear layer that it makes cheap.

A feature on the group is eight numbers h(s). Its Fourier coefficients belong to the irreducible representations of D4:
four of dimension one (A1, A2, B1, B2) and E of dimension two, which occurs twice:

    h_rho = sum_s rho(s) h(s)         rho = A1, A2, B1, B2
    h_ij = sum_s E_ij(s) h(s)         E(s) is the integer matrix of s itself
    h(s) = 1/8 sum_rho rho(s) h_rho + 1/4 sum_ij E_ij(s) h_ij

Only 0, 1, -1, 1/4 and 1/8 occur, which every floating-point format represents exactly. When the group acts,
[L_g h](s) = h(g^-1 s), h_rho is multiplied by rho(g) and h_ij becomes sum_k E_ik(g) h_kj: i transforms, j numbers the
copies. By Schur's lemma a linear map of C features to C' features commutes with the group if and only if it maps each
one-dimensional kind to itself, by any C x C' matrix, and the 2C copies (j, feature) of E by any 2C x 2C' matrix that is
the same for both i. So the 64 C C' products of the dense matrix shrink to 4 C C' + 2 * 4 C C' = 12 C C', 5.33 times
fewer, for the same functions: those of a 1x1 group convolution.

Sources: Serre 1977, *Linear Representations of Finite Groups*, chapters 1, 2, 6; the layout for networks follows the
idea of Nordström et al. 2025, *Stronger ViTs With Octic Equivariance*, arXiv:2505.15441, and Bökman et al. 2025,
*Flopping for FLOPs*, arXiv:2502.05169; new implementation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gconv.groups import P4M

ORDER = 8
# One-dimensional kinds: A1, A2, B1, B2. Then E_ij in the order 00, 01, 10, 11.
SCALARS = 4


def fourier_matrix() -> list[list[int]]:
    """Return the matrix [8, 8]: row = coefficient (A1, A2, B1, B2, E00, E01, E10, E11), column = group element."""
    columns = []
    for (a, b), (c, d) in P4M.elements:
        determinant = a * d - b * c
        # -1 for the elements that exchange rows and columns; a product of two of them does not.
        straight = 1 if b == 0 else -1
        columns.append([1, determinant, straight, determinant * straight, a, b, c, d])
    return [list(row) for row in zip(*columns, strict=True)]


def inverse_matrix() -> list[list[float]]:
    """Return the inverse of `fourier_matrix`: row = group element, column = coefficient."""
    weights = [1 / 8] * SCALARS + [1 / 4] * (ORDER - SCALARS)
    transposed = zip(*fourier_matrix(), strict=True)
    return [[weight * entry for weight, entry in zip(weights, row, strict=True)] for row in transposed]


class OcticLinear(nn.Module):
    """Map features on p4m by a matrix that commutes with the group, block by block in the Fourier basis.

    Input and output are [M, 8, C]: row, group element, feature. `to_blocks` and `from_blocks` change the basis and
    `multiply` applies the matrices, so layers that stay in the Fourier basis can use `multiply` alone.

    Args:
        in_features: Number of input features C.
        out_features: Number of output features C'.
    """

    fourier: Tensor
    inverse: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.scalars = nn.Parameter(torch.empty(SCALARS, in_features, out_features))
        self.pairs = nn.Parameter(torch.empty(2 * in_features, 2 * out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.register_buffer("fourier", torch.tensor(fourier_matrix(), dtype=torch.float32), persistent=False)
        self.register_buffer("inverse", torch.tensor(inverse_matrix()), persistent=False)
        # Input and output coefficients have the same scale, so these values keep the variance of the features.
        nn.init.normal_(self.scalars, std=in_features**-0.5)
        nn.init.normal_(self.pairs, std=(2 * in_features) ** -0.5)

    def multiply(self, scalars: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Map blocks [4, M, C] and [2, M, 2C] to [4, M, C'] and [2, M, 2C']."""
        # A constant on the group has only an A1 coefficient.
        bias = F.pad((self.bias * ORDER)[None, None], (0, 0, 0, 0, 0, SCALARS - 1))
        weight = self.pairs.expand(2, *self.pairs.shape)
        return torch.baddbmm(bias.to(scalars.dtype), scalars, self.scalars), torch.bmm(pairs, weight)

    def forward(self, features: Tensor) -> Tensor:
        """Map [M, 8, C] to [M, 8, C']."""
        return from_blocks(*self.multiply(*to_blocks(features, self.fourier)), self.inverse).transpose(0, 1)

    def dense(self) -> Tensor:
        """Return the same map as a weight [C', C, 8] of a 1x1 group convolution: psi(s) of `P4MConvP4M`."""
        blocks = to_blocks(torch.eye(self.in_features).to(self.pairs)[:, None] * _delta(self.pairs), self.fourier)
        without_bias = torch.bmm(blocks[0], self.scalars), torch.bmm(blocks[1], self.pairs.expand(2, -1, -1))
        response = from_blocks(*without_bias, self.inverse)
        # The response to a delta at the identity is psi at the inverse elements.
        return response[list(P4M.inverse)].permute(2, 1, 0)

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"{self.in_features}, {self.out_features}"


class OcticMLP(nn.Module):
    """Widen, apply GELU at each group element, narrow: [M, 8, C] to [M, 8, C].

    GELU acts on the regular representation, where it commutes with the group because the group only permutes elements.
    The two transforms around it are products with a constant 8x8 matrix: 16 operations for each hidden number, compared
    with 1.5 C in the layers. Norm-gated non-linearities would avoid them but would not equal group convolutions.

    Args:
        features: Number of features C.
        expansion: Number of hidden features for each of the C features.
    """

    def __init__(self, features: int, *, expansion: int = 4) -> None:
        super().__init__()
        self.widen = OcticLinear(features, expansion * features)
        self.narrow = OcticLinear(expansion * features, features)

    def forward(self, features: Tensor) -> Tensor:
        """Map [M, 8, C] to [M, 8, C]."""
        fourier, inverse = self.widen.fourier, self.widen.inverse
        hidden = from_blocks(*self.widen.multiply(*to_blocks(features, fourier)), inverse)
        blocks = to_blocks(F.gelu(hidden), fourier, elements_first=True)
        return from_blocks(*self.narrow.multiply(*blocks), inverse).transpose(0, 1)


class RegularLinear(nn.Module):
    """A 1x1 group convolution on p4m as one dense matrix product: [M, 8, C] to [M, 8, C'].

    Args:
        in_features: Number of input features C.
        out_features: Number of output features C'.
    """

    table: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(ORDER, in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        # Row r, column s: the position of psi(r^-1 s).
        self.register_buffer("table", torch.tensor(P4M.regular_table(1)), persistent=False)
        nn.init.normal_(self.weight, std=(ORDER * in_features) ** -0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Map [M, 8, C] to [M, 8, C']."""
        matrix = self.weight[self.table].permute(0, 3, 1, 2).flatten(0, 1).flatten(1)
        return F.linear(features.flatten(1), matrix, self.bias.repeat(ORDER)).unflatten(1, (ORDER, -1))

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"{self.in_features}, {self.out_features}"


class RegularMLP(nn.Module):
    """`OcticMLP` without the Fourier basis: the same functions by dense products.

    Args:
        features: Number of features C.
        expansion: Number of hidden features for each of the C features.
    """

    def __init__(self, features: int, *, expansion: int = 4) -> None:
        super().__init__()
        self.widen = RegularLinear(features, expansion * features)
        self.narrow = RegularLinear(expansion * features, features)

    def forward(self, features: Tensor) -> Tensor:
        """Map [M, 8, C] to [M, 8, C]."""
        return self.narrow(F.gelu(self.widen(features)))


def to_blocks(features: Tensor, fourier: Tensor, *, elements_first: bool = False) -> tuple[Tensor, Tensor]:
    """Transform features, and put the coefficients that one matrix maps side by side.

    Args:
        features: Features [M, 8, C], or [8, M, C] if `elements_first`.
        fourier: Matrix [8, 8] from `fourier_matrix`.

    Returns:
        A1, A2, B1, B2 as [4, M, C], and the copies of E as [2, M, 2C], first axis i and last axis (j, feature).
    """
    if elements_first:
        rows, width = features.shape[1:]
        scalars, pairs = (fourier @ features.flatten(1)).view(2, SCALARS, rows, width)
        return scalars, pairs.view(2, 2, rows, width).transpose(1, 2).reshape(2, rows, 2 * width)
    # One small product per row keeps the coefficients of a row together; the blocks are then views.
    # The number of rows is read from the shape: `len` would make it a constant in an exported program.
    coefficients = torch.bmm(fourier.expand(features.shape[0], ORDER, ORDER), features)
    pairs = coefficients[:, SCALARS:].unflatten(1, (2, 2)).flatten(2)
    return coefficients[:, :SCALARS].transpose(0, 1), pairs.transpose(0, 1)


def from_blocks(scalars: Tensor, pairs: Tensor, inverse: Tensor) -> Tensor:
    """Undo `to_blocks`: blocks [4, M, C] and [2, M, 2C] to features [8, M, C], by `inverse_matrix`."""
    rows, width = scalars.shape[1:]
    planes = scalars.view(2, 2, rows, width), pairs.unflatten(2, (2, width)).transpose(1, 2)
    # One product over all eight elements needs less memory traffic than a sum of two products.
    return (inverse @ torch.cat(planes).flatten(2).flatten(0, 1)).view(ORDER, rows, width)


def _delta(like: Tensor) -> Tensor:
    """Return [8, 1]: one at the identity, zero elsewhere."""
    delta = like.new_zeros(ORDER, 1)
    delta[0] = 1
    return delta
