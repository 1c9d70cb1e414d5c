"""From rays to the pixels of a camera, as two small matrices: a pixel's square and the PSF in one step."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.lensing.instrument import Instrument

_FINER = 5  # samples of the kernel per ray and axis; odd, so that samples and rays coincide
_LEAST = 1e-4  # eigenvalues of the kernel below this share of the largest are left out; a Gaussian has one


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Sums over rays for Gaussian PSFs of a width of its own for each image.

    Args:
        matrices: [n, N, P]: pixels = M rays M^T.
        slopes: [n, N, P] derivative of M in the logarithm of the width.
    """

    matrices: Tensor
    slopes: Tensor

    def slope(self, rays: Tensor) -> Tensor:
        """Return the derivative of pixels [n, N, N] of rays [n, P, P] in the logarithm of the width."""
        down = torch.matmul(self.slopes, torch.matmul(rays, self.matrices.mT))
        right: Tensor = torch.matmul(self.matrices, torch.matmul(rays, self.slopes.mT))
        return down + right


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rays of an image, and the sum over them that gives its pixels.

    Args:
        x, y: [1, P] and [P, 1] positions of the rays in arcsec; y grows along the first axis of an image.
        signs: [R] of the terms of the kernel.
        matrices: [R, N, P], one for each term of the kernel: pixels = sum_r s_r M_r rays M_r^T.
        bins: Pixels of the original images per side of a pixel of this grid.
        pixel_scale: Side of a pixel of this grid in arcsec.
        step: Distance of the rays in arcsec.
        sigma: Width of a Gaussian PSF in arcsec; None for other PSFs.
    """

    x: Tensor
    y: Tensor
    signs: Tensor
    matrices: Tensor
    bins: int
    pixel_scale: float
    step: float
    sigma: float | None

    @property
    def size(self) -> int:
        """Pixels per side."""
        return self.matrices.shape[1]

    def pixels(self, rays: Tensor, blur: Blur | None = None) -> Tensor:
        """Return [..., N, N] pixels of rays [..., P, P]; with a blur, [n, k, N, N] of rays [n, k, P, P]."""
        if blur is not None:
            matrices = blur.matrices[:, None]
            widened: Tensor = torch.matmul(matrices, torch.matmul(rays, matrices.mT))
            return widened
        side = rays.shape[-1]
        total: Tensor | None = None
        for sign, matrix in zip(self.signs, self.matrices, strict=True):
            right = (rays.reshape(-1, side) @ matrix.T).reshape(*rays.shape[:-1], self.size)
            term = torch.matmul(matrix * sign, right)
            total = term if total is None else total + term
        assert total is not None
        return total

    def blur(self, log_width: Tensor) -> Blur:
        """Return the sums over rays for Gaussians whose widths are exp(log_width) [n] times that of the camera's PSF.

        Raises:
            ValueError: The PSF is not a Gaussian.
        """
        if self.sigma is None:
            raise ValueError("Only the width of a Gaussian PSF can differ between images.")
        offsets = self.x - self.centres[:, None]
        width = (self.sigma * log_width.exp())[:, None, None]
        above, below = ((offsets + side * self.pixel_scale / 2) / width for side in (1, -1))
        share = self.step / self.pixel_scale  # of a ray: the pixel's mean over its width
        matrices = (torch.special.ndtr(above) - torch.special.ndtr(below)) * share
        density = share / math.sqrt(2 * math.pi)
        slopes = (below * torch.exp(-0.5 * below**2) - above * torch.exp(-0.5 * above**2)) * density
        return Blur(matrices=matrices, slopes=slopes)

    def binned(self, images: Tensor) -> Tensor:
        """Return images [..., H, W] of the camera averaged over this grid's pixels."""
        side = self.size * self.bins
        if self.bins == 1:
            return images[..., :side, :side]
        parts = images[..., :side, :side].reshape(*images.shape[:-2], self.size, self.bins, self.size, self.bins)
        return parts.mean((-3, -1))

    @property
    def centres(self) -> Tensor:
        """[N] positions of the pixels' centres in arcsec."""
        matrix = self.matrices[0]
        positions: Tensor = matrix @ self.x.flatten() / matrix.sum(1)
        return positions


