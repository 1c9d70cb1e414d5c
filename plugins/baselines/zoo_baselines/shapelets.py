"""Shapelets: light of a source that no Sersic ellipse describes, as a sum of terms with a coefficient each.

The terms are those of Refregier 2003 (astro-ph/0105178) in Cartesian form: products of a Hermite function of x and one
of y. As the source of a lens they are used as in Birrer, Amara & Refregier 2015 (arXiv:1504.07629).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

HIGHEST_ORDER = 12


@functools.cache
def orders(highest: int) -> tuple[tuple[int, int], ...]:
    """Return the orders in x and in y of all terms whose orders add up to `highest` at most, lowest sums first."""
    return tuple((total - in_y, in_y) for total in range(highest + 1) for in_y in range(total + 1))


@dataclass(frozen=True, kw_only=True)
class Light:
    """Surface brightness of shapelets, and its derivatives.

    Args:
        brightness: [n, P, P].
        gradient: [n, P, P] each, in x and in y.
        by_log_width: [n, P, P] derivative in the logarithm of the width.
        by_coefficient: [n, K, P, P] the terms themselves.
    """

    brightness: Tensor
    gradient: tuple[Tensor, Tensor]
    by_log_width: Tensor
    by_coefficient: Tensor


def shine(x: Tensor, y: Tensor, log_width: Tensor, coefficients: Tensor, *, highest: int) -> Light:
    """Return the light of a sum of shapelets.

    Args:
        x, y: [n, P, P] from the centre.
        log_width: [n, 1, 1] logarithm of the standard deviation of the amplitude's Gaussian, which all terms contain.
        coefficients: [n, K] in the order of `orders(highest)`.
        highest: Largest sum of the orders of a term.
    """
    shrink = torch.exp(-log_width)
    u, v = x * shrink, y * shrink
    in_x, in_y = _hermite_functions(u, highest + 1), _hermite_functions(v, highest + 1)
    columns, rows = _orders_on(highest, x.device)
    square = coefficients.new_zeros(len(coefficients), highest + 2, highest + 2)
    square[:, columns, rows] = coefficients
    slope = _derivative(highest + 1, like=square)

    def total(weights: Tensor) -> Tensor:
        """Return the sum of weights [n, highest + 2, highest + 2] times the products of all Hermite functions."""
        return (in_x * torch.einsum("nij,njab->niab", weights, in_y)).sum(1)

    by_u, by_v = total(slope @ square), total(square @ slope.mT)
    return Light(
        brightness=total(square),
        gradient=(by_u * shrink, by_v * shrink),
        by_log_width=-(u * by_u + v * by_v),
        by_coefficient=in_x[:, columns] * in_y[:, rows],
    )


@functools.cache
def _orders_on(highest: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return `orders` as indices, [K] in x and [K] in y."""
    in_x, in_y = torch.tensor(orders(highest), device=device).unbind(1)
    return in_x, in_y


def _hermite_functions(u: Tensor, highest: int) -> Tensor:
    """Return the orthonormal Hermite functions of orders 0 to `highest`, [n, highest + 1, P, P] of [n, P, P]."""
    found = [math.pi**-0.25 * torch.exp(-0.5 * u * u)]
    for order in range(1, highest + 1):
        before = math.sqrt((order - 1) / order) * found[order - 2] if order > 1 else 0.0
        found.append(math.sqrt(2 / order) * u * found[-1] - before)
    return torch.stack(found, dim=1)


def _derivative(highest: int, *, like: Tensor) -> Tensor:
    """Return D [highest + 1, highest + 1]: the derivative of a sum with weights c is the sum with weights D c.

    It is exact where the weight of the highest order is 0.
    """
    step = (torch.arange(1, highest + 1, dtype=like.dtype, device=like.device) / 2).sqrt()
    return torch.diag(step, 1) - torch.diag(step, -1)
