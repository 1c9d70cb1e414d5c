"""Classifies a stream of images in batches: what goes in comes out in the same order, and little of it is held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from zoo.inference.answer import Prediction
from zoo.inference.estimates import estimates
from zoo.inference.prepare import Preparation, PreparedImage, check_scale, prepare_image
from zoo.inference.read import Picture, Skipped
from zoo.models.pixels import corner_level, far_level, far_outside, peak_and_noise
from zoo.scores.unlike import Detector

if TYPE_CHECKING:
    from zoo.models.trained import TrainedClassifier


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
        UsageError: The preparation's pixel scale is out of reach of the training images', or these have none.
    """
    preparation = preparation or Preparation()
    check_scale(preparation, trained.about)
    return _predict(trained, pictures, preparation, average, batch_size)


def _predict(
    trained: TrainedClassifier,
    pictures: Iterable[Picture | Skipped],
    preparation: Preparation,
    average: str,
    batch_size: int,
) -> Iterator[Prediction | Skipped]:
    waiting: list[PreparedImage | Skipped] = []
    ready = 0
    for picture in pictures:
        item = picture if isinstance(picture, Skipped) else prepare_image(picture, trained, preparation)
        waiting.append(item)
        ready += isinstance(item, PreparedImage)
        if ready == batch_size or len(waiting) >= 4 * batch_size:
            yield from _answer(trained, waiting, average, batch_size)
            waiting, ready = [], 0
    yield from _answer(trained, waiting, average, batch_size)


def _answer(
    trained: TrainedClassifier, items: list[PreparedImage | Skipped], average: str, batch_size: int
) -> Iterator[Prediction | Skipped]:
    prepared = [item for item in items if isinstance(item, PreparedImage)]
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
    # Resampling to finer pixels smooths the noise. The corners of a padded image are nearer to the lens.
    corner = corner_level(images, np.maximum(noise, pixels.noise[0]))
    corner[[item.padded for item in prepared]] = np.nan
    with_sky = far_level(corner, pixels.corner)
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
            corner=None if np.isnan(corner[i]) else float(corner[i]),
            with_sky=bool(with_sky[i]),
            scale_assumed=item.scale_assumed,
            scale_unused=item.scale_unused,
            seen=item.seen,
            resampled_from=item.resampled_from,
            notes=item.notes,
            share_below=None if shares is None else float(shares[i]),
            estimates=tuple(estimated[i]),
            closer=None if closer is None else float(closer[i]),
        )