def make_grid(
    instrument: Instrument,
    *,
    rays: int,
    bins: int = 1,
    shift: float = 0.0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Grid:
    """Return the grid of a camera.

    The weight of a ray in a pixel is the PSF, integrated over the pixel, at the ray's distance: the trapezoidal rule,
    which converges fast as soon as the rays are closer than the PSF's width.

    Args:
        instrument: Camera whose pixels are those of the grid.
        rays: Rays per pixel and axis.
        bins: Pixels of the original images per side of such a pixel.
        shift: Position of the grid's middle in arcsec, along both axes.
        dtype, device: Type and device of the result.
    """
    step = instrument.pixel_scale / rays
    fine = instrument.divided(rays * _FINER, rays=1).psf_kernel()
    box = np.ones(rays * _FINER)
    kernel = np.apply_along_axis(np.convolve, 0, np.apply_along_axis(np.convolve, 1, fine, box), box)
    half = (len(kernel) - 1) / 2  # of the samples' offsets from the pixel's centre
    first = rays % 2 == 0  # rays lie at half steps from the centre then
    reach = math.floor((half / _FINER) - (0.5 if first else 0.0) + 1e-9)
    offsets = np.arange(-reach - first, reach + 1) + (0.5 if first else 0.0)
    chosen = np.rint(offsets * _FINER + half).astype(int)
    kernel = kernel[np.ix_(chosen, chosen)]
    kernel /= kernel.sum()
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)  # a kernel is symmetric
    terms = np.flatnonzero(np.abs(values) > _LEAST * np.abs(values).max())

    count = instrument.image_size * rays
    pad = max(0, math.ceil(len(offsets) / 2 - rays / 2))
    positions = (np.arange(count + 2 * pad) - (count + 2 * pad - 1) / 2) * step
    centres = (np.arange(instrument.image_size) - (instrument.image_size - 1) / 2) * instrument.pixel_scale
    columns = np.rint((centres[:, None] - positions[0]) / step + offsets).astype(int)
    matrices = np.zeros((len(terms), instrument.image_size, len(positions)))
    signs = np.ones(len(terms))
    for number, k in enumerate(terms):
        vector = vectors[:, k] * math.sqrt(abs(values[k]))
        signs[number] = math.copysign(1.0, values[k])
        np.put_along_axis(matrices[number], columns, np.broadcast_to(vector, columns.shape), axis=1)
    axis = torch.as_tensor(positions + shift, dtype=dtype, device=device)
    return Grid(
        x=axis[None, :], y=axis[:, None], signs=torch.as_tensor(signs, dtype=dtype, device=device),
        matrices=torch.as_tensor(matrices, dtype=dtype, device=device), bins=bins, pixel_scale=instrument.pixel_scale,
        step=step, sigma=instrument.psf_width if instrument.psf == "gaussian" else None,
    )  # fmt: skip


def grids_with_fewer_rays(
    instrument: Instrument, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> tuple[Grid, Grid, Grid]:
    """Return a grid of coarse pixels with few rays, one of a camera's pixels with few rays, and one with all rays."""
    coarse, few = grids(instrument, share=2, dtype=dtype, device=device)
    fine = grids(instrument, dtype=dtype, device=device)[1]
    return coarse, few if few.x.numel() < fine.x.numel() else fine, fine


def grids(
    instrument: Instrument,
    *,
    rays: int | None = None,
    share: int = 1,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> tuple[Grid, Grid]:
    """Return a coarse grid for first steps and the fine one.

    Args:
        instrument: Camera.
        rays: Rays per pixel and axis of the fine grid; default: as many as the PSF's width needs, two of them.
        share: Number that the rays per pixel and axis of both grids are divided by, for first steps.
        dtype, device: Type and device of the result.
    """
    width = {"gaussian": instrument.psf_width, "none": instrument.pixel_scale / 2}
    widest = width.get(instrument.psf, instrument.psf_width / 2.44)  # of an Airy pattern
    if rays is None:
        rays = min(8, max(1, math.ceil(2 * instrument.pixel_scale / widest - 1e-6)))
    bins = max(1, instrument.image_size // 32)
    size, scale = instrument.image_size // bins, instrument.pixel_scale * bins
    rest = instrument.image_size - size * bins  # left out at the upper edges
    coarse = make_grid(
        dataclasses.replace(instrument, image_size=size, pixel_scale=scale),
        rays=max(1, min(8, math.ceil(scale / widest - 1e-9)) // share),
        bins=bins,
        shift=-rest * instrument.pixel_scale / 2,
        dtype=dtype,
        device=device,
    )
    return coarse, make_grid(instrument, rays=max(1, rays // share), dtype=dtype, device=device)
