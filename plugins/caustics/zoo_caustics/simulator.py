"""Render scenes to noiseless images: rays in, pixels out, in chunks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.lensing.observe import Rendered
from zoo.lensing.scenes import PixelSource
from zoo_caustics.compiling import LEAST_MASSES, Brightness, compiled_brightness, pays_to_compile
from zoo_caustics.extended import Extended, extended_masses, extended_scenes
from zoo_caustics.fused import image_constants
from zoo_caustics.native import native_library, native_painter
from zoo_caustics.psf import psf_convolution
from zoo_caustics.rays import (
    brightness_eager,
    brightness_of_pictures,
    packed_masses,
    picture_parameters,
    source_parameters,
    unlensed_parameters,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.lensing.instrument import Instrument
    from zoo.lensing.scenes import Scenes

# Rays in work at a time: of one scene in bands of rows if it has more; on a CUDA device of as many scenes as fit. One
# ray takes some 50 bytes of intermediate results.
RAYS_AT_A_TIME = {"cpu": 1_000_000, "cuda": 8_000_000}
RAYS_IN_THE_CACHE = 32_768  # of a CPU: small scenes are drawn together up to this number


def render(
    scenes: Scenes,
    instrument: Instrument,
    *,
    device: str,
    expected_images: int | None = None,
    dtype: torch.dtype = torch.float32,
    compiled: bool | None = None,
) -> Rendered:
    """Render the lensed source and the lens light of every scene; sources are Sersic laws or pictures.

    The lens equation is beta = theta - alpha(halo) - alpha(shear) - sum alpha(masses). Pixel values are means over the
    pixel's rays, then convolved with the PSF. Image i depends on scene i, the instrument, the kind of device and the
    choice of path (compiled or not) only. On CUDA, pictures, multipoles and truncated
    haloes are never compiled.

    Args:
        scenes: Scenes of n images.
        instrument: Instrument: pixels, over-sampling, PSF.
        device: "cpu" or "cuda[:i]"; for any other kind the images are rendered on the CPU and moved.
        expected_images: Number of images that this run will render in all its calls, to decide whether compiling
            pays; None stands for n.
        dtype: Type of the computation and of the result; float64 is for comparisons and never compiled.
        compiled: True or False to choose the path, None to decide by `expected_images`.

    Returns:
        [n, H, W] surface brightness, in the unit of `Sersic.intensity`; no lens light gives None.

    Raises:
        UsageError: The device does not exist.
    """
    target = torch.device(device)
    if target.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device={device!r}, but torch sees no CUDA device.", hint="Use device 'cpu' or 'auto'.")
    work = target if target.type == "cuda" else torch.device("cpu")
    rays_per_image = len(instrument.ray_grid()[0]) ** 2
    if compiled is None:
        images = len(scenes) if expected_images is None else expected_images
        compiled = pays_to_compile(rays_per_image=rays_per_image, images=images, device_type=work.type)

    def eager() -> Callable[..., Tensor]:
        return _painter(instrument, device=work, dtype=dtype, fused=None)

    draw = (_compiled_painter(instrument, device=work) if compiled and dtype == torch.float32 else None) or eager()
    draw_source = eager() if isinstance(scenes.source, PixelSource) and work.type == "cuda" else draw
    with torch.no_grad():
        extended = extended_scenes(scenes)
        if extended.any():
            size = instrument.image_size
            source = torch.empty(len(scenes), size, size, dtype=dtype, device=work)
            draw_extended = eager() if work.type == "cuda" else draw_source  # compiled for CPUs only
            for chosen, painter in ((~extended, draw_source), (extended, draw_extended)):
                source[torch.as_tensor(chosen, device=work)] = _draw_source(painter, scenes[chosen], device=work)
        else:
            source = _draw_source(draw_source, scenes, device=work)
        lens_light = None
        if scenes.lens_light is not None:
            none = np.zeros((0, len(scenes), 3))
            counts = np.zeros(len(scenes), np.int64)
            lens_light = draw(unlensed_parameters(scenes.lens_light), none, counts).to(target)
    return Rendered(source=source.to(target), lens_light=lens_light)


def _draw_source(draw: Callable[..., Tensor], scenes: Scenes, *, device: torch.device) -> Tensor:
    """Return [n, H, W] the lensed source, by a painter; all scenes contain extended masses, or none does."""
    masses, counts = packed_masses(scenes.points)
    extended = extended_masses(scenes, device=device) if extended_scenes(scenes).any() else None
    if isinstance(scenes.source, PixelSource):
        parameters = picture_parameters(scenes, scenes.source)
        return draw(parameters, masses, counts, pictures=scenes.source.pixels, extended=extended)
    parameters = source_parameters(scenes, scenes.source)
    if extended is None:
        return draw(parameters, masses, counts)
    return draw(parameters, masses, counts, extended=extended)


def _compiled_painter(instrument: Instrument, *, device: torch.device) -> Callable[..., Tensor] | None:
    """Return what `_painter` does (on CUDA: for Sersic sources and points), compiled; None where that fails."""
    if device.type == "cpu":
        library = native_library()
        return None if library is None else native_painter(library, instrument)
    fused = compiled_brightness()
    return None if fused is None else _painter(instrument, device=device, dtype=torch.float32, fused=fused)


def _painter(
    instrument: Instrument, *, device: torch.device, dtype: torch.dtype, fused: Brightness | None
) -> Callable[..., Tensor]:
    """Return a function of parameters [n, 15], masses [p, n, 3] and their counts [n] that gives [n, H, W].

    Given also pictures [n, h, w], it draws those, with parameters [n, 11], and given extended masses their deflection
    too; both with `fused` None only.
    """
    over = instrument.over_sampling
    x_axis, y_axis = (torch.as_tensor(axis, dtype=dtype, device=device) for axis in instrument.ray_grid())
    padded = len(x_axis) // over
    # The rays of a pixel come first, so that the mean over them adds whole planes.
    x = x_axis.reshape(padded, over).T.reshape(1, over, 1, padded).contiguous()
    y = y_axis.reshape(padded, over).T.reshape(over, 1, padded, 1).contiguous()
    limit = RAYS_AT_A_TIME[device.type]
    rows = min(padded, max(1, limit // (over**2 * padded)))
    on_cpu = device.type == "cpu"
    together = max(1 if on_cpu else LEAST_MASSES, (RAYS_IN_THE_CACHE if on_cpu else limit) // (over**2 * padded**2))
    convolve = psf_convolution(instrument.psf_kernel(), size=padded, device=device)

    def pixels(
        parameters: Tensor, masses: Tensor, pictures: Tensor | None, extended: Extended | None, y_band: Tensor
    ) -> Tensor:
        """Return [c, rows, padded], the means over the rays of each pixel."""
        shape = (over, over, y_band.shape[2], padded)
        if pictures is not None:
            brightness = brightness_of_pictures(parameters, masses, pictures, x, y_band, extended)
        elif fused is None:
            brightness = brightness_eager(parameters, masses, x, y_band, extended)
        else:
            flat_x, flat_y = x.expand(shape).reshape(-1), y_band.expand(shape).reshape(-1)
            brightness = fused(parameters, masses, flat_x, flat_y)
        return brightness.reshape(-1, over**2, *shape[2:]).mean(1)

    def draw(
        parameters: NDArray[np.float64],
        masses: NDArray[np.float64],
        counts: NDArray[np.int64],
        pictures: NDArray[np.float64] | None = None,
        extended: Extended | None = None,
    ) -> Tensor:
        images = torch.empty(len(parameters), instrument.image_size, instrument.image_size, dtype=dtype, device=device)
        least = 0 if fused is None else LEAST_MASSES
        missing = max(0, least - len(masses))
        masses = np.concatenate([masses, np.zeros((missing, *masses.shape[1:]))])
        numbers = parameters if fused is None else image_constants(parameters)
        all_parameters = torch.as_tensor(numbers, dtype=dtype, device=device)
        all_masses = torch.as_tensor(masses, dtype=dtype, device=device)
        # On a CPU, tables of extended masses are as long as the longest of a chunk: scene by scene costs less.
        chunk = 1 if on_cpu and extended is not None else together
        for chosen in _chunks(counts, chunk=chunk, padded=not on_cpu):
            most = max(least, int(counts[chosen].max()))
            indices = torch.as_tensor(chosen, device=device)
            some_parameters = all_parameters[indices]
            some_masses = all_masses[:most, indices].contiguous()
            some_pictures = None if pictures is None else torch.as_tensor(pictures[chosen], dtype=dtype, device=device)
            some_extended = None if extended is None else extended[indices]
            if some_extended is not None and dtype == torch.float32:
                some_extended = some_extended.tabulated(dtype)
            bands = [
                pixels(some_parameters, some_masses, some_pictures, some_extended, band)
                for band in y.split(rows, dim=2)
            ]
            # A Fourier transform of several images rounds otherwise than that of one.
            blurred = [convolve(part) for part in torch.cat(bands, dim=1).split(1 if on_cpu else chunk)]
            images.index_copy_(0, indices, torch.cat(blurred))
        return images

    return draw


def _chunks(counts: NDArray[np.int64], *, chunk: int, padded: bool) -> Iterator[NDArray[np.int64]]:
    """Yield index arrays of `chunk` scenes with similar numbers of masses; the last is shorter, or repeats a scene."""
    order = np.argsort(counts, kind="stable")
    for start in range(0, len(order), chunk):
        indices = order[start : start + chunk]
        yield np.pad(indices, (0, chunk - len(indices)), mode="edge") if padded else indices
