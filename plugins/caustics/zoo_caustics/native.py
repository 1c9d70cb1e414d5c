"""Images of Sersic sources and pictures on a CPU, by the C++ file beside this module: an image in one pass."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import ZooError
from zoo.native import load_native
from zoo_caustics.extended import Extended
from zoo_caustics.fused import image_constants
from zoo_caustics.psf import psf_convolution
from zoo_caustics.rays import brightness_eager, brightness_of_pictures

if TYPE_CHECKING:
    from zoo.lensing.instrument import Instrument

SOURCE = Path(__file__).with_name("rays.cpp")
RAYS_IN_A_CALL = 10_000_000  # of the compiled code: 0.1 to 1 second, by the number of masses; an interrupt waits for it
IMAGES_WITH_TABLES = 32  # in a call at most, where their truncated haloes have tables of a megabyte for each image
# Of the tables of truncated haloes, as in rays.cpp: bits of float32 numbers.
_FIRST_BITS, _LAST_BITS, _STEP_BITS = (127 - 20) << 23, (127 + 16) << 23, 17
PIXELS_TO_CONVOLVE = 1_000_000  # at a time, of a PSF that is not separable

Library = ctypes.CDLL
Draw = Callable[..., Tensor]

_log = logging.getLogger(__name__)


@functools.cache
def native_library() -> Library | None:
    """Compile `rays.cpp` and compare it with caustics' functions; None, and one warning, where that fails."""
    try:
        library = load_native(SOURCE, options=("-pthread",))
        error = _largest_error(library)
        if not error < 1e-4:
            raise ZooError(f"the compiled code is wrong by {error:.1e}")
    except Exception as failure:  # a compiler can fail in any way; there is always the other path
        reason = next(iter(str(failure).strip().splitlines()), type(failure).__name__)
        _log.warning("caustics: compiling failed, rendering goes on uncompiled and slower (%s)", reason)
        return None
    return library


