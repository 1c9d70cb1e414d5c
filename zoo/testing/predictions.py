"""Checks of the predictions of a model: finite logits, which depend on the pixels of their image only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.specs import CLASSIFY
from zoo.testing.networks import ModelSubject, build, predict
from zoo.testing.outcome import NotApplicable, require

if TYPE_CHECKING:
    from torch import Tensor


def finite(subject: ModelSubject) -> None:
    """Predictions in float32 are finite after a training step."""
    import torch

    for _, network, images in subject.each():
        found = predict(network, images)
        require(found.dtype == torch.float32, f"Predictions are of type {found.dtype}, not float32.")
        require(bool(found.isfinite().all()), "Predictions are not finite after a training step.")


def batch_independence(subject: ModelSubject) -> None:
    """In evaluation, an image's predictions do not depend on the other images of its batch."""
    import torch

    for _, network, images in subject.each():
        together = predict(network, images)
        alone = torch.cat([predict(network, image[None]) for image in images])
        require_close(
            alone, together, "In evaluation, an image's predictions depend on the other images of its batch", limit=1e-3
        )


def order_independence(subject: ModelSubject) -> None:
    """In evaluation, predictions follow the images when their order changes."""
    for _, network, images in subject.each():
        order = [2, 0, 3, 1]
        require_close(
            predict(network, images[order]), predict(network, images)[order],
            "In evaluation, predictions depend on the order of the images", limit=1e-3,
        )  # fmt: skip


def repeatable(subject: ModelSubject) -> None:
    """In evaluation, the same images have the same predictions twice."""
    for _, network, images in subject.each():
        require_close(
            predict(network, images), predict(network, images), "In evaluation, predictions are random", limit=0
        )


def logits(subject: ModelSubject) -> None:
    """In classification, its predictions are logits: what follows applies the softmax."""
    for one, network, images in subject.each():
        found = predict(network, images)
        if one.task.name != CLASSIFY or not bool(((found > 0) & (found < 1)).all()):
            continue
        sums = bool((found.sum(1) - 1).abs().max() < 1e-5)
        # Logits may all lie between 0 and 1, but hardly those of several networks with random weights.
        others = [predict(build(subject.spec, one), images) for _ in range(0 if sums else 6)]
        bounded = all(bool(((other > 0) & (other < 1)).all()) for other in others)
        require(
            not (sums or bounded),
            f"Its predictions are probabilities, between 0 and 1{' with a sum of 1' if sums else ''}.",
            hint="Return what precedes the softmax or sigmoid.",
        )


def channels(subject: ModelSubject) -> None:
    """Its predictions depend on each channel of the images."""
    import torch

    if subject.spec.fits_itself:
        raise NotApplicable("it fits itself, to channels that it finds useful")
    for one, network, images in subject.each():
        for channel in range(one.shape.channels):
            other = images.clone()
            other[:, channel] = images[[1, 2, 3, 0], channel]
            require(
                not torch.equal(predict(network, other), predict(network, images)),
                f"Another channel {channel} changes no prediction.",
                hint="Use all channels, or refuse other numbers of channels by a UsageError.",
            )


def constant_images(subject: ModelSubject) -> None:
    """Images without structure, such as an empty frame, have finite predictions."""
    import torch

    for _, network, images in subject.each():
        for value in (0.0, 1.0):
            found = predict(network, torch.full_like(images, value))
            require(
                bool(found.isfinite().all()),
                f"Images of {value:g} in all pixels have predictions that are not finite.",
                hint="Guard the division or logarithm, such as by clamp_min(1e-6).",
            )


def nan_contained(subject: ModelSubject) -> None:
    """A pixel that is not a number changes no prediction of the other images."""
    import torch

    for _, network, images in subject.each():
        spoiled = images.clone()
        spoiled[1, 0, 0, 0] = torch.nan
        try:
            found = predict(network, spoiled)[[0, 2, 3]]
        except Exception:
            continue  # it refuses such images
        require_close(
            found, predict(network, images)[[0, 2, 3]], "A pixel that is not a number spoils other images", limit=1e-3
        )


def thread_count(subject: ModelSubject) -> None:
    """Predictions do not depend on the number of threads."""
    import torch

    threads = torch.get_num_threads()
    for _, network, images in subject.each():
        found = []
        try:
            for count in (1, 2):
                torch.set_num_threads(count)
                found.append(predict(network, images))
        finally:
            torch.set_num_threads(threads)
        require_close(found[0], found[1], "Predictions depend on the number of threads", limit=1e-3)


def require_close(found: Tensor, expected: Tensor, problem: str, *, limit: float) -> None:
    """Compare predictions, relative to the largest of them."""
    scale = float(expected.abs().max()) or 1.0
    error = float((found - expected).abs().max()) / scale
    require(error <= limit, f"{problem}, by {error:.1e} of the largest.")
