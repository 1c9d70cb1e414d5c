"""Brings an image to the form of the training images: pixel scale, size and unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.recipe import SPLIT_WORDS
from zoo.errors import UsageError
from zoo.inference.part import Origin
from zoo.inference.read import Picture, Skipped
from zoo.inference.resample import SAME_SCALE, resample_image, seen_part

if TYPE_CHECKING:
    from zoo.models.about import About
    from zoo.models.trained import TrainedClassifier

MOST_PADDING = 0.5
"""Images that leave a larger share of what the network sees empty are not classified."""

NOTED_PADDING = 0.1
"""Images with a larger share of padding have a note."""

INTERPOLATED = 0.03
"""Largest share of padding that interpolation to finer pixels leaves at the border."""

LEAST_SEEN = 0.25
"""Images of which the network sees a smaller share have a note."""

MOST_ZOOM = 10.0
"""Images whose pixels are this many times larger or smaller than the training images' are not classified.

Where training pixels are 0.1 arcsec, a lens of one arcsec would be a single pixel; a scale so far off is rather a
header's mistake, such as degrees for arcsec.
"""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Changes that bring images to the form of the training images.

    Args:
        pixel_scale: Pixel scale of all images in arcsec, in place of their headers; None uses the headers.
        factor: Factor of every pixel, such as 1 / exposure time for counts.
        match_scale: Whether each image is multiplied so that its brightest pixel equals the median training image's.
    """

    pixel_scale: float | None = None
    factor: float = 1.0
    match_scale: bool = False

    def __post_init__(self) -> None:
        for name, value in (("pixel_scale", self.pixel_scale), ("factor", self.factor)):
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"{name}={value!r} must be a positive number.")
        if self.match_scale and self.factor != 1.0:
            hint = "Leave out --factor: --match-scale scales each image."
            raise UsageError("--factor and --match-scale exclude each other.", hint=hint)


@dataclass(frozen=True, kw_only=True)
class PreparedImage:
    """One image as the network takes it.

    Args:
        name: Name of the image, as in `Picture`.
        pixels: Pixels [C, H, W].
        scale_assumed: Whether the pixel scale of the training images was assumed, because no other was stated.
        scale_unused: Whether the image states a pixel scale and the training images have none.
        resampled_from: Pixel scale in arcsec that the image was resampled from; None where it was not resampled.
        padded: Whether more of the pixels is padding than interpolation leaves.
        seen: Whether it was simulated as a training or validation image of the data set that the weights were trained
            on.
        notes: Further remarks on the image.
    """

    name: str
    pixels: NDArray[np.float32]
    scale_assumed: bool
    scale_unused: bool
    resampled_from: float | None
    padded: bool
    seen: bool
    notes: tuple[str, ...]


def check_scale(preparation: Preparation, about: About) -> None:
    """Check that a pixel scale for all images can be used: the weights have one, and it is near enough.

    Args:
        preparation: Changes of the images before the network.
        about: Description of the weights.

    Raises:
        UsageError: The weights have no pixel scale, or that of the images is out of reach.
    """
    scale, trained_at = preparation.pixel_scale, about.pixel_scale
    if scale and not trained_at:
        raise UsageError(
            f"pixel_scale={scale:g} cannot be used: these weights have no pixel scale, because the images of "
            f"{about.recipe.dataset} that they were trained on state none.",
            hint="Leave out --pixel-scale, or give the data set a parameter pixel_scale (arcsec per pixel) and train "
            "again: docs/plugins.md",
        )
    if trained_at and scale and _far(scale, trained_at):
        raise UsageError(
            f"pixel_scale={scale:g} is {_too_far(trained_at)}.",
            hint=f"Allowed: {trained_at / MOST_ZOOM:g} to {trained_at * MOST_ZOOM:g}",
        )


def prepare_image(picture: Picture, trained: TrainedClassifier, preparation: Preparation) -> PreparedImage | Skipped:
    """Return an image in the form of the training images, or why it cannot have it."""
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is left out by name
        return _prepare(picture, trained, preparation)


