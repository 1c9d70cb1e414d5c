"""The populations as tables: parameter -> number, prior or choice. Lengths in arcsec, angles in radians.

A population is the table of another one with the lines changed in which it differs.

Sources: P1 is Alexander et al. 2019 (arXiv:1909.07346), Table I; P2 is Alexander et al. 2020 (arXiv:2008.12731),
Table 1; DeepLenseSim is github.com/mwt5345/DeepLenseSim. "Measured" values were read off the released images
(150 x 150, peak over background). "Our choice" marks what was never published.
"""

from typing import Any

TWO_PI = "U(0, 6.283185307179586)"

# Without a GPU, images have fewer and larger pixels of the same sky; all masses are the published ones.
_SMALLER: dict[str, Any] = {"image_size": 64, "pixel_scale": 0.1, "over_sampling": 6}
BUDGETS: dict[str, dict[str, Any]] = {
    "smoke": {"image_size": 32, "pixel_scale": 0.2, "over_sampling": 12},
    "laptop": _SMALLER,
    "evening": _SMALLER,
}
# Rays per pixel and axis of populations that need more, for errors below the noise in all pixels of 48 images
# (benchmarks/results/accuracy.md): name -> budget -> number.
MORE_RAYS: dict[str, dict[str, int]] = {
    "model2": {"smoke": 24, "laptop": 12, "evening": 12},
    "model3": {"smoke": 48, "laptop": 32, "evening": 32},
    "modelA": {"smoke": 20},
    "modelA_beta19": {"smoke": 24, "laptop": 8, "evening": 8},
    "modelA_lens_light": {"smoke": 24, "laptop": 8, "evening": 8},
    "modelA_multipoles": {"smoke": 16},
    "modelA_offcentre": {"smoke": 24, "laptop": 12, "evening": 12},
    "modelA_tnfw": {"smoke": 16, "laptop": 8, "evening": 8},
}
BUDGET_NOTES = {
    budget: "{image_size} x {image_size} pixels of {pixel_scale} arcsec".format(**values)
    for budget, values in BUDGETS.items()
}


def budgets_of(name: str) -> dict[str, dict[str, Any]]:
    """Return what each budget changes in a population."""
    rays = MORE_RAYS.get(name, {})
    return {
        budget: {**values, "over_sampling": rays.get(budget, values["over_sampling"])}
        for budget, values in BUDGETS.items()
    }


# A short training from random weights learns sooner at four times the mass, and the mix leads from there to the
# published masses (docs/data.md).
PHASES = {
    "laptop": "mass_scale=4*4, mass_scale=U(1,4)*3, mass_scale=1*7",
    "evening": "mass_scale=4*4, mass_scale=U(1,4)*4, mass_scale=1*24",
    "paper": "mass_scale=4*3, mass_scale=U(1,4)*3, mass_scale=1*24",
}
# A user who states masses means these masses, not a multiple of them, and no phases that lead to others.
YIELDS = {
    "mass_scale": [
        "mass_fraction", "subhalo_mass_fraction", "vortex_mass_fraction", "subhalo_mass_low", "subhalo_mass_high",
    ]
}  # fmt: skip
# An SNR means nothing without the pixel that it is of: twice the width collects four times the light.
SHOWN = (
    "image_size", "pixel_scale", "mass_scale", "snr", "reference_pixel_scale", "multipoles", "subhalo_profile",
    "halo_centre",
)  # fmt: skip
ADDED = ("multipoles", "subhalo_profile", "subhalo_truncation", "halo_centre")
SWITCH = "conserve_mass"
SWITCH_VALUES = ("ring", "components", "none")
# What version 1 had, for data and weights that were made with it.
VERSION_1: dict[str, Any] = {"over_sampling": 2, "reference_pixel_scale": None}
CHANGES = {
    "2": "the mass inside the Einstein radius is the same in all classes (before, less exactly: the sum of the "
    "masses), SNR and sky do not depend on the pixel size, and images are rendered more accurately"
}
CAPTIONS = {
    "snr": "SNR {:.0f}",
    "total_einstein_radius": "ring {:.2f}″",
    "lens_redshift": "z {:.2f}",
    "source_redshift": "source z {:.2f}",
    "substructure_mass_fraction": "substructure {:.1%}",
    "substructure_count": "masses: {:.0f}",
    "vortex_length": "length {:.2f}″",
}
BASELINES = (
    "baselines/scalars_boosted", "baselines/scalars_boosted_regression", "anomaly/mahalanobis_scalars",
    "anomaly/pca_residual",
)  # fmt: skip
SLICES = {
    "snr": "peak signal-to-noise ratio in the image's pixels",  # the parameter snr is of a reference pixel
    "substructure_mass_fraction": "share of the mass in substructure",
    "substructure_count": "number of masses",
    "vortex_length": "length of the vortex (arcsec)",
}

