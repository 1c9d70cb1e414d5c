"""Numbers of what a fitted smooth lens leaves: chi square, residuals, and what an added mass would gain."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from zoo_baselines.lens_fit import Fitted
from zoo_baselines.lens_noise import Observation
from zoo_baselines.lens_pixels import Grid
from zoo_baselines.smooth_lens import INDEX, SHAPELETS, Kind, draw

FEATURES = (
    "log_chi_square", "log_chi_square_arc", "log_chi_square_dark", "share_above_3_sigma", "kurtosis",
    "largest_smoothed", "tenth_smoothed", "lowest_smoothed", "log_rms_smoothed",
    "correlation_1", "correlation_2", "correlation_3", "correlation_diagonal",
    "log_gain", "log_gain_fifth", "log_gain_mean", "log_gain_negative", "share_gain_above_9", "mass_of_best",
    "radius_of_best", "gain_spread", "gain_elongation", "gain_distance_from_centre",
    "log_einstein_radius", "shear", "halo_offset", "halo_flattening", "source_offset", "source_log_radius",
    "source_log_index", "source_flattening", "log_brightness_over_noise",
)  # fmt: skip
"""Columns. Smoothed: residuals over their noise, convolved with a Gaussian of 1.5 pixels, in units of their own noise.
Gain: decrease of chi square by one small point mass at each place of a mesh, the smooth lens refitted, to first order;
its spread, elongation and distance are moments of the map of gains."""

_SMOOTHING = 1.5  # pixels
_PLACES = 24  # of trial masses, per side
_CORE = 0.5  # pixels within which the response to a point mass is softened, for pixels average over it


def features_of(seen: Observation, fitted: Fitted, grid: Grid, kind: Kind) -> Tensor:
    """Return [n, len(FEATURES)] in float64.

    Args:
        seen: Images.
        fitted: Smooth lenses fitted to them; where a fit failed, the features are those of an image without a lens.
        grid: Fine grid of the camera.
        kind: Free parameters of the fit.
    """
    drawn = draw(fitted.parameters, grid, kind, jacobian=True, gradient=True)
    assert drawn.jacobian is not None
    assert drawn.gradient is not None
    sigma = fitted.law.variance(drawn.images).sqrt()
    residual = (grid.binned(seen.images) - drawn.images) / sigma
    p = {name: fitted.parameters[:, number].double() for name, number in INDEX.items() if number < SHAPELETS.start}
    sky = fitted.law.floor.sqrt()[:, None, None]
    arc = (drawn.images > 3 * sky).double()
    square = residual.double() ** 2  # a Pearson chi square of 1 per pixel where the lens is smooth

    def mean(values: Tensor, where: Tensor) -> Tensor:
        return ((values * where).sum((1, 2)) + 1e-6) / (where.sum((1, 2)) + 1e-6)

    chi_square = square.mean((1, 2))
    smoothed = _smoothed(residual).flatten(1).double()
    ranked = smoothed.abs().sort(1, descending=True).values
    gains = _gains(residual, sigma, drawn.jacobian, drawn.gradient, grid)
    values = {
        "log_chi_square": _log(chi_square),
        "log_chi_square_arc": _log(mean(square, arc)),
        "log_chi_square_dark": _log(mean(square, 1 - arc)),
        "share_above_3_sigma": _log((square > 9).double().mean((1, 2)) + 1e-3),
        "kurtosis": _log((square**2).mean((1, 2)) / chi_square.clamp_min(1e-6) ** 2),
        "largest_smoothed": _log(ranked[:, 0]),
        "tenth_smoothed": _log(ranked[:, 9]),
        "lowest_smoothed": _log(-smoothed.amin(1)),
        "log_rms_smoothed": _log((smoothed**2).mean(1)),
        "correlation_1": _correlation(residual, 1, 0),
        "correlation_2": _correlation(residual, 2, 0),
        "correlation_3": _correlation(residual, 3, 0),
        "correlation_diagonal": _correlation(residual, 1, 1),
        **gains,
        "log_einstein_radius": p["log_einstein_radius"],
        "shear": torch.hypot(p["gamma_1"], p["gamma_2"]),
        "halo_offset": torch.hypot(p["halo_x"], p["halo_y"]),
        "halo_flattening": torch.hypot(p["halo_e1"], p["halo_e2"]),
        "source_offset": torch.hypot(p["source_x"] - p["halo_x"], p["source_y"] - p["halo_y"]),
        "source_log_radius": p["source_log_radius"],
        "source_log_index": p["source_log_index"],
        "source_flattening": torch.hypot(p["source_e1"], p["source_e2"]),
        "log_brightness_over_noise": _log(drawn.images.amax((1, 2)).double() / sky[:, 0, 0]),
    }
    values["radius_of_best"] = values["radius_of_best"] / p["log_einstein_radius"].exp()
    return torch.stack([values[name] for name in FEATURES], dim=1)


def _log(values: Tensor) -> Tensor:
    return values.clamp_min(1e-3).log()


def _correlation(residual: Tensor, down: int, right: int) -> Tensor:
    """Return [n] mean correlation of pixels that lie this far from each other, in this direction and across it."""

    def shifted(pixels: Tensor) -> Tensor:
        height, width = pixels.shape[1:]
        first, second = pixels[:, down:, right:], pixels[:, : height - down, : width - right]
        return (first * second).double().mean((1, 2))

    variance = (residual.double() ** 2).mean((1, 2)).clamp_min(1e-6)
    return (shifted(residual) + shifted(residual.rot90(1, (1, 2)))) / (2 * variance)


def _smoothed(residual: Tensor) -> Tensor:
    """Return residuals [n, N, N] convolved with a Gaussian; white noise of variance 1 keeps it."""
    reach = math.ceil(3 * _SMOOTHING)
    offsets = torch.arange(-reach, reach + 1, dtype=residual.dtype, device=residual.device)
    kernel = torch.exp(-0.5 * (offsets / _SMOOTHING) ** 2)
    kernel = torch.outer(kernel, kernel)
    kernel = kernel / kernel.square().sum().sqrt()
    return torch.nn.functional.conv2d(residual[:, None], kernel[None, None], padding=reach)[:, 0]


@functools.lru_cache(maxsize=4)
def _mesh(
    size: int, pixel_scale: float, *, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the places [M] of trial masses, and what a unit mass there does to pixels.

    Returns:
        x and y of the places; the deflections in x and y one after the other, [2 * N * N, M]; their products xx, 2 xy
        and yy, [3 * N * N, M].
    """
    centres = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * pixel_scale
    half = 0.8 * size * pixel_scale / 2
    axis = (torch.arange(_PLACES, dtype=torch.float64) + 0.5) / _PLACES * 2 * half - half
    mass_x, mass_y = axis.repeat(_PLACES), axis.repeat_interleave(_PLACES)
    inside = torch.hypot(mass_x, mass_y) < half
    mass_x, mass_y = mass_x[inside], mass_y[inside]
    x, y = centres.repeat(size), centres.repeat_interleave(size)
    from_x, from_y = x - mass_x[:, None], y - mass_y[:, None]
    r2 = from_x**2 + from_y**2 + (_CORE * pixel_scale) ** 2
    pull_x, pull_y = from_x / r2, from_y / r2
    pulls = torch.cat([pull_x, pull_y], dim=1).T
    products = torch.cat([pull_x * pull_x, 2 * pull_x * pull_y, pull_y * pull_y], dim=1).T
    pulls, products = (part.to(device, dtype).contiguous() for part in (pulls, products))
    return mass_x.to(device), mass_y.to(device), pulls, products


