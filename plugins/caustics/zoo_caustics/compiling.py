"""Decision for compiled code, and compilation of the ray loop for CUDA with the fallback where it fails."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zoo import native
from zoo.errors import ZooError
from zoo_caustics.fused import OPTIONS, brightness_fused, image_constants
from zoo_caustics.rays import brightness_eager

Brightness = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

COMPILE_SECONDS = {"cpu": native.COMPILE_SECONDS, "cuda": 8.0}  # with an empty cache
# 25 masses; the first as benchmarks/simulate.py measures it on two cores, the second on an H100.
SECONDS_GAINED_PER_RAY = {"cpu": 7e-8, "cuda": 1.1e-9}
LEAST_MASSES = 2  # the compiler would make code of its own for a length of 0 or 1
_SAMPLE_RAYS, _SAMPLE_MASSES = 110_224, 25  # sizes that the compiler plans for; others run the same code

_log = logging.getLogger(__name__)


def pays_to_compile(*, rays_per_image: int, images: int, device_type: str) -> bool:
    """Return whether compiling saves more time than it costs.

    It looks at the size of the whole run only, never at the scenes at hand or at what a cache happens to hold,
    so that all images of one data set come from the same code.
    """
    return SECONDS_GAINED_PER_RAY[device_type] * rays_per_image * images > COMPILE_SECONDS[device_type]


@contextlib.contextmanager
def _surroundings_kept() -> Iterator[None]:
    """Undo what torch's compiler changes: variables that name Triton's programs and cache, and the recursion limit."""
    environment, limit = dict(os.environ), sys.getrecursionlimit()
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        sys.setrecursionlimit(limit)


@functools.cache
def compiled_brightness(device_type: str = "cuda") -> Brightness | None:
    """Compile `brightness_fused` for any number of rays and masses; None, and one warning, where that fails.

    Images on a CPU come from `zoo_caustics.native` instead: torch's code there uses a team of threads for each loop,
    which all wait for the slowest, and holds Python's lock.

    The code is kept on disk in TORCHINDUCTOR_CACHE_DIR (default: `inductor` in zoo's cache folder): compiled
    once per machine, then read in a few seconds.
    """
    from zoo.paths import cache_dir

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "inductor"))
    chunk = 8
    # Always the same sample, so that the code does not depend on what is rendered first.
    parameters = torch.full((chunk, 15), 0.5, dtype=torch.float64)
    constants = torch.as_tensor(image_constants(parameters.numpy()), dtype=torch.float32, device=device_type)
    parameters = parameters.to(constants)
    masses = torch.full((_SAMPLE_MASSES, chunk, 3), 0.5, device=device_type)
    x = torch.linspace(-1, 1, _SAMPLE_RAYS, device=device_type)
    y = x.flip(0)
    for tensor in (masses, x, y):
        torch._dynamo.mark_dynamic(tensor, 0)
    torch._dynamo.mark_dynamic(constants, 0)
    torch._dynamo.mark_dynamic(masses, 1)
    try:
        fused: Brightness = torch.compile(brightness_fused, fullgraph=True, options=OPTIONS)
        with torch.no_grad(), _surroundings_kept():
            compiled, plain = fused(constants, masses, x, y), brightness_eager(parameters, masses, x, y)
        error = float((compiled - plain).abs().max() / plain.abs().max())
        if not error < 1e-4:
            raise ZooError(f"the compiled code is wrong by {error:.1e}")
    except Exception as failure:  # a compiler can fail in any way; there is always the other path
        reason = next(iter(str(failure).strip().splitlines()), type(failure).__name__)
        _log.warning("caustics: torch.compile failed, rendering goes on uncompiled and slower (%s)", reason)
        return None
    return fused