MODEL_A: dict[str, Any] = {
    # Lens: an isothermal sphere; inside the Einstein radius, halo and substructure hold total_mass solar masses.
    "lens_redshift": 0.5,
    "total_mass": 1e12,
    "einstein_radius": None,  # if set, it decides total_mass
    "halo_axis_ratio": 1.0,
    "halo_angle": 0.0,
    "halo_centre": 0.0,  # arcsec from the image's middle, drawn for x and for y; the whole lens and the source move
    "multipoles": 0.0,  # amplitude of orders 3 and 4, each drawn for itself; angles are uniform
    "conserve_mass": "ring",
    "shear": "U(0, 0.3)",
    "shear_angle": TWO_PI,
    # Source: a Sersic ellipse.
    "source_redshift": 1.0,
    "source_x": 0.0,  # source_radius and source_polar_angle are counted from here
    "source_y": 0.0,
    "source_radius": "U(0, 0.5)",
    "source_polar_angle": TWO_PI,
    "source_axis_ratio": "U(0.4, 1)",
    "source_angle": TWO_PI,
    "source_index": 1.5,
    "source_effective_radius": "U(0.25, 1)",
    "source_intensity": 1.0,  # counts per second and square arcsec where snr and peak are unset
    "source_magnitude": None,  # of the whole source, unlensed; needs zero_point, and snr and peak unset
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
    "axion_mass": None,  # eV; if set, it decides vortex_length
    "vortex_angle": TWO_PI,
    "subhalo_count": "Poisson(25)",
    "subhalo_radius": "U(0, 2)",
    "subhalo_mass_fraction": None,  # None: whatever the drawn masses add up to (3.8 % on average)
    "subhalo_mass_low": 1e6,
    "subhalo_mass_high": 1e10,
    "subhalo_profile": "point",
    "subhalo_truncation": 1.0,  # of profile tnfw: truncation radius over r_200
    "beta": -0.9,  # dN/dm ~ m^beta as the generating code had it; P2 prints -1.9, a hundredth of the mass
    # Instrument. Pixels as published; PSF width our choice.
    "image_size": 150,
    "pixel_scale": 0.05,
    "over_sampling": 4,
    "psf": "gaussian",
    "psf_width": 0.1,
    "reference_pixel_scale": 0.05,  # of the published pixels: snr, peak, sky and noise below are those of this pixel
    # Noise: exposure 300 s and sky 0.1 at a peak of 4.06 counts per second give the measured background.
    "exposure_seconds": 300.0,
    "sky": 0.1,
    "zero_point": None,  # magnitude of one count per second
    "sky_magnitude": None,  # of a square arcsec; comes on top of sky
    "background_rms": None,  # of a pixel, counts per second
    "read_noise": None,  # electrons of a pixel, all read-outs together
    "peak": 4.06,
    "snr": None,  # None: the peak sets the brightness (peak SNR 34)
    "scaling": "none",
}

MODEL_B: dict[str, Any] = MODEL_A | {
    "lens_redshift": "U(0.4, 0.6)",
    "source_redshift": "U(0.8, 1.2)",
    "sky": "U(0.1, 0.5)",  # our choice, nothing is published
    "snr": "U(10, 30)",  # our choice, nothing is published
    "peak": None,
}

# Models A and B with one thing that real lenses have. Point masses on round haloes are a toy, and a network that was
# trained on them alone may take an ordinary lens for one with substructure.
VARIANTS: dict[str, dict[str, Any]] = {
    "multipoles": {  # elliptical haloes whose contours deviate from ellipses by 1 % (rms), in every class
        "halo_axis_ratio": "U(0.6, 1)",
        "halo_angle": TWO_PI,
        "multipoles": "Normal(0, 0.01)",
    },
    "lens_light": {"lens_light": True},
    "tnfw": {"subhalo_profile": "tnfw"},
    "beta19": {"beta": -1.9},  # the slope that P2 prints
    "offcentre": {"halo_centre": "U(-0.05, 0.05)"},  # a pixel, as well as a survey centres a galaxy: our choice
}

# Model B with two things that were done to the released images: a uniform angle in [0, 2 pi] was read as degrees,
# which leaves all of them with nearly one orientation, and each image was stretched from its lowest to its highest
# pixel.
PUBLISHED: dict[str, Any] = MODEL_B | {
    "shear_angle": "U(0, 0.10966227112321507)",  # 2 pi degrees
    "source_angle": "U(0, 0.10966227112321507)",
    "scaling": "minmax",
}