def native_painter(library: Library, instrument: Instrument) -> Draw:
    """Return a function of parameters [n, 15], masses [p, n, 3] and their counts [n] that gives [n, H, W] float32.

    Given also pictures [n, h, w], it draws those, with parameters [n, 11]; given extended masses, it adds their
    deflection. It works in as many threads as torch has.
    """
    axes = [np.ascontiguousarray(axis, np.float32) for axis in instrument.ray_grid()]
    over = instrument.over_sampling
    kernel = instrument.psf_kernel()
    padded, radius = len(axes[0]) // over, len(kernel) // 2
    taps = kernel.sum(0)
    separable = np.allclose(np.outer(taps, taps), kernel, rtol=1e-9, atol=1e-12)
    size = instrument.image_size if separable else padded
    threads = torch.get_num_threads()
    together = max(threads, RAYS_IN_A_CALL // (padded * over) ** 2)

    def draw(
        parameters: NDArray[np.float64],
        masses: NDArray[np.float64],
        counts: NDArray[np.int64],
        pictures: NDArray[np.float64] | None = None,
        extended: Extended | None = None,
    ) -> Tensor:
        as_sersic = parameters if pictures is None else _picture_as_sersic(parameters)
        constants = np.ascontiguousarray(image_constants(as_sersic), np.float32)
        table = np.ascontiguousarray(masses.transpose(1, 0, 2), np.float32)
        images = np.empty((len(parameters), size, size), np.float32)
        step = together if extended is None else min(together, max(threads, IMAGES_WITH_TABLES))
        for start in range(0, len(parameters), step):
            chosen = slice(start, start + step)
            _render(
                library, constants[chosen], table[chosen], counts[chosen], axes, pixels=padded,
                taps=taps if separable else None, radius=radius, out=images[chosen], threads=threads,
                pictures=None if pictures is None else pictures[chosen],
                extended=None if extended is None else native_extended(extended[torch.arange(len(parameters))[chosen]]),
            )  # fmt: skip
        return torch.from_numpy(images)

    if separable:
        return draw
    convolve = psf_convolution(kernel, size=padded, device=torch.device("cpu"))
    convolved_together = max(1, PIXELS_TO_CONVOLVE // padded**2)

    def draw_and_convolve(
        parameters: NDArray[np.float64],
        masses: NDArray[np.float64],
        counts: NDArray[np.int64],
        pictures: NDArray[np.float64] | None = None,
        extended: Extended | None = None,
    ) -> Tensor:
        images = torch.empty(len(parameters), instrument.image_size, instrument.image_size)
        for start in range(0, len(parameters), convolved_together):
            chosen = slice(start, start + convolved_together)
            some = None if extended is None else extended[torch.arange(len(parameters))[chosen]]
            shown = None if pictures is None else pictures[chosen]
            drawn = draw(parameters[chosen], masses[:, chosen], counts[chosen], shown, some)
            # One by one: the Fourier transform of an image differs in its last bits with those beside it.
            images[chosen] = torch.cat([convolve(image) for image in drawn.split(1)])
        return images

    return draw_and_convolve


@functools.cache
def table_squares() -> Tensor:
    """Return the squared distances in arcsec^2 of the places of a table, [k] float64."""
    places = np.arange(_FIRST_BITS, _LAST_BITS + 1, 1 << _STEP_BITS, dtype=np.int32)
    return torch.from_numpy(places.view(np.float32).astype(np.float64))


def native_extended(masses: Extended) -> list[NDArray[np.float32]]:
    """Return multipoles [n, 6], centres [n, p, 2] and pulls [n, p, k] of some scenes; 0 where there is no halo."""
    pulls = masses.pull(table_squares())
    tables = [masses.multipoles, masses.haloes[..., :2].transpose(0, 1), pulls.transpose(0, 1)]
    return [np.ascontiguousarray(table.numpy(), np.float32) for table in tables]


def _picture_as_sersic(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [n, 15] numbers of a Sersic source from the [n, 11] of `picture_parameters`, see rays.cpp."""
    *lens, x, y, angle, pixel_scale = parameters.T
    one = np.ones_like(x)
    return np.stack([*lens, x, y, one, angle, one, pixel_scale, one, one], axis=1)


def _render(
    library: Library,
    constants: NDArray[np.float32],
    masses: NDArray[np.float32],
    counts: NDArray[np.int64],
    axes: list[NDArray[np.float32]],
    *,
    pixels: int,
    taps: NDArray[np.float64] | None,
    radius: int,
    out: NDArray[np.float32],
    threads: int = 1,
    pictures: NDArray[np.float64] | None = None,
    extended: list[NDArray[np.float32]] | None = None,
) -> None:
    """Call `zoo_render`, whose comment describes the arguments.

    Raises:
        MemoryError: Memory ran out.
    """

    def address(array: NDArray[np.generic] | None) -> ctypes.c_void_p:
        return ctypes.c_void_p(None if array is None else array.ctypes.data)

    def number(value: int) -> ctypes.c_int64:
        return ctypes.c_int64(value)

    multipoles, centres, pulls = (None, None, None) if extended is None else extended
    height, width = (0, 0) if pictures is None else pictures.shape[1:]
    bordered = None if pictures is None else np.pad(pictures.astype(np.float32), ((0, 0), (1, 1), (1, 1)))
    failed = library.zoo_render(
        number(len(constants)), address(constants), address(masses), address(counts), number(masses.shape[1]),
        address(multipoles), address(centres), address(pulls), number(0 if pulls is None else pulls.shape[1]),
        address(bordered), number(height), number(width), address(axes[0]), address(axes[1]), number(pixels),
        number(len(axes[0]) // pixels),
        address(taps), number(radius), address(out), number(threads),
    )  # fmt: skip
    if failed:
        raise MemoryError(f"Memory ran out while images of {pixels} x {pixels} pixels were rendered.")


def _largest_error(library: Library) -> float:
    """Return the largest difference from caustics' functions on a few rays, relative to the peak."""
    side = 40
    axis = np.linspace(-2, 2, side, dtype=np.float32)
    parameters = np.full((2, 15), 0.5)
    parameters[1, 2] = 1.0  # a sphere
    masses = np.random.default_rng(0).uniform(0.1, 1.0, (3, 2, 3))
    table = np.ascontiguousarray(masses.transpose(1, 0, 2), np.float32)
    masses[2, 1, 2] = 0.0
    ray = torch.as_tensor(axis, dtype=torch.float64)
    largest = 0.0
    multipoles, haloes = (torch.full(shape, 0.3, dtype=torch.float64) for shape in ((2, 6), (2, 2, 5)))
    pictures = np.random.default_rng(1).uniform(0, 1, (2, 6, 5))
    drawn = np.concatenate([parameters[:, :7], np.full((2, 4), 0.2)], axis=1)
    for extended in (None, Extended(multipoles=0.1 * multipoles, haloes=haloes)):
        for shown in (None, pictures):
            numbers = parameters if shown is None else _picture_as_sersic(drawn)
            found = np.empty((2, side, side), np.float32)
            _render(
                library, image_constants(numbers).astype(np.float32), table, np.array([3, 2]), [axis, axis],
                pixels=side, taps=None, radius=0, out=found, pictures=shown,
                extended=None if extended is None else native_extended(extended),
            )  # fmt: skip
            rays, weights = (ray[None, :], ray[:, None]), torch.as_tensor(masses)
            if shown is None:
                expected = brightness_eager(torch.as_tensor(parameters), weights, *rays, extended)
            else:
                expected = brightness_of_pictures(
                    torch.as_tensor(drawn), weights, torch.as_tensor(shown), *rays, extended
                )
            largest = max(largest, float((torch.from_numpy(found) - expected).abs().max() / expected.max()))
    return largest
