"""Distances and Einstein radii in the flat LambdaCDM cosmology that the field's papers use (H0 70, Om0 0.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

HUBBLE_CONSTANT = 70.0  # km / s / Mpc
MATTER_DENSITY = 0.3
SPEED_OF_LIGHT = 299792.458  # km / s
GRAVITY = 4.300917270e-9  # Mpc km^2 / s^2 / Msun
ARCSEC_PER_RADIAN = 180 * 3600 / np.pi

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def comoving_distance(redshift: ArrayLike) -> NDArray[np.float64]:
    """Return the line-of-sight comoving distance in Mpc, by Gauss-Legendre quadrature of c / H(z)."""
    z = np.asarray(redshift, dtype=np.float64)
    nodes = 0.5 * z[..., None] * (_NODES + 1)
    inverse_hubble = 1 / np.sqrt(MATTER_DENSITY * (1 + nodes) ** 3 + 1 - MATTER_DENSITY)
    distance: NDArray[np.float64] = SPEED_OF_LIGHT / HUBBLE_CONSTANT * 0.5 * z * (inverse_hubble * _WEIGHTS).sum(-1)
    return distance


def einstein_radius(mass: ArrayLike, lens_redshift: ArrayLike, source_redshift: ArrayLike) -> NDArray[np.float64]:
    """Return sqrt(4 G M / c^2 * D_LS / (D_L D_S)) in arcsec, with angular diameter distances.

    It is a point mass's Einstein radius, and that of an isothermal sphere which holds `mass` inside it.

    Args:
        mass: Mass in solar masses.
        lens_redshift: Redshift z_L of the lens.
        source_redshift: Redshift z_S of the source, above z_L.
    """
    z_lens, z_source = np.asarray(lens_redshift, float), np.asarray(source_redshift, float)
    lens, source = comoving_distance(z_lens), comoving_distance(z_source)
    # Flat space: D_LS = (chi_S - chi_L) / (1 + z_S), D_S = chi_S / (1 + z_S), D_L = chi_L / (1 + z_L).
    ratio = (source - lens) * (1 + z_lens) / (lens * source)  # per Mpc
    radians = np.sqrt(4 * GRAVITY * np.asarray(mass, float) / SPEED_OF_LIGHT**2 * ratio)
    arcsec: NDArray[np.float64] = radians * ARCSEC_PER_RADIAN
    return arcsec
