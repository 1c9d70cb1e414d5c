"""Blind fit of a smooth lens to images: starts from moments of the light, then batched Levenberg-Marquardt.

Every step treats each image alone, so the result of an image depends on its batch by rounding only.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_baselines.lens_noise import NoiseLaw, Observation
from zoo_baselines.lens_pixels import Grid
from zoo_baselines.smooth_lens import INDEX, NAMES, SHAPELETS, Kind, draw

_PRIORS: dict[str, tuple[float, float]] = {
    "gamma_1": (0.0, 0.3), "gamma_2": (0.0, 0.3), "halo_x": (0.0, 0.2), "halo_y": (0.0, 0.2),
    "halo_e1": (0.0, 0.5), "halo_e2": (0.0, 0.5), "source_x": (0.0, 1.0), "source_y": (0.0, 1.0),
    "source_log_radius": (-0.7, 1.0), "source_log_index": (0.3, 0.5), "source_e1": (0.0, 0.7), "source_e2": (0.0, 0.7),
    "lens_log_radius": (0.0, 1.0), "lens_log_index": (0.8, 0.5), "lens_e1": (0.0, 0.5), "lens_e2": (0.0, 0.5),
    "multipole_3_cos": (0.0, 0.02), "multipole_3_sin": (0.0, 0.02), "multipole_4_cos": (0.0, 0.02),
    "multipole_4_sin": (0.0, 0.02), "log_psf_width": (0.0, 0.4),
    "shapelet_log_width": (-1.0, 0.5), **dict.fromkeys(NAMES[SHAPELETS], (0.0, 0.3)),
}  # fmt: skip
"""Mean and width of weak priors, which keep parameters finite that an image does not determine."""

_LONGEST: dict[str, float] = {
    "log_einstein_radius": 0.2, "gamma_1": 0.1, "gamma_2": 0.1, "halo_x": 0.1, "halo_y": 0.1, "halo_e1": 0.2,
    "halo_e2": 0.2, "source_x": 0.3, "source_y": 0.3, "multipole_3_cos": 0.02, "multipole_3_sin": 0.02,
    "multipole_4_cos": 0.02, "multipole_4_sin": 0.02, "log_psf_width": 0.2,
}  # fmt: skip
"""Longest step of a parameter; 0.5 for others."""

_DARK = -200.0  # logarithm of an intensity that float32 rounds to 0
_EASED, _STIFFENED = 0.2, 5.0  # factors of the damping after a step that helps, or does not


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Limits of the search for the best fit.

    Args:
        coarse_steps: Steps from every start on the coarse grid.
        fine_steps: Most steps on the fine grid.
        tolerance: Decrease of chi square at which a fit on the fine grid ends.
        leave: Whether images that are done leave the batch. A GPU would have to be waited for to count them, so there
            every image takes all steps.
    """

    coarse_steps: int = 10
    fine_steps: int = 25
    tolerance: float = 0.05
    leave: bool = True


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Smooth lenses fitted to images, in units of each image's `Observation.scale`.

    Args:
        parameters: [n, len(NAMES)].
        objective: [n] chi square and priors; infinite where the fit failed.
        law: Noise that the fit ended with.
        failed: [n] whether no step led to finite numbers. The parameters are those of `without_light` then, and the
            noise is the first estimate.
    """

    parameters: Tensor
    objective: Tensor
    law: NoiseLaw
    failed: Tensor


def fit_smooth_lens(seen: Observation, grids: Sequence[Grid], kind: Kind, effort: Effort) -> Fitted:
    """Fit a smooth lens to every image, without knowledge of its truth.

    Args:
        seen: Images and their noise.
        grids: Coarse and fine grid of the camera. A grid of the same pixels with fewer rays may stand between them, for
            the rounds of steps on these pixels but the last, and with shapelets for the derivatives of the last, too.
        kind: Free parameters.
        effort: Limits of the search.
    """
    coarse, fine = grids[0], grids[-1]
    plain = dataclasses.replace(kind, shapelets=None)
    simple = dataclasses.replace(plain, multipoles=False, psf_width=False)  # coarse pixels hardly determine the rest
    small, law = coarse.binned(seen.images), seen.law
    starts = blind_starts(small, law, coarse, simple)
    count, tries = starts.shape[:2]
    several = small.repeat_interleave(tries, 0)
    weight = 1 / law.variance(_smooth(small), bins=coarse.bins).repeat_interleave(tries, 0)
    flat, objective = levenberg_marquardt(
        starts.flatten(0, 1),
        several,
        weight,
        coarse,
        simple,
        steps=effort.coarse_steps,
        tolerance=1.0,
        leave=effort.leave,
    )
    tried, objective = flat.reshape(count, tries, -1), objective.reshape(count, tries)
    best = objective.argmin(1)
    chosen = tried[torch.arange(count, device=best.device), best]

    # The noise of a pixel is that of the model's light there, so it follows the fit.
    data = fine.binned(seen.images)
    rounds = [(grids[1], kind, 20 * effort.tolerance), (fine, kind, effort.tolerance)]
    if kind.shapelets is not None:  # they describe what a Sersic ellipse at about the right place leaves
        rounds.insert(0, (grids[1], plain, 20 * effort.tolerance))
        chosen[:, INDEX["shapelet_log_width"]] = _PRIORS["shapelet_log_width"][0]
    for grid, parts, tolerance in rounds:
        model = draw(chosen, grid, parts).images
        law = law.measured(data - model, model)
        weight = 1 / law.variance(model)
        chosen, ended = levenberg_marquardt(
            chosen,
            data,
            weight,
            grid,
            parts,
            steps=effort.fine_steps,
            tolerance=tolerance,
            leave=effort.leave,
            derivative_grid=None if parts.shapelets is None else grids[1],
        )
    failed = ~(ended.isfinite() & chosen.isfinite().all(1))
    return Fitted(
        parameters=torch.where(failed[:, None], without_light(chosen), chosen),
        objective=ended,
        law=law.where(~failed, seen.law),
        failed=failed,
    )


def in_threads(fit: Callable[[Tensor], Tensor], images: Tensor, *, at_a_time: int = 1) -> Tensor:
    """Return what a function returns for parts [k, H, W] of images [n, H, W] on a CPU, in torch's number of threads.

    The rays of few images fit into a processor's cache. One at a time, an image's result does not depend on others at
    all; several depend on each other by rounding, and share the time that torch needs for every operation.
    """
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(fit, images.split(at_a_time))))
    finally:
        torch.set_num_threads(threads)  # the last number that any thread sets is that of every new thread


def without_light(like: Tensor) -> Tensor:
    """Return the parameters of images without source and lens light, [n, len(NAMES)], of the type of `like`.

    Their residuals are the images, and their sources have no gradient, so an added mass changes nothing: features of
    these are finite for every image.
    """
    parameters = torch.zeros_like(like)
    parameters[:, [INDEX["source_log_intensity"], INDEX["lens_log_intensity"]]] = _DARK
    return parameters


def levenberg_marquardt(
    parameters: Tensor,
    data: Tensor,
    weight: Tensor,
    grid: Grid,
    kind: Kind,
    *,
    steps: int,
    tolerance: float,
    leave: bool = True,
    derivative_grid: Grid | None = None,
) -> tuple[Tensor, Tensor]:
    """Minimise chi square and priors from given parameters; return the best parameters and their objective.

    Args:
        parameters: [n, len(NAMES)].
        data, weight: [n, N, N] images on the grid, and one over their variance.
        grid: Rays and pixels.
        kind: Free parameters.
        steps: Most steps.
        tolerance: Decrease of the objective at which an image is done.
        leave: See `Effort`.
        derivative_grid: Grid of the same pixels with fewer rays, on which derivatives are taken; None: on `grid`. They
            decide where a step leads, and not whether it is taken.
    """
    derivative_grid = derivative_grid or grid
    means, precisions, longest, free = _limits_on(kind, parameters.device)
    root = weight.sqrt()
    best, lowest = parameters, torch.full_like(parameters[:, 0], torch.inf, dtype=torch.float64)
    trial, damping = parameters, torch.full_like(lowest, 1e-2)
    normal = lowest.new_zeros(len(parameters), len(means), len(means))
    slope = lowest.new_zeros(len(parameters), len(means))
    result, result_lowest = parameters.clone(), lowest.clone()
    places = torch.arange(len(parameters), device=parameters.device)
    for step in range(steps + 1):
        on_one = derivative_grid is grid
        drawn = draw(trial, grid, kind, jacobian=on_one)
        derivatives = drawn.jacobian if on_one else draw(trial, derivative_grid, kind, jacobian=True).jacobian
        assert derivatives is not None
        residual = ((data - drawn.images) * root).flatten(1).double()
        jacobian = (derivatives * root[:, None]).flatten(2)
        if kind.shapelets is None:
            # With shapelets the product stays in the type of the images: in float32 it takes a third of the time, and
            # its rounding errors are smaller than the precision of the coefficients' priors.
            jacobian = jacobian.double()
        off = means - trial.index_select(1, free).double()
        objective = (residual * residual).sum(1) + (precisions * off * off).sum(1)
        objective = torch.where(objective.isfinite(), objective, torch.inf)
        better = objective < lowest
        gain = torch.where(lowest.isinf(), torch.inf, lowest - objective)
        best, lowest = torch.where(better[:, None], trial, best), torch.where(better, objective, lowest)
        normal = torch.where(better[:, None, None], torch.bmm(jacobian, jacobian.mT).double(), normal)
        new_slope = torch.bmm(jacobian, residual[:, :, None].to(jacobian.dtype))[..., 0].double() + precisions * off
        slope = torch.where(better[:, None], new_slope, slope)
        damping = torch.where(better, damping * _EASED, damping * _STIFFENED).clamp(1e-7, 1e6)
        if step == steps:
            break
        matrix = normal + torch.diag(precisions)
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        matrix = matrix + torch.diag_embed(diagonal * damping[:, None] + 1e-9 * diagonal.amax(1, keepdim=True))
        move = torch.linalg.solve_ex(matrix, slope)[0]
        move = move / (move.abs() / longest).amax(1, keepdim=True).clamp_min(1.0)
        # The search of an image ends where it has no direction: its numbers are not finite.
        lost = ~move.isfinite().all(1)
        if leave:
            done = (better & (gain < tolerance)) | (damping > 1e3) | lost
            if done.any():
                result[places[done]], result_lowest[places[done]] = best[done], lowest[done]
                if done.all():
                    return result, result_lowest
                rest = ~done
                best, lowest, normal, slope, damping, move, data, root, places = (
                    each[rest] for each in (best, lowest, normal, slope, damping, move, data, root, places)
                )
        else:
            move = torch.where(lost[:, None], 0.0, move)
        moved = best.index_select(1, free).double() + move
        trial = best.index_copy(1, free, moved.to(best.dtype))
    if not leave:
        return best, lowest
    result[places], result_lowest[places] = best, lowest
    return result, result_lowest


@functools.cache
def _limits_on(kind: Kind, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return means and precisions of the priors, longest steps, and indices of the free parameters, [F] each."""
    names = [NAMES[number] for number in kind.free]
    priors = [_PRIORS.get(name, (0.0, torch.inf)) for name in names]

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    return (
        column([mean for mean, _ in priors]),
        column([width**-2 for _, width in priors]),
        column([_LONGEST.get(name, 0.5) for name in names]),
        torch.tensor(kind.free, device=device),
    )


