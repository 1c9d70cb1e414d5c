"""From a noiseless image to an observed one: scale to the wanted SNR, add sky and Poisson noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import UsageError
from zoo.lensing.draws import Draws
from zoo.lensing.noise import poisson
from zoo.plurals import counted

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.lensing.scenes import Exposure


FAINTEST = 1e-30
"""Least surface brightness of the brightest pixel of a source, of an intensity of about 1."""
MOST_COUNTS = 2e9
"""Largest mean of a pixel: CUDA's Poisson generator counts in 32 bits. A peak SNR of 40,000 stays below it."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """Output of a simulator: noiseless, PSF-convolved surface brightness averaged over each pixel.

    Args:
        source: [n, H, W] the lensed source.
        lens_light: [n, H, W] the lens galaxy's light, or None.
    """

    source: Tensor
    lens_light: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Images that the core stores.

    Args:
        image: [n, H, W] float32, counts per second with the mean sky subtracted; with `Exposure.scaling` "minmax"
            from 0 to 1.
        snr: [n] peak of the noiseless lensed source over the noise of that pixel.
        scale: [n] counts per second and pixel, per unit of surface brightness.
    """

    image: Tensor
    snr: Tensor
    scale: Tensor


@dataclass(frozen=True, kw_only=True)
class Brightest:
    """Surface brightness where the lensed source of each image is brightest.

    Args:
        source: [n] float64.
        light: [n] float64, source and lens light.
        area: Area of a pixel of the images in units of the area that these values are means over.
    """

    source: Tensor
    light: Tensor
    area: float = 1.0


def brightest(rendered: Rendered, *, area: float = 1.0) -> Brightest:
    """Return the brightest pixels of the lensed sources; `area` as in `Brightest`."""
    pixels = rendered.source.float().flatten(1)
    if rendered.lens_light is None:
        source = pixels.amax(1).double()  # on a CPU, a tenth of the time of `max`, which finds the place too
        return Brightest(source=source, light=source, area=area)
    found = pixels.max(1)
    source = found.values.double()
    there = rendered.lens_light.float().flatten(1).gather(1, found.indices[:, None])[:, 0]
    return Brightest(source=source, light=source + there.double(), area=area)


def brightness_scale(exposure: Exposure, reference: Brightest) -> Tensor:
    """Return [n] float64 counts per second and pixel of the image, per unit of surface brightness.

    S, L and B of the reference pixel meet the wanted SNR or peak; B is the image's sky over `Brightest.area`.
    """
    import torch

    def column(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=reference.source.device)

    seconds, sky = column(exposure.seconds), column(exposure.sky) / reference.area
    snr, peak = column(exposure.snr), column(exposure.peak)
    # (scale S)^2 t = snr^2 (scale (S + L) + B), solved for the positive scale.
    half = snr**2 * reference.light / (2 * seconds * reference.source**2)
    scale_for_snr = half + torch.sqrt(half**2 + snr**2 * sky / (seconds * reference.source**2))
    scale_for_peak = torch.where(peak.isnan(), torch.ones_like(peak), peak / reference.source)
    return torch.where(snr.isnan(), scale_for_peak, scale_for_snr) * reference.area


def _require_light(brightest: Tensor, exposure: Exposure) -> None:
    """Refuse sources without light, to which no SNR and no peak can be given.

    Raises:
        UsageError: The brightest pixel of a source is 0, or so faint that no float32 holds the factor.
    """
    wanted = ~(np.isnan(exposure.snr) & np.isnan(exposure.peak))
    dark = int((wanted & (brightest.cpu().numpy() < FAINTEST)).sum())
    if dark:
        raise UsageError(
            f"The light of {dark} of {counted(len(brightest), 'source')} reaches no pixel: it cannot be scaled.",
            hint="Place the sources nearer to their lenses, or make them larger.",
        )


def observe(
    rendered: Rendered,
    exposure: Exposure,
    *,
    draws: Draws,
    reference: Brightest | None = None,
    expected_images: int | None = None,
    noiseless: bool = False,
    threads: int | None = None,
) -> Observed:
    """Scale, expose and read out.

    The signal-to-noise ratio of an image is defined once, here, as S t / sqrt((S + L + B) t) in the pixel
    where the noiseless lensed source is brightest: S is the source there, L the lens light, B the sky (all
    counts per second), t the exposure in seconds. Where a scene states an SNR, the sky's brightness is
    fixed and source and lens light are scaled together until it holds in the reference pixel; the condition is
    quadratic in the scale.

    Args:
        rendered: Noiseless images.
        exposure: Exposure of the same n scenes.
        draws: Random numbers of the same n scenes; noise i depends on its seed, its index and the type of device.
        reference: Brightest reference pixels, which a given SNR or peak refers to; default: those of `rendered`.
        expected_images: Number of images that this run will observe in all its calls; no image depends on it.
        noiseless: Whether each pixel has the mean of all exposures in place of one.
        threads: Threads that draw noise on a CPU; None stands for as many as torch has.

    Raises:
        UsageError: Noiseless images would be scaled by their own noise, or a pixel would collect more counts than can
            be drawn, or a number of them that is not finite.
    """
    import torch

    source = rendered.source.float()
    device = source.device

    def column(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=device)

    seconds, sky = column(exposure.seconds), column(exposure.sky)
    source_and_lens = source if rendered.lens_light is None else source + rendered.lens_light.float()
    own = brightest(rendered)
    used = own if reference is None else reference
    _require_light(used.source, exposure)
    scale = brightness_scale(exposure, used)

    per_image = (slice(None), None, None)
    scale_, sky_, seconds_ = (values.float()[per_image] for values in (scale, sky, seconds))
    # In place, since the memory of an image costs more time than its arithmetic.
    mean_counts = (source_and_lens * scale_).add_(sky_).mul_(seconds_).clamp_(min=0)  # a convolution may round below 0
    if len(mean_counts) and not float(mean_counts.max()) <= MOST_COUNTS:  # so that NaN is refused too
        raise UsageError(
            f"A pixel would collect {float(mean_counts.max()):.1e} counts; at most {MOST_COUNTS:.0e} can be drawn.",
            hint="Lower snr, peak, sky, exposure_seconds or the lens light.",
        )
    seeds = (draws.bits("noise")[:, 0] >> np.uint64(1)).tolist()
    counts = mean_counts
    if noiseless:
        if exposure.scaling != "none":
            raise UsageError(
                f"Images with scaling {exposure.scaling} are scaled by their own noise, which cannot be drawn anew.",
                hint="Leave out new_noise, or set data.scaling=none",
            )
    else:
        counts = poisson(mean_counts, seeds=seeds, expected_images=expected_images, threads=threads)
    image = counts.div_(seconds_).sub_(sky_)
    if exposure.scaling == "minmax":
        low, high = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
        image = (image - low) / (high - low).clamp(min=1e-30)
    measured = scale * own.source * seconds / torch.sqrt((scale * own.light + sky) * seconds)
    return Observed(image=image, snr=measured.float(), scale=scale.float())
