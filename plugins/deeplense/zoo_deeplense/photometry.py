"""From magnitudes to counts, and from a Sersic law to its whole light."""

from __future__ import annotations

import math

import numpy as np

from zoo.lensing.scenes import Array, Sersic


def counts_per_second(magnitude: Array, zero_point: Array) -> Array:
    """Return counts per second of a magnitude; `zero_point` is the magnitude of one count per second."""
    counts: Array = 10 ** (-0.4 * (magnitude - zero_point))
    return counts


def sersic_flux(light: Sersic) -> Array:
    """Return [n] the integral of a Sersic law over the plane: 2 pi n R_e^2 I_e exp(b) b^(-2n) Gamma(2n).

    Source: Graham & Driver 2005 (astro-ph/0503176), eq. 4. R is the radius on the intermediate axis, so an
    ellipse has the area, and the light, of the circle.
    """
    index, b = light.index, light.b
    gamma = np.array([math.gamma(2 * n) for n in index])
    flux: Array = (
        2 * np.pi * index * light.effective_radius**2 * light.intensity * np.exp(b) * b ** (-2 * index) * gamma
    )
    return flux