def _smooth(images: Tensor) -> Tensor:
    """Return images [n, N, N] averaged with their neighbours, not below 0."""
    around = torch.nn.functional.pad(images[:, None], (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([0.25, 0.5, 0.25], dtype=images.dtype, device=images.device)
    return torch.nn.functional.conv2d(around, torch.outer(kernel, kernel)[None, None])[:, 0].clamp_min(0)


_POWERS = (1.0, 2.0, 4.0, 8.0)
"""Powers of the brightness with which starts weigh pixels: surface brightness is conserved, so the brightest pixels all
show the source's centre."""


def blind_starts(images: Tensor, law: NoiseLaw, grid: Grid, kind: Kind) -> Tensor:
    """Return [n, starts, len(NAMES)] parameters from moments of the light.

    Where a pixel at theta shows a source position beta = theta - r theta / |theta| - Gamma theta, the weighted variance
    of beta is quadratic in the Einstein radius r, the shear Gamma and the source's centre: the most compact source is
    the solution of a linear system.

    Args:
        images: [n, N, N] on the coarse grid.
        law: Noise of the images.
        grid: Coarse grid.
        kind: Free parameters.
    """
    smooth = _smooth(images)
    noise = law.variance(torch.zeros_like(images[:, :1, :1]), bins=grid.bins).sqrt()
    x, y = torch.meshgrid(grid.centres, grid.centres, indexing="xy")
    distance = torch.hypot(x, y).clamp_min(0.5 * grid.pixel_scale)
    if kind.lens_light:  # it outshines the source near the middle
        smooth = torch.where(distance > 0.7, smooth, 0.0)
    peak = smooth.amax((1, 2), keepdim=True)
    clean = torch.where(smooth > 2 * noise, smooth / peak, 0.0)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    # [2, 5, N, N]: beta = theta - design . (r, gamma_1, gamma_2, source_x, source_y)
    design = torch.stack([torch.stack([x / distance, x, y, one, zero]), torch.stack([y / distance, -y, x, zero, one])])
    theta = torch.stack([x, y])
    starts = []
    for power in _POWERS:
        share = clean**power
        share = share / share.sum((1, 2), keepdim=True).clamp_min(1e-30)
        matrix = torch.einsum("nij,caij,cbij->nab", share, design, design)
        right = torch.einsum("nij,caij,cij->na", share, design, theta)
        ridge = torch.tensor([0.0, 0.05, 0.05, 0.02, 0.02], dtype=x.dtype, device=x.device)
        found = torch.linalg.solve_ex(matrix + torch.diag(ridge + 1e-6), right)[0]
        beta = theta - torch.einsum("na,caij->ncij", found, design)
        flux = clean / clean.sum((1, 2), keepdim=True).clamp_min(1e-30)
        size = torch.einsum("nij,ncij->n", flux, beta**2).clamp_min(1e-4).sqrt()
        start = torch.zeros(len(images), len(NAMES), dtype=x.dtype, device=x.device)
        start[:, INDEX["log_einstein_radius"]] = found[:, 0].clamp(0.2, 0.45 * grid.size * grid.pixel_scale).log()
        start[:, INDEX["gamma_1"] : INDEX["gamma_2"] + 1] = found[:, 1:3].clamp(-0.3, 0.3)
        start[:, INDEX["source_x"] : INDEX["source_y"] + 1] = found[:, 3:].clamp(-1, 1)
        if kind.ellipsoid:  # the direction of a round halo is undefined
            start[:, INDEX["halo_e1"]] = 0.02
        start[:, INDEX["source_log_radius"]] = (0.8 * size).clamp(0.1, 1.5).log()
        start[:, INDEX["source_log_index"]] = 0.3
        start[:, INDEX["source_log_intensity"]] = (peak[:, 0, 0] * 0.2).clamp_min(1e-6).log()
        starts.append(start)
    return torch.stack(starts, dim=1)
