"""Contract of a task: labels, images to train on, losses, scores, and what a report shows of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from zoo.data.image_groups import ImageGroups
from zoo.data.question import Question
from zoo.models.target import Target
from zoo.scores.intervals import by_group
from zoo.scores.schema import AnyScores, Measure, Measures, shared_by
from zoo.scores.stats import Array

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.lensing.scenes import Scenes
    from zoo.specs import DatasetSpec

__all__ = [
    "HEADLINE", "PICTURES", "Contributions", "Estimated", "ImageGroups", "Measure", "Measures", "Question", "Task",
    "by_group", "entropy", "shared_by",
]  # fmt: skip

HEADLINE = "macro"
"""Name of the score that ranks networks in a comparison, as results of classification have it."""
PICTURES = (
    "roc", "roc at low rates", "confusion", "reliability", "score histograms", "slices", "predicted against true",
    "rank histogram",
)  # fmt: skip
"""Pictures of predictions that the page of results can draw."""


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """Scores on a set of images, with what each image adds to their error; for comparisons of networks.

    Args:
        names: Names of the R scores, the one that ranks networks last.
        labels: Names for readers.
        values: [R] scores, in units in which higher is better.
        components: [R, N] parts of the errors; see `zoo.scores.stats.auc_components`.
        largest: [R] largest change of a score by a single image.
        areas: Whether the scores are areas or shares between 0 and 1, with intervals that are skewed near the ends;
            intervals of other scores are symmetric.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    values: Array
    components: Array
    largest: Array
    areas: bool = True


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """Estimates of a truth for N images, as pictures show them.

    Args:
        true, middle, low, high: [N] truth, prediction and ends of its 68 % interval.
        pit: [N] distribution function of the prediction at the truth.
    """

    true: Array
    middle: Array
    low: Array
    high: Array
    pit: Array


