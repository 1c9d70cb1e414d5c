"""Instrument: pixels, over-sampling and the point spread function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError, nearest

PSFS = ("gaussian", "airy_circle", "airy", "none")
MOST_RAYS = 64
"""Largest `Instrument.over_sampling`."""
_FIRST_DARK_RING, _THIRD_DARK_RING = 3.8317059702075123, 10.173468135062722  # zeros of J_1


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """A camera.

    Args:
        image_size: Number of pixels on a side.
        pixel_scale: Pixel scale in arcsec per pixel.
        over_sampling: Number of rays per pixel and axis, averaged.
        psf: "gaussian", "none", "airy_circle" (an Airy pattern inside its third dark ring), or "airy" (one inside a
            square of whole pixels around that ring, as in earlier recipes: its light depends on the pixels).
        psf_width: Width in arcsec: the Gaussian's sigma, or the radius of the Airy disk's first zero.
        reference_pixel_scale: Side in arcsec of the pixel that `Exposure.snr` and `Exposure.peak` refer to. None stands
            for the camera's own pixel. With a fixed value the depth of an image does not depend on its pixels.

    Raises:
        UsageError: A value is impossible.
    """

    image_size: int = 150
    pixel_scale: float = 0.05
    over_sampling: int = 2
    psf: str = "gaussian"
    psf_width: float = 0.1
    reference_pixel_scale: float | None = None

    most_pixels: ClassVar[int] = 4096

    def __post_init__(self) -> None:
        _whole("image_size", self.image_size, low=8, high=self.most_pixels)
        _whole("over_sampling", self.over_sampling, low=1, high=MOST_RAYS)
        if self.psf not in PSFS:
            raise UsageError(f"psf={self.psf!r} is not one of {', '.join(PSFS)}.{nearest(str(self.psf), PSFS)}")
        for name in ("pixel_scale", "psf_width", "reference_pixel_scale"):
            value = getattr(self, name)
            if value is None and name == "reference_pixel_scale":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise UsageError(f"{name}={value!r} must be a positive number of arcsec.")
        if self.psf != "none" and (
            self.psf_width > self.image_size * self.pixel_scale or self.psf_radius_pixels > self.image_size
        ):
            raise UsageError(
                f"psf_width={self.psf_width:g} arcsec is wider than the image of {self.field_of_view:g} arcsec."
            )

    @property
    def field_of_view(self) -> float:
        """Side of the image in arcsec."""
        return self.image_size * self.pixel_scale

    @property
    def area_in_reference_pixels(self) -> float:
        """Area of a pixel over that of the reference pixel."""
        reference = self.pixel_scale if self.reference_pixel_scale is None else self.reference_pixel_scale
        return (self.pixel_scale / reference) ** 2

    @property
    def sub_pixels(self) -> int:
        """Sub-pixels per pixel and axis on which images are convolved with the PSF: a divisor of `over_sampling`.

        It is the smallest one whose sub-pixels are no wider than the PSF allows and than the reference pixel, or
        `over_sampling` itself. A Gaussian sampled at steps of its sigma passes 0.7 % at the Nyquist frequency; an
        Airy pattern passes nothing beyond 1.22 / (its first zero), which steps of 0.41 first zeros resolve.
        """
        widest = {"gaussian": self.psf_width, "none": math.inf}.get(self.psf, self.psf_width / 2.44)
        if self.reference_pixel_scale is not None:
            widest = min(widest, self.reference_pixel_scale)
        enough = (
            count
            for count in range(1, self.over_sampling + 1)
            if self.over_sampling % count == 0 and self.pixel_scale / count <= widest * (1 + 1e-9)
        )
        return next(enough, self.over_sampling)

    def reference_sub_pixels(self, sub_pixels: int) -> int:
        """Return the sub-pixels per axis of a reference pixel, rounded to a whole number.

        Args:
            sub_pixels: Number per pixel and axis of the camera.
        """
        if self.reference_pixel_scale is None:
            return sub_pixels
        count = round(self.reference_pixel_scale * sub_pixels / self.pixel_scale)
        return min(max(1, count), self.image_size * sub_pixels)

    def divided(self, sub_pixels: int | None = None, *, rays: int | None = None) -> Instrument:
        """Return the camera whose pixels are this one's sub-pixels.

        Args:
            sub_pixels: Number per pixel and axis; default: `self.sub_pixels`.
            rays: Number per sub-pixel and axis; default: those of `over_sampling`.
        """
        count = self.sub_pixels if sub_pixels is None else sub_pixels
        return _SubPixels(
            image_size=self.image_size * count,
            pixel_scale=self.pixel_scale / count,
            over_sampling=self.over_sampling // count if rays is None else rays,
            psf=self.psf,
            psf_width=self.psf_width,
        )

    @property
    def psf_radius_pixels(self) -> int:
        """Half width of the PSF's kernel: 4 sigma, or the third dark ring of the Airy pattern (93.8 % of the light)."""
        if self.psf == "none":
            return 0
        reach = 4.0 if self.psf == "gaussian" else _THIRD_DARK_RING / _FIRST_DARK_RING
        return max(1, math.ceil(reach * self.psf_width / self.pixel_scale))

    def psf_kernel(self) -> NDArray[np.float64]:
        """Return the PSF sampled at pixel centres, [2r + 1, 2r + 1], with sum 1."""
        radius = self.psf_radius_pixels
        if radius == 0:
            return np.ones((1, 1))
        offset = np.arange(-radius, radius + 1) * self.pixel_scale
        distance = np.hypot(offset[:, None], offset)
        if self.psf == "gaussian":
            kernel = np.exp(-0.5 * (distance / self.psf_width) ** 2)
        else:
            argument = _FIRST_DARK_RING * distance / self.psf_width
            kernel = np.ones_like(argument)
            outside = argument > 0
            kernel[outside] = (2 * _bessel_j1(argument[outside]) / argument[outside]) ** 2
            if self.psf == "airy_circle":
                kernel[argument > _THIRD_DARK_RING] = 0
        normalised: NDArray[np.float64] = kernel / kernel.sum()
        return normalised

    def ray_grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return x and y of the rays in arcsec, [s] each: the image padded by the PSF's radius on every side.

        s = (image_size + 2 * psf_radius_pixels) * over_sampling; the field is centred on 0. Rendering beyond
        the edge keeps the light that the PSF scatters into the image.
        """
        count = (self.image_size + 2 * self.psf_radius_pixels) * self.over_sampling
        axis: NDArray[np.float64] = (np.arange(count, dtype=np.float64) - (count - 1) / 2) * (
            self.pixel_scale / self.over_sampling
        )
        return axis, axis.copy()


class _SubPixels(Instrument):
    """A camera whose pixels are the sub-pixels of another one: there may be more of them."""

    most_pixels: ClassVar[int] = 2 * MOST_RAYS * Instrument.most_pixels  # of a reference, too (`zoo.data.accuracy`)


def _whole(name: str, value: Any, *, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{name}={value!r} must be a whole number from {low} to {high}.")


def _bessel_j1(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return J_1 by the trapezoidal rule on Bessel's integral, which converges exponentially (x < 30 here).

    scipy's `j1` differs in the last digits, which would change the float32 images of existing recipes.
    """
    angle = (np.arange(64) + 0.5) * (np.pi / 64)
    mean: NDArray[np.float64] = np.cos(angle - x[..., None] * np.sin(angle)).mean(-1)
    return mean
