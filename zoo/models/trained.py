"""A trained classifier: the network, its normalisation, its classes, and what it was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.rotation import transform_d4
from zoo.devices import in_float32
from zoo.errors import DataError, TrainingError, UsageError, nearest
from zoo.models.classifier import Classifier
from zoo.plurals import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.models.weights_file import About

AVERAGES = {"none": range(1), "p4": range(4), "d4": range(8)}
"""Name -> elements of D4 that the answers are averaged over; see `zoo.data.rotation.transform_d4`."""


class TrainedClassifier(Classifier):
    """Trained classifier, as `zoo.load` returns it. As a module it maps raw images [N, C, H, W] to logits [N, K].

    Args:
        network: Network that maps standardised images to logits.
        about: Description of the network and its training images.
    """

    def __init__(self, network: nn.Module, *, about: About) -> None:
        super().__init__(network, channels=about.image_shape[0])
        self.about = about

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of the logits."""
        return self.about.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images that it takes."""
        return self.about.image_shape

    def predict_proba(
        self, images: Any, *, average: str = "none", batch_size: int = 64, calibrated: bool = True
    ) -> NDArray[np.float32]:
        """Return the probability of each class.

        Args:
            images: Array or tensor [N, C, H, W], or [N, H, W] or [H, W] for one channel; in the units, at the pixel
                scale and of the size of the training images (`about.pixel_scale`, `image_shape`).
            average: "none"; "p4", the mean over the four quarter turns; "d4", over those and their mirror images.
            batch_size: Number of images at a time.
            calibrated: Whether the logits are divided by `about.temperature`, where the weights have one.

        Returns:
            [N, K]; rows sum to 1.

        Raises:
            DataError: Images of another shape, or with values that are not finite.
            UsageError: An unknown average, or no batch size.
            TrainingError: Logits of an image are not finite; the largest of NaN would be the first class.
        """
        probabilities = self.probabilities(images, average=average, batch_size=batch_size, calibrated=calibrated)
        if bad := np.flatnonzero(~np.isfinite(probabilities).all(1)).tolist():
            raise TrainingError(
                f"{self.about.model} has no finite answer for {len(bad)} of {counted(len(probabilities), 'image')}; "
                f"the first is image {bad[0]}.",
                hint="Its scale may be far from that of the training images: compare about.pixels.",
            )
        return probabilities

    def probabilities(
        self, images: Any, *, average: str = "none", batch_size: int = 64, calibrated: bool = False
    ) -> NDArray[np.float32]:
        """Return the same as `predict_proba`, with NaN for images whose logits are not finite.

        Scores are those of uncalibrated probabilities, which all weights have.
        """
        if type(batch_size) is not int or batch_size < 1:
            raise UsageError(f"batch_size={batch_size!r} must be a whole number, 1 or more.")
        if average not in AVERAGES:
            raise UsageError(f"average '{average}' is not one of {', '.join(AVERAGES)}.{nearest(average, AVERAGES)}")
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            array = images if isinstance(images, Tensor) else np.array(images, dtype=np.float32)  # of any byte order
        batch = torch.as_tensor(array).float()
        if batch.ndim in (2, 3) and self.image_shape[0] == 1:
            batch = batch.reshape(-1, 1, *batch.shape[-2:])
        if batch.ndim != 4 or tuple(batch.shape[1:]) != self.image_shape:
            raise DataError(
                f"Images of shape {tuple(batch.shape)}; {self.about.model} was trained on [N, "
                f"{', '.join(map(str, self.image_shape))}].",
                hint="`zoo predict` crops, pads and resamples files.",
            )
        if not torch.isfinite(batch).all():
            raise DataError("The images hold values that are not finite.")
        temperature = (self.about.temperature if calibrated else None) or 1.0
        self.eval()
        with torch.inference_mode(), in_float32():
            parts = [
                self._average(part.to(self.mean.device), AVERAGES[average], temperature)
                for part in batch.split(batch_size)
            ]
        return torch.cat(parts).numpy() if parts else np.zeros((0, len(self.classes)), np.float32)

    def _average(self, images: Tensor, elements: range, temperature: float) -> Tensor:
        total = sum(_softmax(self(transform_d4(images, element)), temperature) for element in elements)
        return torch.as_tensor(total / len(elements)).cpu()


def _softmax(logits: Tensor, temperature: float) -> Tensor:
    """Return probabilities [N, K]; NaN for an image with a logit that is not finite, also one that is -infinity."""
    return (logits.float() / temperature).softmax(1).where(logits.isfinite().all(1, keepdim=True), torch.nan)
