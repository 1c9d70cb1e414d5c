"""Objects on the sky: batches of lenses, sources and masses as plain NumPy arrays of shape [n]."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.specs import OPTIONAL_MASSES

Array = NDArray[np.float64]

SCALINGS = ("none", "minmax")
"""Scalings of an image after it is read out: none, or a stretch from its lowest to its highest pixel."""


@dataclass(frozen=True, kw_only=True)
class Isothermal:
    """Singular isothermal ellipsoids; a sphere where axis_ratio is 1.

    Args:
        einstein_radius: [n] arcsec, of the intermediate axis: the mean of kappa inside the ellipse with
            semi-axes einstein_radius * sqrt(q) and einstein_radius / sqrt(q) is 1.
        axis_ratio: [n] minor over major axis, in (0, 1].
        angle: [n] of the major axis.
        x, y: [n] centre.
    """

    einstein_radius: Array
    axis_ratio: Array
    angle: Array
    x: Array
    y: Array


@dataclass(frozen=True, kw_only=True)
class Shear:
    """External shear: alpha = (gamma_1 x + gamma_2 y, gamma_2 x - gamma_1 y).

    Args:
        gamma_1, gamma_2: [n].
    """

    gamma_1: Array
    gamma_2: Array


@dataclass(frozen=True, kw_only=True)
class PointMasses:
    """Point masses of each scene, padded with zero Einstein radii to a common count.

    Args:
        x, y: [n, p] position.
        einstein_radius: [n, p]; 0 where there is no mass.
    """

    x: Array
    y: Array
    einstein_radius: Array


@dataclass(frozen=True, kw_only=True)
class Multipoles:
    """Multipoles of orders 3 and 4 around the halo's centre, which deform its contours of equal density.

    Circular multipoles of constant relative strength, as in Xu et al. 2015 (arXiv:1307.4220, eq. B10 to B12):
    kappa = amplitude * theta_E / (2 r) * cos(m (phi - angle)), alpha the gradient of
    amplitude * theta_E * r / (1 - m^2) * cos(m (phi - angle)), with theta_E of the halo. A contour of a round halo lies
    at r (1 + amplitude * cos(m (phi - angle))), so 0.01 is a deformation of 1 %.

    Args:
        amplitude_3, amplitude_4: [n] deformation; 0 where there is none.
        angle_3, angle_4: [n] direction of a crest where the amplitude is positive.
    """

    amplitude_3: Array
    angle_3: Array
    amplitude_4: Array
    angle_4: Array

    @property
    def orders(self) -> tuple[tuple[int, Array, Array], ...]:
        """Order, amplitude [n] and angle [n] of each multipole."""
        return ((3, self.amplitude_3, self.angle_3), (4, self.amplitude_4, self.angle_4))


@dataclass(frozen=True, kw_only=True)
class TruncatedHaloes:
    """Truncated NFW haloes of each scene, padded with zero Einstein radii to a common count.

    rho ~ 1 / [x (1 + x)^2] * tau^2 / (tau^2 + x^2), x = r / scale_radius, tau = truncation_radius / scale_radius
    (Baltz et al. 2009, arXiv:0705.0682, eq. A.3). The total mass is finite.

    Args:
        x, y: [n, p] position.
        einstein_radius: [n, p] Einstein radius of a point of the same total mass; 0 where there is no halo.
        scale_radius, truncation_radius: [n, p] arcsec.
    """

    x: Array
    y: Array
    einstein_radius: Array
    scale_radius: Array
    truncation_radius: Array

    @property
    def tau(self) -> Array:
        """[n, p] truncation over scale radius; 1 where there is no halo."""
        present = self.einstein_radius > 0
        return np.where(present, self.truncation_radius / np.where(present, self.scale_radius, 1.0), 1.0)

    @property
    def scale_mass(self) -> Array:
        """[n, p] M_0 = 4 pi rho_s r_s^3 in the unit of squared Einstein radii, from the total mass (eq. A.4)."""
        tau = self.tau
        total = tau**2 / (tau**2 + 1) ** 2 * ((tau**2 - 1) * np.log(tau) + np.pi * tau - (tau**2 + 1))
        return self.einstein_radius**2 / total


@dataclass(frozen=True, kw_only=True)
class Sersic:
    """Elliptical Sersic light: I = I_e exp(-b_n [(R / R_e)^(1/n) - 1]), R^2 = q x'^2 + y'^2 / q.

    Args:
        x, y: [n] centre.
        axis_ratio: [n] minor over major axis.
        angle: [n] of the major axis.
        index: [n] Sersic index.
        effective_radius: [n] half-light radius on the intermediate axis.
        intensity: [n] surface brightness at the effective radius.
    """

    x: Array
    y: Array
    axis_ratio: Array
    angle: Array
    index: Array
    effective_radius: Array
    intensity: Array

    @property
    def b(self) -> Array:
        """[n] the constant b_n that puts half of the light inside the effective radius."""
        return sersic_b(self.index)


def sersic_b(index: Array) -> Array:
    """Return b_n by the asymptotic series for a gamma distribution's median (Berg & Pedersen 2006, math/0609442).

    Good to 3e-6 for n >= 0.8 and to 2e-4 at n = 0.5. Ciotti & Bertin (1999), eq. 18, has the same terms up to 1/n^2;
    its last two are off, by 2.5e-5 of b_n at n = 1.
    """
    n = np.asarray(index, dtype=np.float64)
    return (
        2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2)
        + 281 / (3444525 * n**3) - 2375801 / (30690717750 * n**4)
    )  # fmt: skip


def with_sersic_b(light: Sersic, b: Array) -> Sersic:
    """Return the same brightness at every place, written for an engine whose constant is `b` instead of `light.b`.

    I_e exp(-b_n [(R / R_e)^(1/n) - 1]) keeps its values if b_n / R_e^(1/n) and I_e exp(b_n) are kept.

    Args:
        light: Light profiles of n images.
        b: [n] the engine's constant for `light.index`.
    """
    return dataclasses.replace(
        light,
        effective_radius=light.effective_radius * (b / light.b) ** light.index,
        intensity=light.intensity * np.exp(light.b - b),
    )


@dataclass(frozen=True, kw_only=True)
class PixelSource:
    """Light given as pictures, such as cut-outs of real galaxies: bilinear between their pixels, dark outside.

    Args:
        x, y: [n] where the middle of the picture lies.
        angle: [n] by which it is turned.
        pixel_scale: [n] arcsec per pixel of the picture.
        pixels: [n, h, w] surface brightness at the middles of the pixels; row 0 is the lowest y before the turn.
    """

    x: Array
    y: Array
    angle: Array
    pixel_scale: Array
    pixels: Array


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Exposure of each scene.

    Args:
        seconds: [n] exposure time.
        sky: [n] background, counts per second and pixel.
        snr: [n] requested ratio of the lensed source's peak to the noise of that pixel, or NaN.
        peak: [n] requested peak of the lensed source in counts per second where snr is NaN, or NaN for no scaling.
            Both are those of the reference pixel, see `Instrument.reference_pixel_scale`.
        scaling: Scaling, one of SCALINGS, applied to each image after the noise; "minmax" maps its pixels to [0, 1].
    """

    seconds: Array
    sky: Array
    snr: Array
    peak: Array
    scaling: str = "none"


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """n scenes.

    Args:
        label: [n] int64 index into the data set's classes.
        halo, shear, points, exposure: Parts of the scenes, each described in its own class.
        source: Sersic law or pictures; a simulator of Sersic laws only obtains it from `sersic_source`.
        lens_light: Light of the lens galaxy, or None.
        multipoles: Multipoles of the halo, or None.
        truncated_haloes: Masses beside `points`, or None.
        parameters: Scene parameters that are stored beside the image (redshifts, masses, counts, ...): name -> [n].
    """

    label: NDArray[np.int64]
    halo: Isothermal
    shear: Shear
    points: PointMasses
    source: Sersic | PixelSource
    exposure: Exposure
    lens_light: Sersic | None = None
    multipoles: Multipoles | None = None
    truncated_haloes: TruncatedHaloes | None = None
    parameters: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: Any) -> Scenes:
        """Return the scenes that a slice or an index array selects."""
        found: Scenes = selected(self, np.arange(len(self))[index].reshape(-1))
        return found