def _prepare(picture: Picture, trained: TrainedClassifier, preparation: Preparation) -> PreparedImage | Skipped:
    about = trained.about
    scale, stated = preparation.pixel_scale, picture.pixel_scale
    if scale is None and about.pixel_scale and picture.scale_error:
        return Skipped(name=picture.name, reason=f"{picture.scale_error}; --pixel-scale overrides it")
    if scale is None and stated is not None:
        if about.pixel_scale and _far(stated.arcsec, about.pixel_scale):
            return Skipped(
                name=picture.name,
                reason=f"{stated.source} states {stated.arcsec:.4g} arcsec per pixel, "
                f"{_too_far(about.pixel_scale)}; --pixel-scale overrides it",
            )
        scale = stated.arcsec
    zoom = about.pixel_scale / scale if about.pixel_scale and scale else 1.0
    size = about.image_shape[1]
    rows, columns = seen_part(picture.pixels.shape, size=size, zoom=zoom)
    part = picture.pixels[:, rows, columns]
    if reason := _not_finite(part):
        return Skipped(name=picture.name, reason=reason)
    if (part == part[:, :1, :1]).all():
        return Skipped(name=picture.name, reason="all pixels that the network sees are equal; nothing to classify")
    pixels, padding = resample_image(picture.pixels, size=size, zoom=zoom)
    if padding > MOST_PADDING:
        height, width = picture.pixels.shape[1:]
        return Skipped(
            name=picture.name,
            reason=f"{height} x {width} pixels are too few: {padding:.0%} of what the network sees would be padding",
        )
    notes = list(picture.notes)
    seen = picture.origin is not None and picture.origin in (
        Origin(about.recipe.dataset, about.recipe.dataset_version, split) for split in ("train", "val")
    )
    if picture.origin and seen:
        notes.append(f"simulated as a {SPLIT_WORDS[picture.origin.split]} image")
    unused = stated is not None and not about.pixel_scale
    if stated is not None and unused:
        notes.append(f"its pixel scale of {stated.arcsec:.4g} arcsec is not used")
    if padding > NOTED_PADDING:
        notes.append(f"{padding:.0%} padded")
    if part.size < LEAST_SEEN * picture.pixels.size:
        notes.append(f"the middle {100 * part.size / picture.pixels.size:.2g} % of the image")
    if preparation.match_scale:
        peak = float(pixels.max())
        if not peak > 0:
            return Skipped(name=picture.name, reason="no pixel is positive, so its scale cannot be matched")
        pixels = pixels * np.float32(about.pixels.peak[1] / peak)
    elif preparation.factor != 1.0:
        pixels = pixels * np.float32(preparation.factor)
    if not np.isfinite(pixels).all():
        return Skipped(name=picture.name, reason="its pixels are too large for single precision")
    return PreparedImage(
        name=picture.name,
        pixels=pixels,
        scale_assumed=about.pixel_scale is not None and scale is None,
        scale_unused=unused,
        resampled_from=scale if abs(zoom - 1) > SAME_SCALE else None,
        padded=padding > INTERPOLATED,
        seen=seen,
        notes=tuple(notes),
    )


def _not_finite(part: NDArray[Any]) -> str:
    """Return how many pixels of what the network sees are not finite in single precision, or ""."""
    with np.errstate(over="ignore"):
        count = part.size - int(np.isfinite(np.asarray(part, dtype=np.float32)).sum())
    if not count:
        return ""
    broken = part.size - int(np.isfinite(part).sum())
    what = "NaN or infinite" if broken else "too large for single precision"
    return f"{broken or count:,} of {part.size:,} pixels that the network sees are {what}"


def _far(scale: float, trained_at: float) -> bool:
    most = MOST_ZOOM * (1 + SAME_SCALE)
    return not trained_at / most <= scale <= trained_at * most


def _too_far(trained_at: float) -> str:
    return f"more than {MOST_ZOOM:g} times off the training images' {trained_at:g} arcsec per pixel"
