"""Channel beside each image: what a blindly fitted smooth lens leaves, over the noise of the pixels."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from zoo.data.channels import Camera
from zoo.lensing.instrument import Instrument
from zoo_baselines.lens_fit import Effort, fit_smooth_lens, in_threads
from zoo_baselines.lens_noise import observed
from zoo_baselines.lens_pixels import Grid, grids_with_fewer_rays
from zoo_baselines.smooth_lens import Kind, draw

LARGEST = 30.0
"""Largest residual in units of the noise; beyond it a fit has failed, or the image is not of a lens."""
STEPS: dict[str, Any] = {"coarse_steps": 6, "fine_steps": 5}
"""Steps from each start, and in each of two rounds on the fine grid. More of them lower chi square by less than 0.1."""
FLEXIBLE_STEPS: dict[str, Any] = {"coarse_steps": 6, "fine_steps": 12}
"""Steps of a fit with multipoles and a free width of the PSF: enough for smooth lenses (chi square within 1)."""
SHAPELET_EFFORT: dict[str, Any] = {"coarse_steps": 6, "fine_steps": 25, "tolerance": 0.5}
"""Limits of a fit with shapelets, which has three rounds: fewer steps leave some sources half fitted."""
_ON_A_CPU, _ON_A_GPU = 4, 1024
"""Images that are fitted together; with shapelets, whose derivatives take more memory, fewer."""


def residual(
    images: Tensor, camera: Camera, *, free_centre: bool, flexible: bool = False, shapelets: int | None = None
) -> Tensor:
    """Return image minus fitted smooth lens over the noise of each pixel, [n, H, W].

    Nothing but the image and the camera is used; other images of a batch change the result by rounding only. On a GPU
    all images take all steps, so that nothing waits for a number that is computed there.

    Args:
        images: [n, C, H, W]; the mean over channels is fitted.
        camera: Facts about all images.
        free_centre: Whether the halo's centre is fitted; False fixes it at the middle of the image.
        flexible: Whether the halo is an ellipsoid with multipoles, and the width of a Gaussian PSF is fitted, too.
        shapelets: Highest order of the shapelets that the source has beside its Sersic ellipse; None: no shapelets.
    """
    kind = Kind(
        ellipsoid=flexible or not camera.round_haloes, centre=free_centre, lens_light=camera.lens_light,
        multipoles=flexible, psf_width=flexible and camera.psf == "gaussian", shapelets=shapelets,
    )  # fmt: skip
    mono = images.mean(1).float()
    all_grids = _grids_on(camera, mono.device)
    on_a_cpu = mono.device.type == "cpu"
    if shapelets is None:
        limits, together = FLEXIBLE_STEPS if flexible else STEPS, _ON_A_CPU if on_a_cpu else _ON_A_GPU
    else:
        limits, together = SHAPELET_EFFORT, 1 if on_a_cpu else _ON_A_GPU // 16
    effort = Effort(**limits, leave=on_a_cpu)

    def left(some: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(some.device.type, enabled=False):
            seen = observed(some, seconds=camera.exposure_seconds or 0.0, sky=camera.sky or 0.0)
            fitted = fit_smooth_lens(seen, all_grids, kind, effort)
            model = draw(fitted.parameters, all_grids[-1], kind).images
            return ((seen.images - model) / fitted.law.variance(model).sqrt()).clamp(-LARGEST, LARGEST)

    if on_a_cpu:
        return in_threads(left, mono, at_a_time=together)
    return torch.cat([left(some) for some in mono.split(together)])


@functools.lru_cache(maxsize=4)
def _grids_on(camera: Camera, device: torch.device) -> tuple[Grid, Grid, Grid]:
    """Return grids of coarse pixels with few rays, of a camera's pixels with few rays, and of these with all rays."""
    instrument = Instrument(
        image_size=camera.image_size, pixel_scale=camera.pixel_scale, psf=camera.psf, psf_width=camera.psf_width
    )
    return grids_with_fewer_rays(instrument, device=device)
