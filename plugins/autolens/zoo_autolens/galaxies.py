"""From our scenes to PyAutoLens' galaxies, and from its images to ours.

| zoo (`zoo.lensing.scenes`) | PyAutoLens | |
|---|---|---|
| `Isothermal.einstein_radius` t, intermediate axis | `Isothermal.einstein_radius` | t (1 + q) / (2 sqrt(q)) |
| `axis_ratio` = 1 | `IsothermalSph` | its `Isothermal` may stop at q = 0.99999 |
| `Shear`, `PointMasses` | `ExternalShear`, `PointMass` | the same |
| `Multipoles`, amplitude a | `PowerLawMultipole` of slope 2 | a (sin(m angle), cos(m angle)) |
| `TruncatedHaloes` | `NFWTruncatedSph.kappa_s` | M_0 / (4 r_s^2) |
| `Sersic.effective_radius`, intermediate axis | `Sersic.effective_radius` | the same axis, another b_n |
| angle, radians | `ell_comps_from`, degrees | (1 - q) / (1 + q) (sin 2 phi, cos 2 phi) |
| x, y | `centre` | (y, x) |

Its b_n is the series of Ciotti & Bertin (1999), of ours the first four terms. The profile is handed over so that it
has our values everywhere, whatever b_n the engine uses (`with_sersic_b`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from zoo.errors import UsageError
from zoo.lensing.observe import Rendered
from zoo.lensing.scenes import Sersic, sersic_source, with_sersic_b
from zoo_autolens.library import al

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.lensing.instrument import Instrument
    from zoo.lensing.scenes import PixelSource, Scenes

# Deflections are in units of the source plane, so that any pair of redshifts gives the same image.
LENS_REDSHIFT, SOURCE_REDSHIFT = 0.5, 1.0


def render_each(
    scenes: Scenes,
    instrument: Instrument,
    image: Callable[[Any], NDArray[np.float64]],
    *,
    device: str,
    dtype: torch.dtype,
) -> Rendered:
    """Render the lensed source and the lens light of every scene.

    Args:
        scenes: Scenes of n images.
        instrument: Instrument, which sets the size of the images.
        image: Function from a `Tracer` to [H, W], row 0 at the lowest y.
        device, dtype: Device and type of the result.

    Returns:
        [n, H, W] surface brightness, in the unit of `Sersic.intensity`; no lens light gives None.

    Raises:
        UsageError: Source or lens light is something else than a Sersic profile.
    """
    source = own_light(sersic_source(scenes, simulator="PyAutoLens"))
    light = None if scenes.lens_light is None else own_light(scenes.lens_light)
    shape = (len(scenes), instrument.image_size, instrument.image_size)
    source_images, light_images = np.empty(shape), np.empty(shape)
    with np.errstate():  # PyAutoLens changes NumPy's error handling and leaves it so
        for i in range(len(scenes)):
            source_images[i] = image(al.Tracer(galaxies=[lens_galaxy(scenes, i), light_galaxy(source, i)]))
            if light is not None:
                light_images[i] = image(al.Tracer(galaxies=[light_galaxy(light, i)]))

    def tensor(images: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(images, dtype=dtype, device=device)

    return Rendered(source=tensor(source_images), lens_light=None if light is None else tensor(light_images))


def lens_galaxy(scenes: Scenes, i: int) -> Any:
    """Return the dark galaxy of scene i: halo, shear and all other masses."""
    halo, shear, points = scenes.halo, scenes.shear, scenes.points
    q, centre = float(halo.axis_ratio[i]), (halo.y[i], halo.x[i])
    if q == 1:
        mass = al.mp.IsothermalSph(centre=centre, einstein_radius=halo.einstein_radius[i])
    else:
        mass = al.mp.Isothermal(
            centre=centre,
            ell_comps=_ell_comps(q, halo.angle[i]),
            einstein_radius=halo.einstein_radius[i] * (1 + q) / (2 * math.sqrt(q)),
        )
    masses = {
        f"point_{p}": al.mp.PointMass(
            centre=(points.y[i, p], points.x[i, p]), einstein_radius=points.einstein_radius[i, p]
        )
        for p in np.flatnonzero(points.einstein_radius[i])
    }
    external = al.mp.ExternalShear(gamma_1=shear.gamma_1[i], gamma_2=shear.gamma_2[i])
    return al.Galaxy(redshift=LENS_REDSHIFT, halo=mass, shear=external, **masses, **_extended(scenes, i))


def _extended(scenes: Scenes, i: int) -> dict[str, Any]:
    """Return the multipoles and truncated haloes of scene i."""
    halo, multipoles, haloes = scenes.halo, scenes.multipoles, scenes.truncated_haloes
    found: dict[str, Any] = {}
    for order, amplitude, angle in () if multipoles is None else multipoles.orders:
        found[f"multipole_{order}"] = al.mp.PowerLawMultipole(
            m=order,
            centre=(halo.y[i], halo.x[i]),
            einstein_radius=halo.einstein_radius[i],
            multipole_comps=(amplitude[i] * math.sin(order * angle[i]), amplitude[i] * math.cos(order * angle[i])),
        )
    if haloes is None:
        return found
    for p in np.flatnonzero(haloes.einstein_radius[i]):
        found[f"truncated_{p}"] = al.mp.NFWTruncatedSph(
            centre=(haloes.y[i, p], haloes.x[i, p]),
            kappa_s=haloes.scale_mass[i, p] / (4 * haloes.scale_radius[i, p] ** 2),
            scale_radius=haloes.scale_radius[i, p],
            truncation_radius=haloes.truncation_radius[i, p],
        )
    return found


def light_galaxy(light: Sersic, i: int) -> Any:
    """Return the galaxy of the source plane that shines as `light` does in scene i; see `own_light`."""
    profile = al.lp.Sersic(
        centre=(light.y[i], light.x[i]),
        ell_comps=_ell_comps(float(light.axis_ratio[i]), light.angle[i]),
        intensity=light.intensity[i],
        effective_radius=light.effective_radius[i],
        sersic_index=light.index[i],
    )
    return al.Galaxy(redshift=SOURCE_REDSHIFT, light=profile)


def own_light(light: Sersic | PixelSource) -> Sersic:
    """Return the same light, written for PyAutoLens' constant of the Sersic law.

    Raises:
        UsageError: The light is something else than a Sersic profile.
    """
    if not isinstance(light, Sersic):
        raise UsageError(
            f"PyAutoLens is given Sersic profiles only, not {type(light).__name__}.",
            hint="Use the simulator caustics.",
        )
    b = np.array([al.lp.Sersic(sersic_index=index).sersic_constant for index in light.index])
    return with_sersic_b(light, b)


def _ell_comps(axis_ratio: float, angle: float) -> tuple[float, float]:
    """Return the ellipticity, y component first."""
    components: tuple[float, float] = al.convert.ell_comps_from(axis_ratio=axis_ratio, angle=math.degrees(angle))
    return components
