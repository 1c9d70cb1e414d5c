"""The brightness that each ray meets, arranged for `torch.compile`: one loop over the rays around one over the masses.

The same formulas as in `zoo_caustics.rays`, which are caustics' (Stone et al. 2024, arXiv:2406.15542; the isothermal
ellipsoid as in Keeton 2001, astro-ph/0102341, equations 34 and 35). What is constant for an image is computed once, in
float64, and a mass costs one division: a compiler does neither of itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Added to squared distances in arcsec^2. A sum differs in float32 for squared distances near 0 only; a ray that falls
# exactly on a centre is not deflected by it.
TINY = 1e-30

# The compiler would keep a mass's pull on every ray in memory, since both sums over the masses use it.
OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {
    "realize_reads_threshold": 64,
    "realize_opcount_threshold": 1024,
}


def image_constants(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [n, 18] numbers in the order in which `brightness_fused` unpacks them.

    Args:
        parameters: [n, 15], from `zoo_caustics.rays.source_parameters` or `unlensed_parameters`.
    """
    halo_x, halo_y, q, halo_angle, einstein_radius, gamma_1, gamma_2, *light = parameters.T
    source_x, source_y, axis_ratio, angle, index, effective_radius, intensity, b = light
    flattening = np.sqrt(1 - q**2)
    sphere = q == 1
    ellipse = einstein_radius * np.sqrt(q) / np.where(sphere, 1.0, flattening)
    return np.stack(
        [
            halo_x,
            halo_y,
            np.cos(halo_angle),
            np.sin(halo_angle),
            q**2,
            flattening,
            np.where(sphere, 0.0, ellipse),
            np.where(sphere, einstein_radius, 0.0),
            gamma_1,
            gamma_2,
            source_x,
            source_y,
            np.cos(angle) / effective_radius,
            np.sin(angle) / effective_radius,
            1 / axis_ratio,
            0.5 / index,
            b,
            intensity,
        ],
        axis=1,
    )


def brightness_fused(constants: Tensor, masses: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the brightness at each ray.

    The compiler makes of it one loop over the rays, in vector registers, around one loop over the masses. It
    chooses so because the rays are the only axis that is contiguous in memory; see the strides of `masses`.

    Args:
        constants: [c, 18], see `image_constants`.
        masses: [p, c, 3], see `zoo_caustics.rays.packed_masses`.
        x, y: [rays], arcsec.

    Returns:
        [c, rays].
    """
    mass_x, mass_y, einstein_radius = (column[..., None] for column in masses.unbind(-1))
    halo_x, halo_y, cos, sin, q_squared, flattening, ellipse, sphere, gamma_1, gamma_2, *light = (
        column[..., None] for column in constants.unbind(-1)
    )
    source_x, source_y, source_cos, source_sin, inverse_ratio, exponent, b, intensity = light

    from_mass_x, from_mass_y = x - mass_x, y - mass_y
    pull = einstein_radius * einstein_radius / (from_mass_x * from_mass_x + from_mass_y * from_mass_y + TINY)
    points_x, points_y = (pull * from_mass_x).sum(0), (pull * from_mass_y).sum(0)

    from_halo_x, from_halo_y = x - halo_x, y - halo_y
    along = from_halo_x * cos + from_halo_y * sin
    across = from_halo_y * cos - from_halo_x * sin
    inverse = (q_squared * along * along + across * across + TINY).rsqrt()
    # Of the two terms one is 0: an ellipsoid's closed form divides by its flattening, which a sphere has not.
    halo_along = ellipse * torch.atan(flattening * inverse * along) + sphere * inverse * along
    halo_across = ellipse * torch.atanh(flattening * inverse * across) + sphere * inverse * across

    offset_x = x - (halo_along * cos - halo_across * sin) - (gamma_1 * x + gamma_2 * y) - points_x - source_x
    offset_y = y - (halo_along * sin + halo_across * cos) - (gamma_2 * x - gamma_1 * y) - points_y - source_y
    major = offset_x * source_cos + offset_y * source_sin
    minor = (offset_y * source_cos - offset_x * source_sin) * inverse_ratio
    # (R / R_e)^(1 / n) as exp(log(R^2 / R_e^2) / 2n): exact at R = 0, where the logarithm is minus infinity.
    return intensity * torch.exp(b - b * torch.exp(exponent * torch.log(major * major + minor * minor)))
