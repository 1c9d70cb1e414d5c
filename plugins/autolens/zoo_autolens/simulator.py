"""Render scenes with PyAutoLens: rays made once, a `Tracer` for every scene, its `Convolver`."""

from __future__ import annotations

import warnings
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
    """Render the lensed source and the lens light of every scene.

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
    return render_each(scenes, instrument, _Camera(instrument).image, device=device, dtype=dtype)


class _Camera:
    """Rays and PSF of an instrument, as PyAutoLens' objects."""

    def __init__(self, instrument: Instrument) -> None:
        kernel = instrument.psf_kernel()
        self.over, self.radius = instrument.over_sampling, len(kernel) // 2
        self.padded = instrument.image_size + 2 * self.radius
        # `Grid2D` would make its over-sampled coordinates anew for every padded image, which takes longer than
        # the tracing. Its order of rows, from the top, matters to its masks only; these rays keep ours.
        x, y = np.meshgrid(*instrument.ray_grid())
        self.rays = al.Grid2DIrregular(values=np.stack([y.ravel(), x.ravel()], axis=-1))
        self.mask = al.Mask2D.all_false(shape_native=(self.padded,) * 2, pixel_scales=instrument.pixel_scale)
        self.convolver = al.Convolver(kernel=al.Array2D.no_mask(kernel, pixel_scales=instrument.pixel_scale))

    def image(self, tracer: Any) -> NDArray[np.float64]:
        """Return [H, W]: the means over the rays of each pixel, convolved, cut back."""
        rays = np.asarray(tracer.image_2d_from(grid=self.rays).array)
        pixels = rays.reshape(self.padded, self.over, self.padded, self.over).mean((1, 3))
        if self.radius:
            with warnings.catch_warnings():  # it warns that nothing is beyond the edge, which is cut off here
                warnings.simplefilter("ignore")
                blurred = self.convolver.convolved_image_from(
                    image=al.Array2D(values=pixels, mask=self.mask), blurring_image=None
                )
            pixels = np.asarray(blurred.native.array)
        inner = slice(self.radius, self.padded - self.radius)
        return pixels[inner, inner]
