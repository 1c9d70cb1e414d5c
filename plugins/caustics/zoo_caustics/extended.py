"""Deflection by masses that only some scenes contain: multipoles of the halo, and truncated NFW haloes.

The haloes' enclosed mass is caustics' (Stone et al. 2024, arXiv:2406.15542). Its multipole takes one scene at a time;
the closed form here is the same (Xu et al. 2015, arXiv:1307.4220, eq. B12), for several scenes and without an
arctangent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from caustics.lenses.func import mass_enclosed_2d_tnfw
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.lensing.scenes import Scenes

_TINY = 1e-20  # arcsec^2; a ray that falls exactly on a centre is not deflected by it
# Of tables: logarithms of squared distances from 1e-5 to 1e3 arcsec.
_LEAST, _MOST, _STEPS = math.log(1e-10), math.log(1e6), 8192
_STEP = (_MOST - _LEAST) / (_STEPS - 1)


@dataclass(frozen=True, kw_only=True)
class Extended:
    """Extended masses of c scenes.

    Args:
        multipoles: [c, 6] x and y of the centre, then for the orders 3 and 4 the amplitude in arcsec times cosine and
            sine of order * angle.
        haloes: [p, c, 5] x, y, mass M_0 in arcsec^2, scale radius, tau. Where a mass is 0 there is no halo.
        pulls: [p, c, k] of the haloes, see `tabulated`; None computes each ray's.
    """

    multipoles: Tensor
    haloes: Tensor
    pulls: Tensor | None = None

    def __getitem__(self, index: Tensor) -> Extended:
        """Return the masses of some scenes, without places that are empty in all of them."""
        haloes = self.haloes[:, index]
        return Extended(multipoles=self.multipoles[index], haloes=haloes[(haloes[..., 2] != 0).any(1)])

    def tabulated(self, dtype: torch.dtype) -> Extended:
        """Return the same masses for rays of a lower precision: fast, and exact to 1e-5 of a halo's deflection.

        A halo's mass over the squared distance is tabulated in float64, at equal steps of the distance's logarithm.
        Near the centre terms of the formula cancel, which float32 does not bear.
        """
        steps = torch.arange(_STEPS, dtype=torch.float64, device=self.haloes.device)
        square = torch.exp(_LEAST + steps * _STEP)
        return Extended(
            multipoles=self.multipoles.to(dtype), haloes=self.haloes.to(dtype), pulls=self.pull(square).to(dtype)
        )

    def pull(self, square: Tensor) -> Tensor:
        """Return the haloes' mass over the squared distance, [p, c, k], at squared distances [k]."""
        mass, scale, tau = (column[..., None] for column in self.haloes[..., 2:].unbind(-1))
        return mass_enclosed_2d_tnfw(square.sqrt(), scale, tau, mass) / square


def extended_scenes(scenes: Scenes) -> NDArray[np.bool_]:
    """Return [n] which scenes contain an extended mass: their rays take another path than those of the others."""
    found = np.zeros(len(scenes), dtype=bool)
    if scenes.multipoles is not None:
        for _, amplitude, _ in scenes.multipoles.orders:
            found |= amplitude != 0
    if scenes.truncated_haloes is not None:
        found |= (scenes.truncated_haloes.einstein_radius != 0).any(1)
    return found


def extended_masses(scenes: Scenes, *, device: torch.device) -> Extended:
    """Return the extended masses of n scenes in float64."""
    halo = scenes.halo
    columns = [halo.x, halo.y, *[np.zeros(len(scenes))] * 4]
    if scenes.multipoles is not None:
        for place, (order, amplitude, angle) in enumerate(scenes.multipoles.orders):
            strength = amplitude * halo.einstein_radius
            columns[2 + 2 * place] = strength * np.cos(order * angle)
            columns[3 + 2 * place] = strength * np.sin(order * angle)
    packed = np.zeros((0, len(scenes), 5))
    if scenes.truncated_haloes is not None:
        each = scenes.truncated_haloes
        scale = np.where(each.einstein_radius != 0, each.scale_radius, 1.0)
        packed = np.stack([each.x.T, each.y.T, each.scale_mass.T, scale.T, each.tau.T], axis=-1)
    return Extended(
        multipoles=torch.as_tensor(np.stack(columns, axis=1), device=device),
        haloes=torch.as_tensor(packed, device=device),
    )


def extended_deflection(masses: Extended, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the deflection at each ray; x and y are broadcastable to the shape of the rays."""
    across = (slice(None), *(None,) * x.dim())
    centre_x, centre_y, *strengths = (column[across] for column in masses.multipoles.unbind(-1))
    sum_x, sum_y = _multipoles(x - centre_x, y - centre_y, strengths)
    for i, halo in enumerate(masses.haloes):
        halo_x, halo_y, mass, scale, tau = (column[across] for column in halo.unbind(-1))
        from_x, from_y = x - halo_x, y - halo_y
        square = from_x**2 + from_y**2 + _TINY
        if masses.pulls is None:
            pull = mass_enclosed_2d_tnfw(square.sqrt(), scale, tau, mass) / square
        else:
            pull = _looked_up(masses.pulls[i], square)
        sum_x = sum_x + pull * from_x
        sum_y = sum_y + pull * from_y
    return sum_x, sum_y


def _looked_up(table: Tensor, square: Tensor) -> Tensor:
    """Return the values of tables [c, k] at squared distances [c, *rays], linear in their logarithm."""
    place = ((square.log() - _LEAST) / _STEP).clamp_(0, _STEPS - 1.001)
    below = place.to(torch.int64)
    share = place.sub_(below).flatten(1)
    below = below.flatten(1)
    low, high = table.gather(1, below), table.gather(1, below + 1)
    return torch.lerp(low, high, share).reshape(square.shape)


def _multipoles(x: Tensor, y: Tensor, strengths: list[Tensor]) -> tuple[Tensor, Tensor]:
    inverse = (x**2 + y**2 + _TINY).rsqrt()
    cos, sin = x * inverse, y * inverse
    # Cosine and sine of twice the angle, then of three and four times.
    cos_2, sin_2 = cos * cos - sin * sin, 2 * cos * sin
    angles = {3: (cos_2 * cos - sin_2 * sin, sin_2 * cos + cos_2 * sin), 4: (cos_2**2 - sin_2**2, 2 * cos_2 * sin_2)}
    alpha_x, alpha_y = torch.zeros_like(cos), torch.zeros_like(cos)
    for (order, (cos_m, sin_m)), even, odd in zip(angles.items(), strengths[::2], strengths[1::2], strict=True):
        radial = (even * cos_m + odd * sin_m) / (1 - order**2)  # of the gradient, in units of the amplitude
        around = order * (odd * cos_m - even * sin_m) / (1 - order**2)
        alpha_x = alpha_x + radial * cos - around * sin
        alpha_y = alpha_y + radial * sin + around * cos
    return alpha_x, alpha_y
