"""A trained classifier: the network, its normalisation, its classes, and what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
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

    from zoo.data.channels import Channels
    from zoo.models.about import About

AVERAGES = {"none": range(1), "p4": range(4), "d4": range(8)}
"""Name -> elements of D4 that the answers are averaged over; see `zoo.data.rotation.transform_d4`."""


class TrainedClassifier(Classifier):
    """Trained classifier, as `zoo.load` returns it.

    As a module it maps raw images [N, C, H, W] to predictions [N, K], such as logits.

    Args:
        network: Network that maps standardised images to logits.
        about: Description of the network and its training images.
        channels: Derived channels that the network needs; None for images as they are stored.
    """

    def __init__(self, network: nn.Module, *, about: About, channels: Channels | None = None) -> None:
        super().__init__(network, channels=about.image_shape[0])
        self.about, self.channels = about, channels
        self.detector: dict[str, Tensor] = {}
        """Tensors of the detector of images unlike the training images (`zoo.scores.unlike`); empty without one."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels, for classification in the order of the logits."""
        return self.about.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images that it takes; derived channels are added where they are missing."""
        return self.about.image_shape

    @property
    def stored_channels(self) -> int:
        """Channels of an image before others are derived from it."""
        return self.image_shape[0] - (0 if self.channels is None else len(self.channels))

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
        if self.about.outputs is not None:
            raise UsageError(
                f"{self.about.model} was trained for the task {self.about.task} and answers no probabilities.",
                hint="Use predict_scores, or zoo predict.",
            )
        return self._finite(self.answers(images, average=average, batch_size=batch_size, calibrated=calibrated))

    def predict_scores(self, images: Any, *, average: str = "none", batch_size: int = 64) -> NDArray[np.float32]:
        """Return what the network answers in a task other than classification, such as anomaly scores.

        Args:
            images, average, batch_size: Arguments of `predict_proba`.

        Returns:
            [N], or [N, K] where the task has several numbers for an image.

        Raises:
            UsageError: These are weights of a classifier.
            DataError, TrainingError: The same errors as those of `predict_proba`.
        """
        if self.about.outputs is None:
            raise UsageError(f"{self.about.model} is a classifier.", hint="Use predict_proba.")
        answers = self._finite(self.answers(images, average=average, batch_size=batch_size))
        return answers[:, 0] if self.about.outputs == 1 else answers

    def share_below(self, answers: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the share of the validation images whose answer is lower, for answers [N] of the network.

        The weights file holds quantiles of these answers; between two of them the share is interpolated.
        """
        return share_below(self.about.reference, answers)

    def _finite(self, answers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return answers [N, K], all of them finite.

        Raises:
            TrainingError: Some are not; the error names the first image.
        """
        if bad := np.flatnonzero(~np.isfinite(answers).all(1)).tolist():
            raise TrainingError(
                f"{self.about.model} has no finite answer for {len(bad)} of {counted(len(answers), 'image')}; "
                f"the first is image {bad[0]}.",
                hint="Its scale may be far from that of the training images: compare about.pixels.",
            )
        return answers

    def answers(
        self, images: Any, *, average: str = "none", batch_size: int = 64, calibrated: bool = False
    ) -> NDArray[np.float32]:
        """Return probabilities, or what another task answers: [N, K], NaN for images without a finite answer.

        Scores are those of uncalibrated probabilities, which all weights have.
        """
        if type(batch_size) is not int or batch_size < 1:
            raise UsageError(f"batch_size={batch_size!r} must be a whole number, 1 or more.")
        if average not in AVERAGES:
            raise UsageError(f"average '{average}' is not one of {', '.join(AVERAGES)}.{nearest(average, AVERAGES)}")
        if images.is_complex() if isinstance(images, Tensor) else np.iscomplexobj(images):
            raise DataError("The images hold complex numbers.")
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            array = images if isinstance(images, Tensor) else np.array(images, dtype=np.float32)  # of any byte order
        batch = torch.as_tensor(array).float()
        if batch.ndim in (2, 3) and self.stored_channels == 1:
            batch = batch.reshape(-1, 1, *batch.shape[-2:])
        shapes = [self.image_shape, (self.stored_channels, *self.image_shape[1:])]
        if batch.ndim != 4 or tuple(batch.shape[1:]) not in shapes:
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
                self._average(self.complete(part.to(self.mean.device)), AVERAGES[average], temperature)
                for part in batch.split(batch_size)
            ]
        return torch.cat(parts).numpy() if parts else np.zeros((0, self.about.columns), np.float32)

    def complete(self, images: Tensor) -> Tensor:
        """Return images [n, C, H, W] with the derived channels that the network needs, where they have none."""
        if self.channels is None or images.shape[1] == self.image_shape[0]:
            return images
        return self.channels.beside(images)

    def _average(self, images: Tensor, elements: range, temperature: float) -> Tensor:
        def answers(images: Tensor) -> Tensor:
            outputs = self(images)
            return _softmax(outputs, temperature) if self.about.outputs is None else outputs.float()

        total = sum(answers(transform_d4(images, element)) for element in elements)
        return torch.as_tensor(total / len(elements)).cpu()


def _softmax(logits: Tensor, temperature: float) -> Tensor:
    """Return probabilities [N, K]; NaN for an image with a logit that is not finite, also one that is -infinity."""
    return (logits.float() / temperature).softmax(1).where(logits.isfinite().all(1, keepdim=True), torch.nan)


def share_below(quantiles: Sequence[float], answers: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the share of a sample that is lower than each answer [N], from quantiles at equal steps from 0 to 1.

    Of an answer that many of the sample have, such as a constant one, only what lies below it counts.
    """
    # From above: np.interp takes the last of several equal places.
    falling = -np.asarray(quantiles, np.float64)[::-1]
    above = np.interp(-np.asarray(answers, np.float64), falling, np.linspace(0, 1, len(falling)), left=0.0, right=1.0)
    return np.asarray(1 - above)
