"""Classifies a stream of images in batches: what goes in comes out in the same order, and little of it is held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.inference.estimates import estimates
from zoo.inference.read import Picture, Skipped
from zoo.inference.resample import SAME_SCALE, resample_image, seen_part
from zoo.models.pixels import FAR, far_outside, peak_and_noise
from zoo.plurals import counted
from zoo.scores.unlike import UNLIKE, Detector

if TYPE_CHECKING:
    from zoo.models.trained import TrainedClassifier

NONE_OF_THESE = "none of these"
"""Class of an image that is unlike the training images."""

MOST_PADDING = 0.5
"""Images that leave a larger share of what the network sees empty are not classified."""

NOTED_PADDING = 0.1
"""Images with a larger share of padding have a note."""

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
class Prediction:
    """The answer for one image.

    Args:
        name: Name of the image, as in `Picture`.
        probabilities: [K]; of a task other than classification, what the network answers.
        peak, noise: Brightest pixel and noise of the image as the network saw it.
        unusual: Whether one of them lies far outside the training images.
        scale_assumed: Whether the pixel scale of the training images was assumed, because no other was stated.
        notes: Further remarks on the image.
        share_below: Share of the validation images with a lower answer, of a task with one number for an image.
        estimates: Values and intervals of the truths that the network estimates; see `zoo.inference.estimates`.
        closer: Share of the validation images that are closer to the training images; None for weights without a
            detector (`zoo.scores.unlike`).
    """

    name: str
    probabilities: NDArray[np.float32]
    peak: float
    noise: float
    unusual: bool
    scale_assumed: bool
    notes: tuple[str, ...] = ()
    share_below: float | None = None
    estimates: tuple[float, ...] = ()
    closer: float | None = None

    @property
    def unlike(self) -> bool:
        """Whether the image is unlike the training images, so that none of the classes describes it."""
        return self.closer is not None and self.closer >= UNLIKE


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One image as the network takes it.

    Args:
        name: Name of the image, as in `Picture`.
        pixels: Pixels [C, H, W].
        scale_assumed: Whether the pixel scale of the training images was assumed, because no other was stated.
        notes: Further remarks on the image.
    """

    name: str
    pixels: NDArray[np.float32]
    scale_assumed: bool
    notes: tuple[str, ...]


def predict(
    trained: TrainedClassifier,
    pictures: Iterable[Picture | Skipped],
    *,
    preparation: Preparation | None = None,
    average: str = "none",
    batch_size: int = 64,
) -> Iterator[Prediction | Skipped]:
    """Return an iterator over the answers for every image, in order.

    Args:
        trained: The classifier.
        pictures: Images from `zoo.inference.read.read_pictures`.
        preparation: Changes of the images before the network.
        average: Average over rotated and mirrored images, as for `TrainedClassifier.predict_proba`.
        batch_size: Number of images at a time; about as many are in memory.

    Raises:
        UsageError: The preparation's pixel scale is out of reach of the training images'.
    """
    preparation = preparation or Preparation()
    trained_at, scale = trained.about.pixel_scale, preparation.pixel_scale
    if trained_at and scale and _far(scale, trained_at):
        raise UsageError(
            f"pixel_scale={scale:g} is {_too_far(trained_at)}.",
            hint=f"Allowed: {trained_at / MOST_ZOOM:g} to {trained_at * MOST_ZOOM:g}",
        )
    return _predict(trained, pictures, preparation, average, batch_size)


def _far(scale: float, trained_at: float) -> bool:
    most = MOST_ZOOM * (1 + SAME_SCALE)
    return not trained_at / most <= scale <= trained_at * most


def _too_far(trained_at: float) -> str:
    return f"more than {MOST_ZOOM:g} times off the training images' {trained_at:g} arcsec per pixel"


def _predict(
    trained: TrainedClassifier,
    pictures: Iterable[Picture | Skipped],
    preparation: Preparation,
    average: str,
    batch_size: int,
) -> Iterator[Prediction | Skipped]:
    waiting: list[Prepared | Skipped] = []
    ready = 0
    for picture in pictures:
        item = picture if isinstance(picture, Skipped) else prepare_image(picture, trained, preparation)
        waiting.append(item)
        ready += isinstance(item, Prepared)
        if ready == batch_size or len(waiting) >= 4 * batch_size:
            yield from _answer(trained, waiting, average, batch_size)
            waiting, ready = [], 0
    yield from _answer(trained, waiting, average, batch_size)


