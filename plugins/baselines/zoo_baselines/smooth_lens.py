"""The image of a smooth lens and its derivatives: isothermal halo, external shear, source, in closed form.

Parameters are unconstrained: logarithms of positive numbers, and shapes as vectors. An ellipse has the quadratic form
z = cosh(s) (x^2 + y^2) + sinh(s) / s (a (y^2 - x^2) ...), s^2 = a^2 + b^2, whose axis ratio is exp(-s): it is smooth
where it becomes a circle. The multipoles are those of `zoo.lensing.scenes.Multipoles`, as cosine and sine terms. The
formulas are those of Keeton 2001 (astro-ph/0102341) and `zoo.lensing.scenes`; tests compare the images with those of
the default simulator and the derivatives with finite differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_baselines.lens_pixels import Grid
from zoo_baselines.shapelets import HIGHEST_ORDER, Light, brightness, orders, shine

NAMES = (
    "log_einstein_radius", "gamma_1", "gamma_2", "halo_x", "halo_y", "halo_e1", "halo_e2",
    "source_x", "source_y", "source_log_radius", "source_log_index", "source_e1", "source_e2", "source_log_intensity",
    "background",
    "lens_log_radius", "lens_log_index", "lens_e1", "lens_e2", "lens_log_intensity",
    "multipole_3_cos", "multipole_3_sin", "multipole_4_cos", "multipole_4_sin",
    "shapelet_log_width", *(f"shapelet_{in_x}_{in_y}" for in_x, in_y in orders(HIGHEST_ORDER)), "log_psf_width",
)  # fmt: skip
"""Parameters in the order of the last axis. The lens light has the halo's centre, shapelets that of the source. The
PSF's width is in units of the camera's."""

INDEX = {name: number for number, name in enumerate(NAMES)}
SOURCE = slice(INDEX["source_log_radius"], INDEX["source_log_intensity"] + 1)
LENS_LIGHT = slice(INDEX["lens_log_radius"], INDEX["lens_log_intensity"] + 1)
MULTIPOLES = slice(INDEX["multipole_3_cos"], INDEX["multipole_4_sin"] + 1)
SHAPELETS = slice(INDEX["shapelet_0_0"], INDEX["log_psf_width"])
"""Coefficients of all orders; those of the first ones come first."""
_AFTER_THE_PIXELS = (INDEX["background"], INDEX["log_psf_width"])  # without a derivative on the rays
ROUND = 2e-4  # smallest |e| of a halo: its closed form divides by its flattening
_CENTRE = 1e-8  # smallest z: the gradient of a Sersic law is infinite at its centre


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Which parameters are free.

    Args:
        ellipsoid: Whether the halo is an ellipsoid; False stands for a sphere.
        centre: Whether the halo's centre is free; False fixes it at the middle of the image.
        lens_light: Whether the lens galaxy shines.
        multipoles: Whether the halo has multipoles of orders 3 and 4.
        psf_width: Whether the width of the PSF, a Gaussian, is free; False stands for the camera's.
        shapelets: Highest order of the shapelets that the source has beside its Sersic ellipse; None stands for no
            shapelets.
    """

    ellipsoid: bool = False
    centre: bool = True
    lens_light: bool = False
    multipoles: bool = False
    psf_width: bool = False
    shapelets: int | None = None

    @property
    def free(self) -> tuple[int, ...]:
        """Indices into NAMES."""
        left_out: set[str] = set()
        if not self.ellipsoid:
            left_out |= {"halo_e1", "halo_e2"}
        if not self.centre:
            left_out |= {"halo_x", "halo_y"}
        if not self.lens_light:
            left_out |= set(NAMES[LENS_LIGHT])
        if not self.multipoles:
            left_out |= set(NAMES[MULTIPOLES])
        if not self.psf_width:
            left_out.add("log_psf_width")
        left_out |= set(NAMES[SHAPELETS]) - set(NAMES[self.coefficients])
        if self.shapelets is None:
            left_out.add("shapelet_log_width")
        return tuple(number for number, name in enumerate(NAMES) if name not in left_out)

    @property
    def coefficients(self) -> slice:
        """Places of the coefficients of the shapelets in NAMES."""
        count = 0 if self.shapelets is None else len(orders(self.shapelets))
        return slice(SHAPELETS.start, SHAPELETS.start + count)


