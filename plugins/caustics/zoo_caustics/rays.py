"""The brightness that each ray meets: deflection by halo, shear and point masses, then the source.

The formulas are caustics' pure functions (Stone et al. 2024, arXiv:2406.15542); this module converts
conventions and sums the point masses. `zoo_caustics.fused` has the same formulas arranged for the compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from caustics.lenses.func import (
    reduced_deflection_angle_external_shear,
    reduced_deflection_angle_point,
    reduced_deflection_angle_sie,
    reduced_deflection_angle_sis,
)
from caustics.light.func import brightness_sersic
from torch import Tensor

from zoo_caustics.extended import Extended, extended_deflection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.lensing.scenes import PixelSource, PointMasses, Scenes, Sersic

# Core radii in arcsec, far below the rounding of any ray's distance: they change nothing, except that a ray
# which falls exactly on a centre is not deflected by it, where 0 would be divided by 0. The point's core is
# squared in a denominator, and its square must not underflow float32.
HALO_CORE = 1e-30
POINT_CORE = 1e-15


def source_parameters(scenes: Scenes, source: Sersic) -> NDArray[np.float64]:
    """Return [n, 15] numbers in the order in which `_brightness` unpacks them: halo, shear, source.

    `Isothermal.einstein_radius` is caustics' `Rein`: both put a mean kappa of 1 inside the ellipse with the
    semi-axes Rein sqrt(q) and Rein / sqrt(q).
    """
    return np.stack([*_lens(scenes), *_sersic(source)], axis=1)


def picture_parameters(scenes: Scenes, source: PixelSource) -> NDArray[np.float64]:
    """Return [n, 11] numbers in the order in which `brightness_of_pictures` unpacks them: halo, shear, picture."""
    return np.stack([*_lens(scenes), source.x, source.y, source.angle, source.pixel_scale], axis=1)


def _lens(scenes: Scenes) -> list[NDArray[np.float64]]:
    halo, shear = scenes.halo, scenes.shear
    return [halo.x, halo.y, halo.axis_ratio, halo.angle, halo.einstein_radius, shear.gamma_1, shear.gamma_2]


def unlensed_parameters(light: Sersic) -> NDArray[np.float64]:
    """Return [n, 15] numbers as `source_parameters` does, for light that no mass deflects."""
    zero, one = np.zeros_like(light.x), np.ones_like(light.x)
    return np.stack([zero, zero, one, zero, zero, zero, zero, *_sersic(light)], axis=1)


def _sersic(light: Sersic) -> list[NDArray[np.float64]]:
    # caustics measures R along the major axis, R^2 = x'^2 + (y' / q)^2; ours is sqrt(q) times that.
    major_radius = light.effective_radius / np.sqrt(light.axis_ratio)
    return [
        light.x,
        light.y,
        light.axis_ratio,
        light.angle,
        light.index,
        major_radius,
        light.intensity,
        light.b,
    ]


def packed_masses(points: PointMasses) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return [p, n, 3] x, y and Einstein radius, the real masses first in each scene, and [n] their counts."""
    empty = points.einstein_radius == 0
    order = np.argsort(empty, axis=1, kind="stable")
    columns = [np.take_along_axis(values, order, axis=1).T for values in (points.x, points.y, points.einstein_radius)]
    return np.stack(columns, axis=-1), np.count_nonzero(~empty, axis=1)


def brightness_eager(
    parameters: Tensor, masses: Tensor, x: Tensor, y: Tensor, extended: Extended | None = None
) -> Tensor:
    """Return the brightness at each ray, adding one mass after the other to stay in the cache.

    Args:
        parameters: [c, 15], see `source_parameters`.
        masses: [p, c, 3], see `packed_masses`.
        x, y: Positions in arcsec, broadcastable to the shape of the rays.
        extended: Masses that are not points, if there are any.

    Returns:
        [c, *rays].
    """
    return _scene_by_scene(_brightness, [parameters], x, y, _masses_deflection(masses, extended, x, y))


def brightness_of_pictures(
    parameters: Tensor, masses: Tensor, pictures: Tensor, x: Tensor, y: Tensor, extended: Extended | None = None
) -> Tensor:
    """Return the brightness at each ray where the source is a picture, bilinear between its pixels.

    Args:
        parameters: [c, 11], see `picture_parameters`.
        masses: [p, c, 3], see `packed_masses`.
        pictures: [c, h, w].
        x, y: Positions in arcsec, broadcastable to the shape of the rays.
        extended: Masses that are not points, if there are any.

    Returns:
        [c, *rays].
    """
    return _scene_by_scene(_picture, [parameters, pictures], x, y, _masses_deflection(masses, extended, x, y))


