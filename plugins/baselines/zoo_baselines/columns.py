"""Numbers of the training images as columns, computed in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.own_fit import ImagesToFit, SplitsToFit

BATCH = 256
FARTHEST = 10.0
"""Largest distance from the mean, in standard deviations, that a regression sees: one image does not decide a fit."""


def checked_most(most: int) -> int:
    """Return the largest number of training images.

    Raises:
        UsageError: It is not a whole number above 0.
    """
    if type(most) is not int or most < 1:
        raise UsageError(f"most_images={most!r} must be a whole number, at least 1.")
    return most


def images_to_fit(split: ImagesToFit, *, most: int) -> int:
    """Return the number of images that a fit uses: the first `most` of a split, or all.

    Raises:
        UsageError: A class is missing among these images, or the device has no float64.
    """
    # Truths to be estimated, [N, T], have no classes to be missed.
    present = set(split.labels[:most].tolist()) if split.labels.ndim == 1 else set(range(len(split.classes)))
    if missing := [name for index, name in enumerate(split.classes) if index not in present]:
        raise UsageError(
            f"No training image to fit (the first {min(most, len(split)):,}: most_images) is of: {', '.join(missing)}."
        )
    if split.labels.device.type == "mps":
        raise UsageError("The baselines compute in float64, which MPS does not have.", hint="Use --device cpu")
    return min(most, len(split))


def first_images(split: ImagesToFit, *, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images and labels of the first `most` images of a split, in batches; raise what `images_to_fit` raises."""
    left = images_to_fit(split, most=most)
    for images, labels in split.batches(BATCH):
        yield images[:left], labels[:left]
        left -= len(images)
        if left <= 0:
            return


@torch.no_grad()
def columns_of(
    columns: Callable[[Tensor], Tensor], splits: SplitsToFit, *, most: int, what: str = "scalars"
) -> tuple[Tensor, Tensor]:
    """Return columns [n, F] and labels [n] of the first training images.

    Args:
        columns: Function from images [b, C, H, W] to numbers [b, F].
        splits: Training images.
        most: Largest n.
        what: Name of the numbers for the progress.
    """
    total, done = images_to_fit(splits.train, most=most), 0
    found, all_labels = [], []
    for images, labels in first_images(splits.train, most=most):
        found.append(columns(images))
        all_labels.append(labels)
        done += len(images)
        splits.progress(done, total, what)
    return torch.cat(found), torch.cat(all_labels)


def mean_and_inverse(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean [F] and inverse standard deviation [F] of columns [n, F]; the inverse is 0 for a constant column."""
    mean, deviation = columns.mean(0), columns.std(0, correction=0)
    constant = deviation <= 1e-12 * mean.abs()  # such a column carries no information
    return mean, torch.where(constant, torch.inf, deviation).clamp_min(1e-30).reciprocal()


def standardised(columns: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """Return columns [n, F] in float64, in standard deviations [F] from the mean [F], FARTHEST at most."""
    return ((columns.double() - mean.double()) * inverse.double()).clamp(-FARTHEST, FARTHEST)
