"""Poisson numbers of several images at once; those of an image depend on its means and its seed only."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ZooError
from zoo.native import COMPILE_SECONDS, load_native

if TYPE_CHECKING:
    from torch import Tensor

SECONDS_GAINED_PER_PIXEL = 2e-8
"""Time of a core that compiled code saves: torch takes 4e-8, at any number of counts."""

_log = logging.getLogger(__name__)


def poisson(mean: Tensor, *, seeds: Sequence[int], expected_images: int | None = None) -> Tensor:
    """Return [n, H, W] Poisson numbers: for each image those of `torch.poisson` with a generator of its seed.

    An image is the work of one thread. torch holds no lock of Python while it draws; for long runs, compiled code that
    gives the same bits takes its place on a CPU.

    Args:
        mean: [n, H, W] float32, not negative.
        seeds: [n].
        expected_images: Number of images of the whole run; None stands for n.
    """
    import torch

    draw: Callable[[Tensor, int], Tensor] = _by_torch
    threads = 1
    if mean.device.type == "cpu" and len(mean):
        pixels = mean[0].numel() * (expected_images or len(mean))
        if SECONDS_GAINED_PER_PIXEL * pixels > COMPILE_SECONDS:
            draw = _native() or draw
        threads = min(len(seeds), torch.get_num_threads())
    if threads < 2:
        images = list(map(draw, mean, seeds))
    else:
        with ThreadPoolExecutor(threads) as pool:
            images = list(pool.map(draw, mean, seeds))
    return torch.stack(images) if images else torch.empty_like(mean)


def _by_torch(mean: Tensor, seed: int) -> Tensor:
    import torch

    return torch.poisson(mean, generator=torch.Generator(device=mean.device).manual_seed(seed))


@functools.cache
def _native() -> Callable[[Tensor, int], Tensor] | None:
    """Return compiled code in place of `_by_torch`; None where there is no compiler, or torch's numbers are others."""
    import torch

    try:
        library = load_native(Path(__file__).with_name("noise.cpp"), options=("-ffp-contract=off",))
    except ZooError as error:
        _log.debug("noise is drawn by torch: %s", error)
        return None

    def draw(mean: Tensor, seed: int) -> Tensor:
        mean = mean.contiguous()
        counts = torch.empty_like(mean)
        pixels = ctypes.c_int64(mean.numel())
        low_bits = ctypes.c_uint32(seed & 0xFFFFFFFF)  # torch's generator uses no others
        library.zoo_poisson(pixels, ctypes.c_void_p(mean.data_ptr()), low_bits, ctypes.c_void_p(counts.data_ptr()))
        return counts

    sample = torch.logspace(-3, 9, 4096, dtype=torch.float32)
    if not all(torch.equal(draw(sample, seed), _by_torch(sample, seed)) for seed in (0, 2**40 + 1, 2**63 - 1)):
        _log.debug("noise is drawn by torch: its numbers are not those of the compiled code")
        return None
    return draw
