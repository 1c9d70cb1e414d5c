"""The populations as tables: parameter -> number, prior or choice. Lengths in arcsec, angles in radians.

Sources: P2 is Alexander et al. 2020 (arXiv:2008.12731), Table 1. "Measured" values were read off the released
images (150 x 150, peak over background). "Our choice" marks what was never published.
"""

from typing import Any

TWO_PI = "U(0, 6.283185307179586)"

MODEL_A: dict[str, Any] = {
    # Lens: an isothermal sphere; halo and substructure together hold total_mass solar masses.
    "lens_redshift": 0.5,
    "total_mass": 1e12,
    "halo_axis_ratio": 1.0,
    "halo_angle": 0.0,
    "conserve_mass": True,
    "shear": "U(0, 0.3)",
    "shear_angle": TWO_PI,
    # Source: a Sersic ellipse.
    "source_redshift": 1.0,
    "source_radius": "U(0, 0.5)",
    "source_polar_angle": TWO_PI,
    "source_axis_ratio": "U(0.4, 1)",
    "source_angle": TWO_PI,
    "source_index": 1.5,
    "source_effective_radius": "U(0.25, 1)",
    "source_intensity": 1.0,
    # Lens light: none in Models A and B; when switched on, the values of arXiv:1909.07346, Table I.
    "lens_light": False,
    "lens_light_axis_ratio": "U(0.5, 1)",
    "lens_light_angle": TWO_PI,
    "lens_light_index": 2.5,
    "lens_light_effective_radius": 0.5,
    "lens_light_intensity": 1.2,
    # Substructure. mass_fraction sets both classes at once; mass_scale multiplies every mass.
    "mass_scale": 1.0,
    "mass_fraction": None,
    "vortex_mass_fraction": "U(0.03, 0.055)",
    "vortex_points": 25,
    "vortex_x": "Normal(0, 0.5)",
    "vortex_y": "Normal(0, 0.5)",
    "vortex_length": "U(0.5, 2)",
    "vortex_angle": TWO_PI,
    "subhalo_count": "Poisson(25)",
    "subhalo_radius": "U(0, 2)",
    "subhalo_mass_fraction": None,  # None: whatever the drawn masses add up to (3.8 % on average)
    "subhalo_mass_low": 1e6,
    "subhalo_mass_high": 1e10,
    "beta": -0.9,  # dN/dm ~ m^beta as the generating code had it; P2 prints -1.9, a hundredth of the mass
    # Instrument. Pixels as published; PSF width our choice.
    "image_size": 150,
    "pixel_scale": 0.05,
    "over_sampling": 2,
    "psf": "gaussian",
    "psf_width": 0.1,
    # Noise: exposure 300 s and sky 0.1 at a peak of 4.06 counts per second give the measured background.
    "exposure_seconds": 300.0,
    "sky": 0.1,
    "peak": 4.06,
    "snr": None,  # None: the peak sets the brightness (peak SNR 34)
}

MODEL_B: dict[str, Any] = MODEL_A | {
    "lens_redshift": "U(0.4, 0.6)",
    "source_redshift": "U(0.8, 1.2)",
    "sky": "U(0.1, 0.5)",  # our choice, nothing is published
    "snr": "U(10, 30)",  # our choice, nothing is published
    "peak": None,
}