def sersic_b(index: Tensor) -> tuple[Tensor, Tensor]:
    """Return b_n and its derivative; the series of `zoo.lensing.scenes.sersic_b`."""
    terms = (4 / 405, 46 / 25515, 281 / 3444525, -2375801 / 30690717750)
    b, slope = 2 * index - 1 / 3, torch.full_like(index, 2.0)
    for power, factor in enumerate(terms, start=1):
        b = b + factor / index**power
        slope = slope - power * factor / index ** (power + 1)
    return b, slope


def _columns(parameters: Tensor) -> tuple[Tensor, ...]:
    """Return the parameters as [n, 1, 1] each."""
    return tuple(column[:, None, None] for column in parameters.unbind(-1))


def _sersic(
    x: Tensor, y: Tensor, shape: tuple[Tensor, ...], *, derivatives: bool
) -> tuple[Tensor, tuple[Tensor, Tensor], list[Tensor]]:
    """Return brightness, its gradient, and derivatives in (log radius, log index, e1, e2, log intensity).

    Args:
        x, y: [n, P, P] from the centre.
        shape: [n, 1, 1] each, those five parameters.
        derivatives: Whether the second and third result are computed; empty otherwise.
    """
    log_radius, log_index, e1, e2, log_intensity = shape
    s = torch.sqrt(e1 * e1 + e2 * e2 + 1e-12)
    cosh, sinhc = torch.cosh(s), torch.sinh(s) / s
    scale = torch.exp(-2 * log_radius)
    # q x'^2 + y'^2 / q with q = exp(-s), x' along the angle atan2(e2, e1) / 2.
    xx, yy, xy = x * x, y * y, x * y
    along, across = xx - yy, 2 * xy
    both = xx + yy
    turned = e1 * along + e2 * across
    z = (scale * (cosh * both - sinhc * turned)).clamp_min(_CENTRE)
    n = torch.exp(log_index)
    b, b_slope = sersic_b(n)
    log_z = torch.log(z)
    power = torch.exp(log_z * (0.5 / n))
    light = torch.exp(log_intensity + b - b * power)
    if not derivatives:
        return light, (light, light), []
    by_log_z = light * power * (-b / (2 * n))
    by_form = by_log_z / z * scale  # derivative in the form, for which z = scale * form
    twice = 2 * by_form
    gradient = (
        twice * ((cosh - sinhc * e1) * x - (sinhc * e2) * y),
        twice * ((cosh + sinhc * e1) * y - (sinhc * e2) * x),
    )
    # d cosh / de = sinhc e, d sinhc / de = (cosh - sinhc) / s^2 e
    bend = torch.where(s < 1e-2, 1 / 3 + s * s / 30, (cosh - sinhc) / (s * s))
    common = sinhc * both - bend * turned
    by_index = light * (-b_slope * (power - 1) * n + (b / (2 * n)) * power * log_z)
    return light, gradient, [
        -2 * by_log_z,
        by_index,
        by_form * (e1 * common - sinhc * along),
        by_form * (e2 * common - sinhc * across),
        light,
    ]  # fmt: skip


