"""Render scenes with lenstronomy, one after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from lenstronomy.Data.pixel_grid import PixelGrid
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel

from zoo.lensing.observe import Rendered
from zoo.lensing.scenes import sersic_source
from zoo_lenstronomy.keywords import lens_keywords, lens_models, light_keywords

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.lensing.instrument import Instrument
    from zoo.lensing.scenes import Scenes

LIGHT = ["SERSIC_ELLIPSE"]


def render(
    scenes: Scenes,
    instrument: Instrument,
    *,
    device: str,
    expected_images: int | None = None,
    dtype: torch.dtype = torch.float32,
    own_sersic_b: bool = True,
) -> Rendered:
    """Render the lensed source and the lens light of every scene.

    Args:
        scenes: Scenes of n images.
        instrument: Instrument: pixels, over-sampling, PSF.
        device: Device of the result; they are computed on the CPU.
        expected_images: Number of images; not used.
        dtype: Type of the result; the computation is in float64.
        own_sersic_b: True reads effective radius and intensity with lenstronomy's own b_n, as its users do; False
            gives the very profile that `zoo.lensing.scenes.Sersic` describes, for comparisons.

    Returns:
        [n, H, W] surface brightness, in the unit of `Sersic.intensity`; no lens light gives None.

    Raises:
        UsageError: Source or lens light is something else than a Sersic profile.
    """
    source = light_keywords(sersic_source(scenes, simulator="lenstronomy"), own_b=own_sersic_b)
    lens_light = None if scenes.lens_light is None else light_keywords(scenes.lens_light, own_b=own_sersic_b)
    model, inner = _camera(instrument)
    shape = (len(scenes), instrument.image_size, instrument.image_size)
    source_images, light_images = np.empty(shape), np.empty(shape)
    for i in range(len(scenes)):
        image_model = model(lens_models(scenes, i))
        source_images[i] = inner(image_model.source_surface_brightness([source[i]], lens_keywords(scenes, i)))
        if lens_light is not None:
            light_images[i] = inner(image_model.lens_surface_brightness([lens_light[i]]))

    def tensor(images: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(images, dtype=dtype, device=device)

    return Rendered(source=tensor(source_images), lens_light=None if lens_light is None else tensor(light_images))


def _camera(
    instrument: Instrument,
) -> tuple[Callable[[tuple[str, ...]], ImageModel], Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """Return a function of lens models that gives an `ImageModel`, and one that makes our images of its images."""
    kernel = instrument.psf_kernel()
    radius = len(kernel) // 2
    size = instrument.image_size + 2 * radius
    first = -(size - 1) / 2 * instrument.pixel_scale
    # With a positive transformation rows run upwards and columns to the right, as ours do.
    grid = PixelGrid(
        nx=size,
        ny=size,
        transform_pix2angle=np.eye(2) * instrument.pixel_scale,
        ra_at_xy_0=first,
        dec_at_xy_0=first,
    )
    psf = PSF(psf_type="NONE") if radius == 0 else PSF(psf_type="PIXEL", kernel_point_source=kernel)

    @functools.cache  # an ImageModel makes its rays anew, and scenes differ in their number of masses only
    def model(lens: tuple[str, ...]) -> ImageModel:
        return ImageModel(
            data_class=grid,
            psf_class=psf,
            lens_model_class=LensModel(lens_model_list=list(lens)),
            source_model_class=LightModel(light_model_list=LIGHT),
            lens_light_model_class=LightModel(light_model_list=LIGHT),
            kwargs_numerics={
                "supersampling_factor": instrument.over_sampling,
                "supersampling_convolution": False,
                "convolution_type": "fft",  # its default, "fft_static", calls NumPy in a way that is deprecated
            },
        )

    def inner(image: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cut back to where the whole kernel lies inside, and make brightness of flux per pixel."""
        return image[radius : size - radius, radius : size - radius] / instrument.pixel_scale**2

    return model, inner
