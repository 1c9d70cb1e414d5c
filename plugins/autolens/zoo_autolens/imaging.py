"""Render scenes with PyAutoLens' `SimulatorImaging`, whole: its grid, its padding, its convolution; noise off."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from zoo_autolens.galaxies import render_each
from zoo_autolens.library import al

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.lensing.instrument import Instrument
    from zoo.lensing.observe import Rendered
    from zoo.lensing.scenes import Scenes


def render(
    scenes: Scenes,
    instrument: Instrument,
    *,
    device: str,
    expected_images: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Rendered:
    """Render the lensed source and the lens light of every scene, each by a simulation of its own.

    `SimulatorImaging` takes one ray a pixel beyond the image's edge, so that the light which the PSF scatters in
    from there differs a little from the other simulators'. Further inside than the PSF's radius they are equal.

    Args:
        scenes: Scenes of n images.
        instrument: Instrument: pixels, over-sampling, PSF.
        device: Device of the result; they are computed on the CPU.
        expected_images: Number of images; not used.
        dtype: Type of the result; the computation is in float64.

    Returns:
        [n, H, W] surface brightness, in the unit of `Sersic.intensity`; no lens light gives None.

    Raises:
        UsageError: Source or lens light is something else than a Sersic profile.
    """
    grid, simulator = _grid_and_simulator(instrument)

    def image(tracer: Any) -> NDArray[np.float64]:
        top_row_first = simulator.via_tracer_from(tracer=tracer, grid=grid).data
        return np.asarray(top_row_first.native.array)[::-1]

    with _side_effects_undone():
        return render_each(scenes, instrument, image, device=device, dtype=dtype)


def _grid_and_simulator(instrument: Instrument) -> tuple[Any, Any]:
    """Return a `Grid2D` and a `SimulatorImaging` without sky and noise."""
    scale = instrument.pixel_scale
    grid = al.Grid2D.uniform(
        shape_native=(instrument.image_size,) * 2, pixel_scales=scale, over_sample_size=instrument.over_sampling
    )
    kernel = instrument.psf_kernel()
    psf = None if kernel.size == 1 else al.Convolver(kernel=al.Array2D.no_mask(kernel, pixel_scales=scale))
    simulator = al.SimulatorImaging(
        exposure_time=1.0,
        background_sky_level=0.0,
        psf=psf,
        add_poisson_noise_to_data=False,
        include_poisson_noise_in_noise_map=False,
        noise_seed=0,  # it draws noise all the same
    )
    return grid, simulator


@contextlib.contextmanager
def _side_effects_undone() -> Iterator[None]:
    """Keep warnings to itself, and leave NumPy's global random numbers as they were."""
    state = np.random.get_state()  # noqa: NPY002 - PyAutoLens seeds the global generator
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002 - PyAutoLens seeds the global generator
