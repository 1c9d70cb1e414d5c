"""Values that the parameters of a table may have."""

from __future__ import annotations

import numpy as np

from zoo.errors import UsageError, nearest

CONSERVED = ("ring", "components", "none")
"""Quantity that substructure keeps: the mass inside the Einstein radius, the sum of all masses, or nothing."""

PROFILES = ("point", "tnfw")
"""Forms of a sub-halo: a point mass, or a truncated NFW halo."""

SWITCHES = ("lens_light", "legacy")
OPTIONAL = (
    "einstein_radius", "source_magnitude", "mass_fraction", "subhalo_mass_fraction", "axion_mass",
    "zero_point", "sky_magnitude", "background_rms", "read_noise", "snr", "peak",
)  # fmt: skip
PLAIN = ("conserve_mass", "image_size", "pixel_scale", "over_sampling", "psf", "psf_width", "reference_pixel_scale",
    "vortex_points", "scaling", "subhalo_profile",
)  # fmt: skip
# Physical limits of every prior's support: (lowest, highest), checked on what is drawn.
LIMITS = {
    "lens_redshift": (1e-3, 20), "source_redshift": (1e-3, 20), "total_mass": (1e6, 1e16),
    "einstein_radius": (1e-3, 100), "halo_axis_ratio": (0.05, 1), "shear": (0, 0.9),
    "source_radius": (0, np.inf), "source_axis_ratio": (0.05, 1), "source_index": (0.3, 10),
    "source_effective_radius": (1e-3, np.inf), "source_intensity": (1e-12, np.inf),
    "lens_light_axis_ratio": (0.05, 1), "lens_light_index": (0.3, 10),
    "lens_light_effective_radius": (1e-3, np.inf), "lens_light_intensity": (0, np.inf),
    "mass_scale": (0, np.inf), "mass_fraction": (0, 0.99), "vortex_mass_fraction": (0, 0.99),
    "subhalo_mass_fraction": (0, 0.99), "vortex_length": (0, np.inf), "subhalo_radius": (0, np.inf),
    "subhalo_mass_low": (1, 1e16), "subhalo_mass_high": (1, 1e16), "beta": (-10, 10),
    "multipoles": (-0.2, 0.2), "halo_centre": (-2, 2), "subhalo_truncation": (0.01, 100),
    "axion_mass": (1e-26, 1e-18), "source_magnitude": (-30, 60), "zero_point": (-30, 60), "sky_magnitude": (-30, 60),
    "background_rms": (0, np.inf), "read_noise": (0, np.inf),
    "exposure_seconds": (1e-6, np.inf), "sky": (0, np.inf), "snr": (0.1, 1e5), "peak": (1e-6, np.inf),
}  # fmt: skip


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """Return a value that must be one of some words.

    Raises:
        UsageError: It is another one.
    """
    if value not in allowed:
        raise UsageError(f"{name}={value!r} is not one of {', '.join(allowed)}.{nearest(str(value), allowed)}")
    return str(value)


def conserved(value: object) -> str:
    """Return the value of `conserve_mass`; true and false are those of versions that had a switch only.

    Raises:
        UsageError: The value is unknown.
    """
    if isinstance(value, bool):
        return "components" if value else "none"
    if value not in CONSERVED:
        raise UsageError(
            f"conserve_mass={value!r} is not one of {', '.join(CONSERVED)}.{nearest(str(value), CONSERVED)}",
            hint="Version 1 had true and false, which stand for components and none.",
        )
    return str(value)