def prepare_image(picture: Picture, trained: TrainedClassifier, preparation: Preparation) -> Prepared | Skipped:
    """Return an image in the form of the training images, or why it cannot have it."""
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is left out by name
        return _prepare(picture, trained, preparation)


def _prepare(picture: Picture, trained: TrainedClassifier, preparation: Preparation) -> Prepared | Skipped:
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
    return Prepared(
        name=picture.name,
        pixels=pixels,
        scale_assumed=about.pixel_scale is not None and scale is None,
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


def _answer(
    trained: TrainedClassifier, items: list[Prepared | Skipped], average: str, batch_size: int
) -> Iterator[Prediction | Skipped]:
    prepared = [item for item in items if isinstance(item, Prepared)]
    if not prepared:
        yield from (item for item in items if isinstance(item, Skipped))
        return
    images = np.stack([item.pixels for item in prepared])
    probabilities = trained.answers(images, average=average, batch_size=batch_size, calibrated=True)
    placed = trained.about.outputs == 1 and trained.about.reference
    shares = trained.share_below(probabilities[:, 0]) if placed else None
    targets = trained.about.targets
    estimated = estimates(targets, probabilities).tolist() if targets else [()] * len(prepared)
    peak, noise = peak_and_noise(images)
    pixels = trained.about.pixels
    unusual = far_outside(peak, pixels.peak) | far_outside(noise, pixels.noise)
    detector = Detector.of(trained.detector)
    closer = None if detector is None else detector.share_below(images)
    number = iter(range(len(prepared)))
    for item in items:
        if isinstance(item, Skipped):
            yield item
            continue
        i = next(number)
        if not np.isfinite(probabilities[i]).all():
            yield Skipped(name=item.name, reason="the network's answer is not finite")
            continue
        yield Prediction(
            name=item.name,
            probabilities=probabilities[i],
            peak=float(peak[i]),
            noise=float(noise[i]),
            unusual=bool(unusual[i]),
            scale_assumed=item.scale_assumed,
            notes=item.notes,
            share_below=None if shares is None else float(shares[i]),
            estimates=tuple(estimated[i]),
            closer=None if closer is None else float(closer[i]),
        )


class Summary:
    """Remarks that are printed once, after all answers.

    Args:
        trained: The classifier.
    """

    def __init__(self, trained: TrainedClassifier) -> None:
        self.trained = trained
        self.predicted = self.skipped = self.unusual = self.assumed = self.unlike = 0
        self._peaks: list[float] = []
        self._noises: list[float] = []

    def add(self, item: Prediction | Skipped) -> None:
        """Take in one answer."""
        if isinstance(item, Skipped):
            self.skipped += 1
            return
        self.predicted += 1
        self.unusual += item.unusual
        self.unlike += item.unlike
        self.assumed += item.scale_assumed
        if item.unusual:
            self._peaks.append(item.peak)
            self._noises.append(item.noise)

    def warnings(self) -> list[str]:
        """Return what a reader must know to judge the answers."""
        about = self.trained.about
        lines = []
        if self.assumed:
            lines.append(
                f"the pixel scale of {self.assumed:,} of {counted(self.predicted, 'image')} is not stated; that of the "
                f"training images, {about.pixel_scale:g} arcsec, is assumed (--pixel-scale overrides it)"
            )
        if self.unlike:
            lines.append(
                f"the class of {self.unlike:,} of {counted(self.predicted, 'image')} is given as '{NONE_OF_THESE}': "
                f"further from the training images than {UNLIKE:.1%} of the validation images"
            )
        if self.unusual:
            low, middle, high = about.pixels.peak
            noise_low, noise_middle, noise_high = about.pixels.noise
            lines.append(
                f"the pixels of {self.unusual:,} of {counted(self.predicted, 'image')} are far (more than a factor of "
                f"{FAR:g}) outside those of the training images, where its scores do not hold: brightest pixel, median "
                f"{np.median(self._peaks):.3g}, in training {middle:.3g} ({low:.3g} to {high:.3g}); noise, median "
                f"{np.median(self._noises):.3g}, in training {noise_middle:.3g} ({noise_low:.3g} to {noise_high:.3g}). "
                "Check the unit: --factor F multiplies every pixel, --match-scale scales each image's peak"
            )
        return lines