def _halo(
    x: Tensor, y: Tensor, radius: Tensor, e1: Tensor, e2: Tensor, *, ellipsoid: bool
) -> tuple[Tensor, Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """Return deflection in x and y, twice the convergence over r^2, and the deflection's derivatives in e1 and e2.

    Args:
        x, y: [n, P, P] from the centre.
        radius, e1, e2: [n, 1, 1] Einstein radius and ellipticity; the axis ratio is exp(-|e|).
        ellipsoid: False for a sphere, which has no derivatives.
    """
    r2 = x * x + y * y + 1e-12
    if not ellipsoid:
        pull = radius * torch.rsqrt(r2)
        return pull * x, pull * y, pull / r2, []
    s = torch.sqrt(e1 * e1 + e2 * e2 + ROUND**2)
    q = torch.exp(-s)
    flattening = torch.sqrt(1 - q * q)
    angle = torch.atan2(e2, e1) / 2
    cos, sin = torch.cos(angle), torch.sin(angle)
    along, across = x * cos + y * sin, y * cos - x * sin
    inverse = torch.rsqrt(q * q * along * along + across * across + 1e-12)
    w_along, w_across = flattening * inverse * along, flattening * inverse * across
    atan, atanh = torch.atan(w_along), torch.atanh(w_across.clamp(-1 + 1e-6, 1 - 1e-6))
    factor = radius * torch.sqrt(q) / flattening
    a_along, a_across = factor * atan, factor * atanh
    alpha_x, alpha_y = a_along * cos - a_across * sin, a_along * sin + a_across * cos
    twice_kappa = radius * torch.sqrt(q) * inverse
    # In q: d log(factor) / dq, and d log(w) / dq of the arguments.
    d_factor = 0.5 / q + q / (1 - q * q)
    d_w = -q / (1 - q * q) - q * along * along * inverse * inverse
    q_along = a_along * d_factor + factor * d_w * w_along / (1 + w_along * w_along)
    q_across = a_across * d_factor + factor * d_w * w_across / (1 - w_across * w_across).clamp_min(1e-6)
    q_x, q_y = q_along * cos - q_across * sin, q_along * sin + q_across * cos
    # In the angle: the deflection turns with the halo, the ray turns back.
    turn = -twice_kappa  # the Hessian times (-y, x) is 2 kappa (-y, x)
    angle_x, angle_y = -alpha_y + turn * -y, alpha_x + turn * x
    by = []
    for e, other, sign in ((e1, e2, -1.0), (e2, e1, 1.0)):
        ds = -q * e / s
        dangle = sign * other / (2 * s * s)
        by.append((q_x * ds + angle_x * dangle, q_y * ds + angle_y * dangle))
    return alpha_x, alpha_y, twice_kappa / r2, by


def _multipoles(
    x: Tensor, y: Tensor, radius: Tensor, strengths: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """Return deflection in x and y, twice the convergence over r^2, and the deflection's derivatives in the strengths.

    Args:
        x, y: [n, P, P] from the halo's centre.
        radius: [n, 1, 1] Einstein radius of the halo.
        strengths: [n, 1, 1] each, those of the cosine and the sine term of each order.
    """
    inverse = torch.rsqrt(x * x + y * y + 1e-12)
    cos, sin = x * inverse, y * inverse
    cos_2, sin_2 = cos * cos - sin * sin, 2 * cos * sin
    waves = {3: (cos_2 * cos - sin_2 * sin, sin_2 * cos + cos_2 * sin), 4: (cos_2**2 - sin_2**2, 2 * cos_2 * sin_2)}
    by = []
    alpha_x, alpha_y, waves_sum = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)
    for (order, (cos_m, sin_m)), pair in zip(waves.items(), (strengths[:2], strengths[2:]), strict=True):
        size = radius / (1 - order**2)
        for strength, radial, around in ((pair[0], cos_m, -order * sin_m), (pair[1], sin_m, order * cos_m)):
            unit_x, unit_y = size * (radial * cos - around * sin), size * (radial * sin + around * cos)
            by.append((unit_x, unit_y))
            alpha_x, alpha_y = alpha_x + strength * unit_x, alpha_y + strength * unit_y
            waves_sum = waves_sum + strength * radial
    return alpha_x, alpha_y, radius * waves_sum * inverse**3, by


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Images of smooth lenses.

    Args:
        images: [n, N, N].
        jacobian: [n, F, N, N] derivatives in the free parameters, or None.
        gradient: [n, 2, N, N] of the lensed source in the source plane, as it is seen, or None.
    """

    images: Tensor
    jacobian: Tensor | None = None
    gradient: Tensor | None = None


def draw(parameters: Tensor, grid: Grid, kind: Kind, *, jacobian: bool = False, gradient: bool = False) -> Drawn:
    """Draw the images of smooth lenses.

    Args:
        parameters: [n, len(NAMES)].
        grid: Rays and pixels.
        kind: Parts of the lens, and its free parameters.
        jacobian: Whether to return the derivatives in the free parameters.
        gradient: Whether to return the gradient in the source plane.
    """
    columns = _columns(parameters[:, : SHAPELETS.start])  # a view of each of the many coefficients would take time
    log_radius, gamma_1, gamma_2, halo_x, halo_y, e1, e2, source_x, source_y = columns[:9]
    background = columns[INDEX["background"]]
    x, y = grid.x[None], grid.y[None]
    from_x, from_y = x - halo_x, y - halo_y
    radius = torch.exp(log_radius)
    alpha_x, alpha_y, hessian, by_e = _halo(from_x, from_y, radius, e1, e2, ellipsoid=kind.ellipsoid)
    by_multipoles: list[tuple[Tensor, Tensor]] = []
    if kind.multipoles:
        further_x, further_y, further, by_multipoles = _multipoles(from_x, from_y, radius, columns[MULTIPOLES])
        alpha_x, alpha_y, hessian = alpha_x + further_x, alpha_y + further_y, hessian + further
    beta_x = x - alpha_x - gamma_1 * x - gamma_2 * y - source_x
    beta_y = y - alpha_y - gamma_2 * x + gamma_1 * y - source_y
    blur = grid.blur(parameters[:, INDEX["log_psf_width"]]) if kind.psf_width else None
    slopes = jacobian or gradient
    light, (light_x, light_y), by_source = _sersic(beta_x, beta_y, columns[SOURCE], derivatives=slopes)
    shapelets: Light | None = None
    if kind.shapelets is not None:
        log_width, coefficients = columns[INDEX["shapelet_log_width"]], parameters[:, kind.coefficients]
        if slopes:
            shapelets = shine(beta_x, beta_y, log_width, coefficients, highest=kind.shapelets)
            light_x, light_y = light_x + shapelets.gradient[0], light_y + shapelets.gradient[1]
            light = light + shapelets.brightness
        else:
            light = light + brightness(beta_x, beta_y, log_width, coefficients, highest=kind.shapelets)
    lens: tuple[Tensor, tuple[Tensor, Tensor], list[Tensor]] | None = None
    if kind.lens_light:
        lens = _sersic(from_x, from_y, columns[LENS_LIGHT], derivatives=slopes)
    if not slopes:
        seen = grid.pixels((light if lens is None else light + lens[0])[:, None], blur)[:, 0]
        return Drawn(images=seen + background)

    planes: list[Tensor] = [light if lens is None else light + lens[0]]
    if gradient:
        planes += [light_x, light_y]
    if jacobian:
        across = light_x * from_y - light_y * from_x  # times (y, -x) hessian: the halo's Hessian on the gradient
        by_centre = hessian * across
        centre_x, centre_y = by_centre * from_y, -by_centre * from_x
        if lens is not None:
            centre_x, centre_y = centre_x - lens[1][0], centre_y - lens[1][1]
        by_halo = [-(light_x * a_x + light_y * a_y) for a_x, a_y in by_e]
        by_multipole = [-(light_x * a_x + light_y * a_y) for a_x, a_y in by_multipoles]
        everything: dict[int, Tensor] = dict(
            enumerate(
                [
                    -(light_x * alpha_x + light_y * alpha_y),
                    light_y * y - light_x * x,
                    -(light_x * y + light_y * x),
                    centre_x,
                    centre_y,
                    *(by_halo or [centre_x, centre_y]),  # not free, and not used, where the halo is a sphere
                    -light_x,
                    -light_y,
                    *by_source,
                ]
            )
        )
        if lens is not None:
            everything |= dict(enumerate(lens[2], start=LENS_LIGHT.start))
        everything |= dict(enumerate(by_multipole, start=MULTIPOLES.start))
        if shapelets is not None:
            everything |= dict(enumerate(shapelets.derivatives.unbind(1), start=INDEX["shapelet_log_width"]))
        planes += [everything[number] for number in kind.free if number not in _AFTER_THE_PIXELS]
    seen = grid.pixels(torch.stack(planes, dim=1), blur)
    result = seen[:, 0] + background
    at = 1
    found_gradient = None
    if gradient:
        found_gradient, at = seen[:, 1:3], 3
    if not jacobian:
        return Drawn(images=result, gradient=found_gradient)
    place = kind.free.index(INDEX["background"])
    ones = torch.ones_like(seen[:, :1])
    derivatives = torch.cat([seen[:, at : at + place], ones, seen[:, at + place :]], dim=1)
    if blur is not None:  # the last one of NAMES
        derivatives = torch.cat([derivatives, blur.slope(planes[0])[:, None]], dim=1)
    return Drawn(images=result, jacobian=derivatives, gradient=found_gradient)
