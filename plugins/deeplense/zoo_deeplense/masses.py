"""Masses of substructure: their power law, their sizes as truncated NFW haloes, and what lies inside the ring."""

from __future__ import annotations

import numpy as np

from zoo.errors import UsageError
from zoo.lensing.cosmology import (
    ARCSEC_PER_RADIAN,
    GRAVITY,
    HUBBLE_CONSTANT,
    MATTER_DENSITY,
    comoving_distance,
)
from zoo.lensing.scenes import Array, PointMasses, TruncatedHaloes

# Places on the ring at which the deflection is summed: 256 change the mass inside by less than 1e-4 of itself.
_PLACES = 128


def power_law(unit: Array, *, low: Array, high: Array, exponent: Array) -> Array:
    """Return draws from dN/dm ~ m^exponent between low and high, by inversion; equal limits make equal masses.

    Raises:
        UsageError: Low is above high.
    """
    if np.any(low > high):
        raise UsageError("subhalo_mass_low must not lie above subhalo_mass_high.")
    power = exponent + 1
    flat = np.abs(power) < 1e-9  # dN/dm ~ 1/m: uniform in the logarithm
    safe = np.where(flat, 1.0, power)
    inverse = (low**safe + unit * (high**safe - low**safe)) ** (1 / safe)
    return np.where(flat, low * (high / low) ** unit, inverse)


def sum_of(masses: Array) -> Array:
    """Return the sum over axis 1, from left to right: numpy's own order depends on how far the batch is padded."""
    return np.cumsum(masses, axis=1)[:, -1]


def concentration(mass: Array, redshift: Array) -> Array:
    """Return c_200 of field haloes (Duffy et al. 2008, arXiv:0804.2486, Table 1: NFW, all haloes, z 0 to 2).

    Args:
        mass: M_200 in solar masses.
        redshift: Redshift of the haloes.
    """
    pivot = 2e12 / (HUBBLE_CONSTANT / 100)
    value: Array = 5.71 * (mass / pivot) ** -0.084 * (1 + redshift) ** -0.47
    return value


def virial_radius(mass: Array, redshift: Array) -> Array:
    """Return r_200 in arcsec: the sphere of 200 times the critical density that holds the mass.

    Args:
        mass: M_200 in solar masses.
        redshift: Redshift of the haloes.
    """
    hubble_squared = HUBBLE_CONSTANT**2 * (MATTER_DENSITY * (1 + redshift) ** 3 + 1 - MATTER_DENSITY)
    critical = 3 * hubble_squared / (8 * np.pi * GRAVITY)  # solar masses per Mpc^3
    radius = (3 * mass / (800 * np.pi * critical)) ** (1 / 3)
    arcsec: Array = radius * (1 + redshift) / comoving_distance(redshift) * ARCSEC_PER_RADIAN
    return arcsec


def truncated_haloes(
    x: Array, y: Array, mass: Array, *, einstein_radius: Array, redshift: Array, truncation: Array
) -> TruncatedHaloes:
    """Return haloes of given total mass, with scale radii from the relation of mass and concentration.

    The scale radius is r_200 / c_200 of a field halo whose M_200 is the mass, and the truncation radius a multiple of
    r_200. At 1 the total mass of the profile is that of the field halo inside r_200 to some per cent.

    Args:
        x, y, mass, einstein_radius: [n, p] arcsec, solar masses; 0 where there is no mass.
        redshift: [n] of the lens.
        truncation: [n] truncation radius over r_200.
    """
    present = mass > 0
    safe, redshift = np.where(present, mass, 1.0), redshift[:, None]
    radius = virial_radius(safe, redshift)
    return TruncatedHaloes(
        x=np.where(present, x, 0.0),
        y=np.where(present, y, 0.0),
        einstein_radius=np.where(present, einstein_radius, 0.0),
        scale_radius=np.where(present, radius / concentration(safe, redshift), 0.0),
        truncation_radius=np.where(present, radius * truncation[:, None], 0.0),
    )


def enclosed_mass(radius: Array, haloes: TruncatedHaloes) -> Array:
    """Return [n, p] the projected mass inside a circle around each halo, in units of squared Einstein radii.

    Baltz et al. 2009 (arXiv:0705.0682), eq. A.11.

    Args:
        radius: [n, p] arcsec, above 0.
        haloes: Haloes; 0 is returned where there is none.
    """
    tau = haloes.tau
    x = radius / np.where(haloes.einstein_radius > 0, haloes.scale_radius, 1.0)
    root = np.sqrt(np.abs(x**2 - 1) + 1e-30)  # arctan(root) / root tends to 1
    function = np.where(x > 1, np.arctan(root), np.arctanh(np.minimum(root, 1 - 1e-15))) / root
    logarithm = np.log(x / (tau + np.sqrt(tau**2 + x**2)))
    braces = (
        (tau**2 + 2 * x**2 - 1) * function
        + np.pi * tau
        + (tau**2 - 1) * np.log(tau)
        + np.sqrt(tau**2 + x**2) * ((tau**2 - 1) / tau * logarithm - np.pi)
    )
    mass: Array = haloes.scale_mass * tau**2 / (tau**2 + 1) ** 2 * braces
    return mass


def fraction_inside(points: PointMasses, total: Array, *, axis_ratio: Array, angle: Array) -> Array:
    """Return [n] the share of the total mass that point masses hold inside the ellipse of mean convergence 1.

    Its semi-axes are total / sqrt(q) and total sqrt(q), those of `Isothermal.einstein_radius`.
    """
    cos, sin, q = np.cos(angle)[:, None], np.sin(angle)[:, None], axis_ratio[:, None]
    along, across = points.x * cos + points.y * sin, points.y * cos - points.x * sin
    inside = q * along**2 + across**2 / q < total[:, None] ** 2
    return sum_of(np.where(inside, points.einstein_radius**2, 0.0)) / total**2


def halo_fraction_inside(haloes: TruncatedHaloes, total: Array, *, axis_ratio: Array, angle: Array) -> Array:
    """Return [n] the same share of extended masses, by Gauss's theorem.

    The mass inside a curve is the integral of the normal component of the deflection along it over 2 pi.
    """
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    along, across = haloes.x * cos + haloes.y * sin, haloes.y * cos - haloes.x * sin
    major, minor = (total / np.sqrt(axis_ratio))[:, None], (total * np.sqrt(axis_ratio))[:, None]
    inside = np.zeros_like(haloes.x)
    for place in 2 * np.pi * (np.arange(_PLACES) + 0.5) / _PLACES:
        from_x, from_y = major * np.cos(place) - along, minor * np.sin(place) - across
        square = from_x**2 + from_y**2 + 1e-20
        normal = from_x * minor * np.cos(place) + from_y * major * np.sin(place)
        inside += enclosed_mass(np.sqrt(square), haloes) * normal / square
    return sum_of(inside / _PLACES) / total**2
