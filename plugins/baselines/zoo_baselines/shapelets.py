"""Shapelets: light of a source that differs from a Sersic ellipse, as a sum of terms with a coefficient each.

The terms are those of Refregier 2003 (astro-ph/0105178) in Cartesian form, times the width: products of an orthonormal
Hermite function of x / width and one of y / width. As the source of a lens they are used as in Birrer, Amara &
Refregier 2015 (arXiv:1504.07629).
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
        derivatives: [n, 1 + K, P, P] in the logarithm of the width and in the coefficients.
    """

    brightness: Tensor
    gradient: tuple[Tensor, Tensor]
    derivatives: Tensor


def brightness(x: Tensor, y: Tensor, log_width: Tensor, coefficients: Tensor, *, highest: int) -> Tensor:
    """Return the surface brightness [n, P, P] of a sum of shapelets; `shine` explains the arguments."""
    shrink = torch.exp(-log_width)
    in_x, in_y = _hermite_functions(x * shrink, highest), _hermite_functions(y * shrink, highest)
    return _total(_squared(coefficients, highest, highest), in_x, in_y)


def shine(x: Tensor, y: Tensor, log_width: Tensor, coefficients: Tensor, *, highest: int) -> Light:
    """Return the light of a sum of shapelets, with its derivatives.

    Args:
        x, y: [n, P, P] from the centre.
        log_width: [n, 1, 1] logarithm of the width w in arcsec; every term contains exp(-r^2 / 2 w^2).
        coefficients: [n, K] in the order of `orders(highest)`.
        highest: Largest sum of the orders of a term.
    """
    shrink = torch.exp(-log_width)
    u, v = x * shrink, y * shrink
    in_x, in_y = _hermite_functions(u, highest + 1), _hermite_functions(v, highest + 1)
    weights = _squared(coefficients, highest, highest + 1)
    slope = _derivative(highest + 1, like=weights)
    by_u, by_v = _total(slope @ weights, in_x, in_y), _total(weights @ slope.mT, in_x, in_y)
    columns, rows = _orders_on(highest, x.device)
    return Light(
        brightness=_total(weights, in_x, in_y),
        gradient=(by_u * shrink, by_v * shrink),
        derivatives=torch.cat([-(u * by_u + v * by_v)[:, None], in_x[:, columns] * in_y[:, rows]], dim=1),
    )


def _squared(coefficients: Tensor, highest: int, side: int) -> Tensor:
    """Return coefficients [n, K] by their orders in x and in y, [n, side + 1, side + 1]."""
    columns, rows = _orders_on(highest, coefficients.device)
    weights = coefficients.new_zeros(len(coefficients), side + 1, side + 1)
    weights[:, columns, rows] = coefficients
    return weights


def _total(weights: Tensor, in_x: Tensor, in_y: Tensor) -> Tensor:
    """Return the sum [n, P, P] of products of functions [n, N, P, P] of x and of y, by weights [n, N, N]."""
    return (in_x * torch.einsum("nij,njab->niab", weights, in_y)).sum(1)


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
