"""A bug of published data, kept so that numbers measured on them can be compared. Used with `legacy=true` only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.lensing.cosmology import comoving_distance, einstein_radius


def einstein_radius_from_luminosity_distances(
    mass: ArrayLike, lens_redshift: ArrayLike, source_redshift: ArrayLike
) -> NDArray[np.float64]:
    """Return the Einstein radius in arcsec as DeepLenseSim computes it, which is too small: 1.2815 in place of 1.6645.

    It puts luminosity distances where angular diameter distances belong, and their difference in place of D_LS.

    Args:
        mass: Mass in solar masses.
        lens_redshift, source_redshift: Redshifts z_L, and z_S above it.
    """
    z_lens, z_source = np.asarray(lens_redshift, float), np.asarray(source_redshift, float)
    lens, source = comoving_distance(z_lens), comoving_distance(z_source)
    lens_luminosity, source_luminosity = lens * (1 + z_lens), source * (1 + z_source)
    wrong = (source_luminosity - lens_luminosity) / (lens_luminosity * source_luminosity)
    right = (source - lens) * (1 + z_lens) / (lens * source)
    return einstein_radius(mass, z_lens, z_source) * np.sqrt(wrong / right)