class Task(ABC):
    """A task, opened for a data set's question or for that of a stored result.

    Args:
        question: Labels of the images, and the images that may be trained on.
        name: Name of the task, as `ModelSpec.tasks` states it.
        option: Text behind the colon of `--task NAME:OPTION`, or "".
    """

    rules: ClassVar[tuple[str, ...]]
    """Rules that select the epoch whose weights are kept, the default first: "val_auc" and "val_score" keep the epoch
    with the highest value of that field of `zoo.results.schema.Epoch`, "val_loss" that with the lowest, "last" the last
    one."""
    pictures: ClassVar[tuple[str, ...]]
    """Pictures of predictions in a report, of those in `PICTURES`."""
    has_loss: ClassVar[bool] = True
    """Whether `loss` can train a network; otherwise a network brings its own loss or fits itself."""
    smooths_labels: ClassVar[bool] = True
    """Whether `loss` uses `label_smoothing`; otherwise a training with this setting is refused."""
    example_option: ClassVar[str] = ""
    """Option with which networks are tried without a data set. A task of stored truths names the truth "example",
    which is stored beside the images of the conformance kit."""
    more_examples: ClassVar[tuple[str, ...]] = ()
    """Further options with which networks that state the task are tried; they may refuse them by a UsageError."""
    targets: tuple[Target, ...] = ()
    """Stored truths that networks estimate, with the units of their answers; empty for labels."""

    def __init__(self, question: Question, *, name: str, option: str = "") -> None:
        self.question, self.name, self.option = question, name, option

    @property
    def text(self) -> str:
        """The task as `--task` takes it: NAME or NAME:OPTION."""
        return f"{self.name}:{self.option}" if self.option else self.name

    @classmethod
    @abstractmethod
    def ask(cls, dataset: DatasetSpec, option: str) -> Question:
        """Return the question to a data set.

        Args:
            dataset: Spec of the data set.
            option: Text behind the colon of `--task NAME:OPTION`, or "".

        Raises:
            UsageError: The data set cannot answer it; the error names what it can answer.
        """

    @classmethod
    def complete(cls, dataset: DatasetSpec, option: str, scenes: Scenes) -> tuple[str, str]:
        """Return the option with all that the scenes of a simulated data set decide, as a cell states it, and a note.

        Args:
            dataset: Spec of the data set.
            option: Text behind the colon.
            scenes: A few scenes of its training split.

        Raises:
            UsageError: The scenes cannot answer it.
        """
        return option, ""

    def measured(self, truth: Array) -> Self:
        """Return the task with the units of its targets, for the truths [N, T] of the training split.

        Raises:
            DataError: Nothing can be learned from them.
        """
        return self

    def calibrated(self, predictions: Tensor, truth: Tensor) -> tuple[Self, Tensor]:
        """Return the task with widths that fit the validation split, and the predictions with these widths.

        Args:
            predictions: [N, outputs].
            truth: [N, T].
        """
        return self, predictions

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Numbers that a network answers for an image: `num_classes` of its builder."""

    @property
    def weights_outputs(self) -> int | None:
        """Entry of a weights file: numbers that a network answers, None where they are logits of the classes."""
        return self.outputs

    @abstractmethod
    def loss(self, predictions: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of predictions [N, outputs] in float32, for training and validation."""

    @abstractmethod
    def validate(self, predictions: Tensor, labels: Tensor) -> Mapping[str, float]:
        """Return fields of `zoo.results.schema.Epoch` beside `val_loss` for the validation images."""

    @abstractmethod
    def score(self, predictions: Tensor, labels: Tensor, groups: ImageGroups | None = None) -> AnyScores:
        """Return the scores of a split.

        Args:
            predictions: [N, outputs] on the CPU.
            labels: [N].
            groups: Groups of images that are not independent, which intervals are over (`zoo.scores.intervals`);
                the scores state them as `image_groups`. None where all images are independent.
        """

    @abstractmethod
    def contributions(self, predictions: Array, labels: NDArray[np.int64]) -> Contributions:
        """Return the scores by which networks are compared, with what each image adds to their error."""

    @abstractmethod
    def notable(self, predictions: Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of the few test images that a report shows, such as the largest errors."""

    @abstractmethod
    def for_metrics(self, predictions: Array) -> Array:
        """Return predictions as metrics of plugins get them, such as probabilities."""

    def chance_loss(self, counts: Sequence[int]) -> float | None:
        """Return the loss of a network that has learned nothing but the frequencies of the classes.

        Args:
            counts: Training images of each class.

        Returns:
            The loss; None where there is no such number.
        """
        return None

    def rocs(self, predictions: Array, labels: NDArray[np.int64]) -> Mapping[str, tuple[Array, NDArray[np.bool_]]]:
        """Return the ROC curves of a report: title -> scores [N] and which images are positive [N]; {} draws none.

        Images that a curve leaves out, such as those of other classes, have the score NaN.
        """
        return {}

    def estimated(self, predictions: Array, labels: NDArray[Any]) -> Mapping[str, Estimated]:
        """Return the estimates of a report: name of the truth -> estimates; {} draws none."""
        return {}

    def reference(self, predictions: Array) -> tuple[float, ...]:
        """Return quantiles of validation predictions that a weights file keeps to place new answers; () keeps none."""
        return ()

    def of_gaussians(self, predictions: Tensor) -> Tensor:
        """Return predictions [N, outputs] for mean and logarithm of the standard deviation of each target, [N, 2 T]."""
        return predictions

    def shift(
        self, plain: tuple[Array, NDArray[np.int64]], shifted: tuple[Array, NDArray[np.int64]]
    ) -> Mapping[str, Measure]:
        """Return scores of shifted images against plain ones, both as predictions and labels; {} computes none."""
        return {}

    @property
    def draws_rocs(self) -> bool:
        """Whether `rocs` returns anything."""
        return type(self).rocs is not Task.rocs

    @property
    def compares_shifts(self) -> bool:
        """Whether `shift` computes anything, so that plain images are needed beside shifted ones."""
        return type(self).shift is not Task.shift


def entropy(counts: Sequence[int]) -> float:
    """Return the entropy of class frequencies, for counts of each class."""
    present = [count for count in counts if count]
    shares = [count / sum(present) for count in present]
    return -sum(share * math.log(share) for share in shares)