# P1, sections VI.A and VI.B. The substructure is added to the halo.
MODEL_2019_IDEAL: dict[str, Any] = MODEL_A | {
    "einstein_radius": 1.2,
    "conserve_mass": "none",
    "source_radius": "U(0, 1.2)",
    "source_axis_ratio": "U(0.7, 1)",
    "source_effective_radius": 0.5,
    "source_intensity": "U(0.7, 0.9)",
    "lens_light": True,
    "vortex_mass_fraction": 0.01,
    "vortex_x": 0.0,
    "vortex_y": 0.0,
    "vortex_length": 1.0,
    "subhalo_count": 25.0,
    "subhalo_radius": "U(0, 1)",
    "subhalo_mass_fraction": 0.01,  # in equal parts; the two limits state that they are equal
    "subhalo_mass_low": 1e9,
    "subhalo_mass_high": 1e9,
    "psf": "airy_circle",
    "psf_width": 0.2,  # our choice; P1: an Airy disk with its first zero below about 1 arcsec
    "peak": None,
    "snr": 34.0,  # our choice, that of Model A; P1: fixed and small noise
}
MODEL_2019_REPRESENTATIVE: dict[str, Any] = MODEL_2019_IDEAL | {
    "lens_redshift": "U(0.4, 0.6)",
    "source_redshift": "U(0.8, 1.2)",
    "lens_light_effective_radius": "U(0.5, 2)",
    "vortex_x": "Normal(0, 0.5)",
    "vortex_y": "Normal(0, 0.5)",
    "vortex_length": "U(0.5, 2)",
    "subhalo_count": "Poisson(25)",
    "sky": "U(0.1, 0.5)",  # our choice, that of Model B; P1: varied and not negligible noise
    "snr": "U(10, 30)",  # our choice, that of Model B
}
MODEL_2019_EARLIER: dict[str, Any] = {"2": {"psf": "airy"}}
MODEL_2019_CHANGES = {
    "3": "the Airy pattern ends at a circle, its third dark ring, in place of a square whose size depended on the rays"
}

# DeepLenseSim. Its ellipticities (e1, e2) are q = (1 - e) / (1 + e) and an angle of atan2(e2, e1) / 2; a PSF's width
# is its FWHM over 2.3548. Its sets add the substructure to the halo: `conserve_mass` "none".
MODEL_1: dict[str, Any] = MODEL_A | {
    "legacy": False,  # true: Einstein radii from luminosity distances, as in the released sets
    "halo_axis_ratio": 0.9 / 1.1,
    "shear": 0.05,
    "shear_angle": 0.0,
    "source_x": "U(-0.35, 0.35)",
    "source_y": "U(-0.35, 0.35)",
    "source_radius": 0.0,
    "source_axis_ratio": 0.7522,  # e1 -0.1, e2 0.1
    "source_angle": 1.1780972450961724,  # 3 pi / 8
    "source_index": 1.0,
    "source_effective_radius": 0.25,
    "source_intensity": 20.0,
    "lens_light_intensity": 30.0,  # our choice where lens light is switched on: 1.5 times the source, as in P1
    "axion_mass": "LogU(1e-24, 1e-22)",
    "vortex_points": 100,
    "vortex_mass_fraction": 0.03,  # 100 masses of 3e8
    "vortex_x": 0.0,
    "vortex_y": 0.0,
    "subhalo_count": 25.0,
    "subhalo_radius": "U(0.25, 2)",
    "psf_width": 0.036945,  # FWHM 0.087
    "exposure_seconds": "LogU(1000, 3162.2776601683795)",
    "sky": 0.0,
    "background_rms": 0.01,
    "peak": None,
}
# Euclid's visible camera as lenstronomy describes it: four exposures of 565 s, 4.2 electrons a read-out.
MODEL_2: dict[str, Any] = MODEL_1 | {
    "source_magnitude": 20.0,
    "lens_light_intensity": 80.0,
    "image_size": 64,
    "pixel_scale": 0.101,
    "reference_pixel_scale": 0.101,
    "psf_width": 0.067945,  # FWHM 0.16
    "over_sampling": 12,  # a compact source beside point masses: 8 leave errors above the noise
    "exposure_seconds": 2260.0,
    "zero_point": 24.0,
    "sky_magnitude": 22.35,
    "background_rms": None,
    "read_noise": 8.4,
}
MODEL_2_EARLIER: dict[str, Any] = {"2": {"over_sampling": 8}}
MODEL_2_CHANGES = {"3": "12 rays per pixel and axis in place of 8, so that errors stay below the noise"}

# Hubble's WFC3 through F160W as lenstronomy describes it.
MODEL_3: dict[str, Any] = MODEL_2 | {
    "lens_light_intensity": 490.0,
    "pixel_scale": 0.08,
    "reference_pixel_scale": 0.08,
    "psf_width": 0.033973,  # FWHM 0.08
    "over_sampling": 24,  # a source of 0.25 arcsec beside point masses, deep images: 16 leave errors above the noise
    "exposure_seconds": 5400.0,
    "zero_point": 25.96,
    "sky_magnitude": 22.3,
    "read_noise": 4.0,
}
MODEL_3_EARLIER: dict[str, Any] = {"2": {"over_sampling": 16}}
MODEL_3_CHANGES = {"3": "24 rays per pixel and axis in place of 16, so that errors stay below the noise"}
