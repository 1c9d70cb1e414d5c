"""From our scenes to lenstronomy's model names and keyword arguments.

Einstein radius and effective radius are measured on the intermediate axis, angles from +x, in both; ellipticities
are e = (1 - q) / (1 + q) (cos 2 phi, sin 2 phi). `POINT_MASS`, `SHEAR` and `SIS` are as ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from lenstronomy.LensModel.Profiles.sersic_utils import SersicUtil
from lenstronomy.Util.param_util import phi_q2_ellipticity

from zoo.errors import UsageError
from zoo.lensing.scenes import Sersic, with_sersic_b

if TYPE_CHECKING:
    from zoo.lensing.scenes import PixelSource, PointMasses, Scenes, TruncatedHaloes

Keywords = dict[str, float]


def lens_models(scenes: Scenes, i: int) -> tuple[str, ...]:
    """Return the names of the lens models of scene i: halo, shear, point masses, multipoles, truncated haloes."""
    # lenstronomy's SIE turns q = 1 into 1 - 1e-8.
    halo = "SIS" if scenes.halo.axis_ratio[i] == 1 else "SIE"
    names = [halo, "SHEAR", *["POINT_MASS"] * len(_masses(scenes.points, i))]
    if scenes.multipoles is not None:
        names += ["MULTIPOLE"] * len(scenes.multipoles.orders)
    if scenes.truncated_haloes is not None:
        names += ["TNFW"] * len(_masses(scenes.truncated_haloes, i))
    return tuple(names)


def lens_keywords(scenes: Scenes, i: int) -> list[Keywords]:
    """Return the keyword arguments of the same models."""
    halo, shear, points = scenes.halo, scenes.shear, scenes.points
    keywords = {"theta_E": halo.einstein_radius[i], "center_x": halo.x[i], "center_y": halo.y[i]}
    if halo.axis_ratio[i] != 1:
        e1, e2 = phi_q2_ellipticity(halo.angle[i], halo.axis_ratio[i])
        keywords |= {"e1": e1, "e2": e2}
    return [
        keywords,
        {"gamma1": shear.gamma_1[i], "gamma2": shear.gamma_2[i]},
        *(
            {"theta_E": points.einstein_radius[i, p], "center_x": points.x[i, p], "center_y": points.y[i, p]}
            for p in _masses(points, i)
        ),
        *_multipole_keywords(scenes, i),
        *_truncated_keywords(scenes, i),
    ]


def _multipole_keywords(scenes: Scenes, i: int) -> list[Keywords]:
    """Return the keyword arguments of `MULTIPOLE`, whose strength is in arcsec."""
    halo, multipoles = scenes.halo, scenes.multipoles
    return [
        {
            "m": order,
            "a_m": amplitude[i] * halo.einstein_radius[i],
            "phi_m": angle[i],
            "center_x": halo.x[i],
            "center_y": halo.y[i],
        }
        for order, amplitude, angle in ([] if multipoles is None else multipoles.orders)
    ]


def _truncated_keywords(scenes: Scenes, i: int) -> list[Keywords]:
    """Return the keyword arguments of `TNFW`; alpha_Rs is the deflection of the untruncated NFW halo at Rs.

    Inside Rs it holds M_0 (1 + ln(1 / 2)) (Bartelmann 1996, astro-ph/9602053).
    """
    haloes = scenes.truncated_haloes
    if haloes is None:
        return []
    mass = haloes.scale_mass
    return [
        {
            "Rs": haloes.scale_radius[i, p],
            "alpha_Rs": mass[i, p] * (1 - np.log(2)) / haloes.scale_radius[i, p],
            "r_trunc": haloes.truncation_radius[i, p],
            "center_x": haloes.x[i, p],
            "center_y": haloes.y[i, p],
        }
        for p in _masses(haloes, i)
    ]


def light_keywords(light: Sersic | PixelSource, *, own_b: bool) -> list[Keywords]:
    """Return the keyword arguments of `SERSIC_ELLIPSE`, one for each scene.

    Args:
        light: Light profiles of n images.
        own_b: Whether radius and intensity keep their values under lenstronomy's constant, or the profile its form.

    Raises:
        UsageError: The light is something else than a Sersic profile.
    """
    if not isinstance(light, Sersic):
        raise UsageError(
            f"lenstronomy/lenstronomy renders Sersic profiles only, not {type(light).__name__}.",
            hint="Use the simulator caustics.",
        )
    if not own_b:
        light = with_sersic_b(light, SersicUtil.b_n(light.index))
    e1, e2 = phi_q2_ellipticity(light.angle, light.axis_ratio)
    return [
        {
            "amp": light.intensity[i],
            "R_sersic": light.effective_radius[i],
            "n_sersic": light.index[i],
            "e1": e1[i],
            "e2": e2[i],
            "center_x": light.x[i],
            "center_y": light.y[i],
        }
        for i in range(len(light.x))
    ]


def _masses(masses: PointMasses | TruncatedHaloes, i: int) -> np.ndarray:
    """Return the places of scene i that hold a mass."""
    return np.flatnonzero(masses.einstein_radius[i])