def prepare(grid: Grid, *, dtype: torch.dtype, device: torch.device) -> None:
    """Make the mesh of trial masses, which threads would otherwise each make for themselves."""
    _mesh(grid.size, grid.pixel_scale, dtype=dtype, device=device)


def _gains(residual: Tensor, sigma: Tensor, jacobian: Tensor, gradient: Tensor, grid: Grid) -> dict[str, Tensor]:
    """Return features of the map of gains.

    A mass of squared Einstein radius m at p changes pixel i by -m grad I_i . u_i / |u_i|^2, with u_i from p to the
    pixel. What the smooth parameters can imitate of this response is projected out.

    Args:
        residual, sigma: [n, N, N] over their noise, and the noise.
        jacobian: [n, F, N, N].
        gradient: [n, 2, N, N].
        grid: Fine grid.
    """
    mx, my, pulls, products = _mesh(grid.size, grid.pixel_scale, dtype=residual.dtype, device=residual.device)
    count = len(residual)
    gx, gy = ((-gradient[:, axis] / sigma).flatten(1) for axis in (0, 1))
    smooth = (jacobian / sigma[:, None]).flatten(2).double()
    normal = torch.bmm(smooth, smooth.mT)
    size = normal.diagonal(dim1=1, dim2=2).clamp_min(1e-12).rsqrt()
    normal = normal * size[:, :, None] * size[:, None] + 1e-6 * torch.eye(normal.shape[1], device=normal.device)
    # Orthonormal combinations of the smooth derivatives.
    factor = torch.linalg.cholesky_ex(normal)[0]
    basis = torch.linalg.solve_triangular(factor, smooth * size[:, :, None], upper=False).to(residual.dtype)
    rest = residual.flatten(1)
    rest = rest - torch.einsum("nf,nfi->ni", torch.einsum("nfi,ni->nf", basis, rest), basis)

    def against(values: Tensor) -> Tensor:
        """Return [n, k, M], the responses times values [n, k, N * N]."""
        both = torch.cat([values * gx[:, None], values * gy[:, None]], dim=2)
        return (both.flatten(0, 1) @ pulls).unflatten(0, (count, -1))

    imitated = against(torch.cat([rest[:, None], basis], dim=1)).double()
    agreement = imitated[:, 0]
    power = torch.cat([gx * gx, gx * gy, gy * gy], dim=1) @ products
    left = (power.double() - imitated[:, 1:].square().sum(1)).clamp_min(1e-2 * power.double() + 1e-12)
    gain = agreement**2 / left
    positive = torch.where(agreement > 0, gain, 0.0)
    ranked = positive.sort(1, descending=True).values
    best = positive.argmax(1, keepdim=True)
    share = positive / positive.sum(1, keepdim=True).clamp_min(1e-12)
    centre_x, centre_y = share @ mx, share @ my
    xx = share @ mx**2 - centre_x**2
    yy = share @ my**2 - centre_y**2
    xy = share @ (mx * my) - centre_x * centre_y
    spread = (xx + yy).clamp_min(1e-6)
    return {
        "log_gain": _log(ranked[:, 0]),
        "log_gain_fifth": _log(ranked[:, 4]),
        "log_gain_mean": _log(gain.mean(1)),
        "log_gain_negative": _log(torch.where(agreement < 0, gain, 0.0).amax(1)),
        "share_gain_above_9": (gain > 9).double().mean(1),
        "mass_of_best": _log(1e3 * (agreement / left).gather(1, best)[:, 0]),
        "radius_of_best": torch.hypot(mx[best[:, 0]], my[best[:, 0]]),
        "gain_spread": spread.sqrt(),
        "gain_elongation": torch.hypot(xx - yy, 2 * xy) / spread,
        "gain_distance_from_centre": torch.hypot(centre_x, centre_y),
    }
