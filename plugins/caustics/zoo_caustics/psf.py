"""Convolution with the point spread function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def psf_convolution(kernel: NDArray[np.float64], *, size: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function that convolves images and cuts them back to where the whole kernel lies inside.

    It goes through a Fourier transform in float64, whatever the images' type: exact to float32, the same cost
    for every kernel, and out of reach of the settings (TF32, bfloat16) that training may put on float32.

    Args:
        kernel: [2r + 1, 2r + 1].
        size: Size of the images, [..., size, size]; the results are [..., size - 2r, size - 2r].
        device: Device of the images.
    """
    if kernel.size == 1:
        return lambda images: images * float(kernel[0, 0])
    cut = len(kernel) - 1
    # A periodic convolution of this length wraps around within the part that is cut off only.
    length = _fast_length(size)
    transfer = torch.fft.rfft2(torch.as_tensor(kernel, device=device), s=(length, length))

    def convolve(images: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(images.double(), s=(length, length)).mul_(transfer)
        convolved = torch.fft.irfft2(spectrum, s=(length, length))[..., cut:size, cut:size]
        return convolved.clamp(min=0).to(images.dtype)  # light is not negative; rounding may be

    return convolve


def _fast_length(size: int) -> int:
    """Return the smallest length from `size` on that has no prime factor above 7."""
    while True:
        rest = size
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