def check_masses(scenes: Scenes, *, simulator: str, known: Collection[str]) -> None:
    """Refuse scenes with masses that a simulator would leave out.

    Args:
        scenes: Scenes to be rendered.
        simulator: Name of the simulator, for the message.
        known: Those of `zoo.specs.OPTIONAL_MASSES` that it renders.

    Raises:
        UsageError: The scenes hold another one.
    """
    for name in OPTIONAL_MASSES:
        if name not in known and getattr(scenes, name) is not None:
            raise UsageError(
                f"{simulator} cannot render {name.replace('_', ' ')}, which these scenes contain.",
                hint="Use another simulator; see: zoo list-simulators",
            )


def sersic_source(scenes: Scenes, *, simulator: str) -> Sersic:
    """Return the source of some scenes for a simulator that can draw Sersic laws only.

    Raises:
        UsageError: The source is something else.
    """
    if not isinstance(scenes.source, Sersic):
        raise UsageError(
            f"{simulator} renders Sersic profiles only, not {type(scenes.source).__name__}.",
            hint="Use another simulator; see: zoo list-simulators",
        )
    return scenes.source


def selected(value: Any, index: NDArray[np.int64] | slice) -> Any:
    """Return a value with every array inside nested dataclasses and dictionaries indexed."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {f.name: selected(getattr(value, f.name), index) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **changes)
    if isinstance(value, dict):
        return {key: selected(item, index) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value[index]
    return value