def _picture(parameters: Tensor, pictures: Tensor, x: Tensor, y: Tensor, *points_alpha: Tensor | float) -> Tensor:
    *lens, picture_x, picture_y, angle, pixel_scale = _columns(parameters, x.dim())
    beta_x, beta_y = _source_plane(lens, x, y, *points_alpha)
    offset_x, offset_y = (beta_x - picture_x) / pixel_scale, (beta_y - picture_y) / pixel_scale
    cos, sin = angle.cos(), angle.sin()
    # grid_sample counts from -1 to 1 between the outer edges of a picture.
    height, width = pictures.shape[1:]
    column = (offset_x * cos + offset_y * sin) * (2 / width)
    row = (offset_y * cos - offset_x * sin) * (2 / height)
    grid = torch.stack([column, row], dim=-1).flatten(1, -2)[:, :, None]
    sampled = torch.nn.functional.grid_sample(
        pictures[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return sampled.reshape(column.shape)


def _scene_by_scene(
    function: Callable[..., Tensor], tables: Sequence[Tensor], x: Tensor, y: Tensor, alpha: Sequence[Tensor | float]
) -> Tensor:
    """Return `function(*tables, x, y, *alpha)`, on a CPU computed for one scene after the other.

    There torch takes the last few elements of an array through other code, which may round otherwise. Scenes share
    `_points_deflection` only: sums, products, quotients and roots are exact in both.
    """
    if x.device.type != "cpu" or len(tables[0]) == 1:
        return function(*tables, x, y, *alpha)
    parts = [
        function(
            *(table[i : i + 1] for table in tables),
            *(x, y),
            *(each[i : i + 1] if isinstance(each, Tensor) else each for each in alpha),
        )
        for i in range(len(tables[0]))
    ]
    return torch.cat(parts)


def _masses_deflection(
    masses: Tensor, extended: Extended | None, x: Tensor, y: Tensor
) -> tuple[Tensor | float, Tensor | float]:
    points_x, points_y = _points_deflection(masses, x, y)
    if extended is None:
        return points_x, points_y
    extended_x, extended_y = extended_deflection(extended, x, y)
    return extended_x + points_x, extended_y + points_y


def _points_deflection(masses: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor | float, Tensor | float]:
    sum_x: Tensor | float = 0.0
    sum_y: Tensor | float = 0.0
    for mass in masses:
        mass_x, mass_y, einstein_radius = _columns(mass, x.dim())
        alpha_x, alpha_y = reduced_deflection_angle_point(mass_x, mass_y, einstein_radius, x, y, POINT_CORE)
        sum_x = alpha_x + sum_x
        sum_y = alpha_y + sum_y
    return sum_x, sum_y


def _columns(table: Tensor, ray_axes: int) -> tuple[Tensor, ...]:
    """Split the last axis of a table and append axes of length 1, to broadcast against rays."""
    return tuple(column.reshape(*column.shape, *(1,) * ray_axes) for column in table.unbind(-1))


def _brightness(
    parameters: Tensor, x: Tensor, y: Tensor, points_alpha_x: Tensor | float, points_alpha_y: Tensor | float
) -> Tensor:
    columns = _columns(parameters, x.dim())
    beta_x, beta_y = _source_plane(columns[:7], x, y, points_alpha_x, points_alpha_y)
    source_x, source_y, axis_ratio, angle, index, effective_radius, intensity, b = columns[7:]
    return brightness_sersic(
        source_x, source_y, axis_ratio, angle, index, effective_radius, intensity, beta_x, beta_y, b
    )


def _source_plane(
    lens: Sequence[Tensor], x: Tensor, y: Tensor, points_alpha_x: Tensor | float, points_alpha_y: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Return where each ray meets the source plane; `lens` is halo and shear."""
    halo_x, halo_y, halo_q, halo_angle, einstein_radius, gamma_1, gamma_2 = lens
    alpha_x, alpha_y = reduced_deflection_angle_sis(halo_x, halo_y, einstein_radius, x, y, HALO_CORE)
    # caustics puts q = 1 - 1e-6 for a sphere, which costs six digits; a sphere is exact here.
    spherical = halo_q == 1
    if not bool(spherical.all()):
        ellipse = reduced_deflection_angle_sie(halo_x, halo_y, halo_q, halo_angle, einstein_radius, x, y, HALO_CORE)
        alpha_x = torch.where(spherical, alpha_x, ellipse[0])
        alpha_y = torch.where(spherical, alpha_y, ellipse[1])
    shear_x, shear_y = reduced_deflection_angle_external_shear(0.0, 0.0, gamma_1, gamma_2, x, y)
    return x - alpha_x - shear_x - points_alpha_x, y - alpha_y - shear_y - points_alpha_y
