"""Checks of the images of a data set as the harness opens them: form, copies, leaks of the label."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.errors import MissingError
from zoo.plurals import counted
from zoo.testing import leaks
from zoo.testing.datasets import MOST_IMAGES, DatasetSubject
from zoo.testing.outcome import ConformanceError, NotApplicable, case, named, require

_PLAIN = (
    "mean of the pixels", "deviation of the pixels", "lowest pixel", "highest pixel", "number of different values",
    "pixels of the lowest value", "pixels of value 0",
)  # fmt: skip


MOST_PIXELS = 10**8
"""Pixels of an image set that are looked at for numbers that are not finite, about a second."""


def splits(subject: DatasetSubject) -> None:
    """The harness opens every split: each class is in it, and its pixels are finite."""
    subject.content()
    try:
        subject.cached["splits"] = subject.open_splits()
    except MissingError as error:
        raise NotApplicable(str(error.args[0])) from error


def pixels(subject: DatasetSubject) -> None:
    """Images are float32, square and finite."""
    if subject.spec.simulated:
        images: Any = subject.shown()[0]
    else:
        images = subject.content().images
    require(str(images.dtype) == "float32", f"Images are of type {images.dtype}, not float32.")
    require(
        images.ndim == 4 and images.shape[2] == images.shape[3], f"Images of shape {images.shape}, not [N, C, H, H]."
    )
    for start in range(0, min(len(images), max(MOST_IMAGES, MOST_PIXELS // images[0].size)), MOST_IMAGES):
        finite = np.isfinite(np.asarray(images[start : start + MOST_IMAGES])).all((1, 2, 3))
        require(bool(finite.all()), f"Image {start + int(np.argmin(finite))} has a pixel that is not finite.")


def constant_images(subject: DatasetSubject) -> None:
    """No image has the same value in all pixels."""
    images, _ = subject.shown()
    flat = images.reshape(len(images), -1)
    constant = np.flatnonzero(flat.max(1) == flat.min(1))
    require(not len(constant), f"{counted(len(constant), 'image')} of {len(images)} have one value in all pixels.")


def duplicates(subject: DatasetSubject) -> None:
    """No two images of a split are equal."""
    for name, split in subject.splits().items():
        with case(f"{name} split"):
            pairs = leaks.equal_images(split.images)
            if pairs:
                first, second = (split.ids[i] for i in pairs[0])
                raise ConformanceError(
                    f"{counted(len(pairs), 'image')} of {len(split)} are copies, such as {first} and {second}.",
                    hint="Leave copies out: they count twice.",
                )


def split_overlap(subject: DatasetSubject) -> None:
    """No image of one split is in another one, turned, mirrored, shifted by a pixel or rescaled."""
    found = subject.splits()
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        with case(f"{one} and {other} split"):
            pair = leaks.near_copy(found[one].images, found[other].images)
            if pair is not None:
                raise ConformanceError(
                    f"{found[one].ids[pair[0]]} and {found[other].ids[pair[1]]} are the same image, possibly turned, "
                    "mirrored, shifted or rescaled.",
                    hint="Leave copies out, or keep them in one split with ImageSet(split=...).",
                )


def pixel_leak(subject: DatasetSubject) -> None:
    """No single pixel gives the class away."""
    images, found = subject.shown()
    place = leaks.separating_column(images.reshape(len(images), -1), found)
    if place is not None:
        channel, row, column = np.unravel_index(place, images.shape[1:])
        raise ConformanceError(
            f"The pixel in row {row}, column {column} of channel {channel} gives a class away by itself.",
            hint="A label, or a mark of its class, may be written into the image.",
        )


def scalar_leak(subject: DatasetSubject) -> None:
    """No single number of an image, such as its brightness or how many values its pixels have, gives the class away."""
    import torch

    from zoo.scores.scalars import NAMES, scalars_of

    images, found = subject.shown()
    flat = images.reshape(len(images), -1)
    # Conversions that differ between the classes leave traces: rounding, cut values, empty edges.
    values_of_pixels = 1 + (np.diff(np.sort(flat, axis=1), axis=1) != 0).sum(1)
    lowest, empty = (flat == flat.min(1, keepdims=True)).sum(1), (flat == 0).sum(1)
    plain = np.stack([flat.mean(1), flat.std(1), flat.min(1), flat.max(1), values_of_pixels, lowest, empty], axis=1)
    values = np.concatenate([plain, scalars_of(torch.from_numpy(images)).numpy()], axis=1)
    place = leaks.separating_column(values, found)
    if place is not None:
        name = (*_PLAIN, *NAMES)[place]
        raise ConformanceError(
            f"The scalar '{name}' gives a class away by itself, so a comparison of networks shows nothing.",
            hint="Give the classes the same brightness and size, or look at: zoo data probe",
        )


CHECKS = named(splits, pixels, constant_images, duplicates, split_overlap, pixel_leak, scalar_leak)
