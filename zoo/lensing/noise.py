"""Poisson numbers of several images at once; those of an image depend on its means and its seed only."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import ZooError
from zoo.native import COMPILE_SECONDS, load_native

if TYPE_CHECKING:
    from torch import Tensor

SECONDS_GAINED_PER_PIXEL = 2e-8
"""Time of a core that compiled code saves, at least: torch takes 4e-8, at any number of counts."""

_log = logging.getLogger(__name__)


def poisson(
    mean: Tensor, *, seeds: Sequence[int], expected_images: int | None = None, threads: int | None = None
) -> Tensor:
    """Return [n, H, W] Poisson numbers: for each image those of `torch.poisson` with a generator of its seed.

    For long runs, compiled code that gives the same bits takes torch's place on a CPU; it draws the pixels of several
    images side by side.

    Args:
        mean: [n, H, W] float32, not negative.
        seeds: [n].
        expected_images: Number of images of the whole run; None stands for n.
        threads: Threads that share the images on a CPU; None stands for as many as torch has.
    """
    import torch

    if not len(mean):
        return torch.empty_like(mean)
    if mean.device.type != "cpu":
        return torch.stack(list(map(_by_torch, mean, seeds)))
    threads = threads or torch.get_num_threads()
    pixels = mean[0].numel() * (expected_images or len(mean))
    if SECONDS_GAINED_PER_PIXEL * pixels > COMPILE_SECONDS and (draw := _native()) is not None:
        return draw(mean, seeds, threads)
    if min(threads, len(mean)) < 2:
        return torch.stack(list(map(_by_torch, mean, seeds)))
    with ThreadPoolExecutor(threads) as pool:  # torch holds no lock of Python while it draws
        return torch.stack(list(pool.map(_by_torch, mean, seeds)))


def _by_torch(mean: Tensor, seed: int) -> Tensor:
    import torch

    return torch.poisson(mean, generator=torch.Generator(device=mean.device).manual_seed(seed))


@functools.cache
def _native() -> Callable[[Tensor, Sequence[int], int], Tensor] | None:
    """Return a function of means [n, ...], seeds [n] and a number of threads, which draws as `_by_torch` does.

    None where there is no compiler, or torch's numbers are others.
    """
    import torch

    try:
        library = load_native(Path(__file__).with_name("noise.cpp"), options=("-ffp-contract=off", "-pthread"))
    except ZooError as error:
        _log.debug("noise is drawn by torch: %s", error)
        return None

    def draw(mean: Tensor, seeds: Sequence[int], threads: int) -> Tensor:
        mean = mean.contiguous()
        counts = torch.empty_like(mean)
        low_bits = np.fromiter(seeds, np.uint64, len(mean)).astype(np.uint32)  # torch's generator uses no others
        library.zoo_poisson(
            ctypes.c_int64(len(mean)), ctypes.c_int64(mean[0].numel()), ctypes.c_void_p(mean.data_ptr()),
            ctypes.c_void_p(low_bits.ctypes.data), ctypes.c_void_p(counts.data_ptr()), ctypes.c_int64(threads),
        )  # fmt: skip
        return counts

    seeds = [seed + image for seed in (0, 2**40 + 1, 2**63 - 50) for image in range(16)]
    sample = torch.logspace(-3, 9, 4096, dtype=torch.float32)
    # Means from 10, which are drawn side by side, and those below after them.
    mean = torch.stack([sample.roll(-1400 - image) for image in range(len(seeds))])
    if not torch.equal(draw(mean, seeds, 1), torch.stack(list(map(_by_torch, mean, seeds)))):
        _log.debug("noise is drawn by torch: its numbers are not those of the compiled code")
        return None
    return draw
