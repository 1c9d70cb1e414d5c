"""Classification: which class an image belongs to, or which group of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.data.image_groups import ImageGroups
from zoo.data.question import Question, grouped_classes
from zoo.scores.schema import Scores
from zoo.scores.stats import Array, largest_effects, macro_components, softmax
from zoo.tasks.task import HEADLINE, Contributions, Task, entropy

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.specs import DatasetSpec

WORST_PER_CLASS = 4


class Classify(Task):
    """Separate the classes of a data set, or groups of them; a network answers a logit for each."""

    rules = ("val_auc", "last")
    pictures = ("roc", "slices", "confusion", "reliability")

    @classmethod
    def ask(cls, dataset: DatasetSpec, option: str) -> Question:
        """Return the classes, grouped as `DatasetSpec.tasks` states under the name `option`."""
        return grouped_classes(dataset, option)

    @property
    def outputs(self) -> int:
        """Number of classes."""
        return len(self.question.classes)

    @property
    def weights_outputs(self) -> int | None:
        """None: the logits of the classes."""
        return None

    def loss(self, predictions: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross entropy."""
        import torch.nn.functional as F

        return F.cross_entropy(predictions, labels, label_smoothing=label_smoothing)

    def validate(self, predictions: Tensor, labels: Tensor) -> Mapping[str, float]:
        """Return macro AUC and accuracy."""
        from zoo.scores.score import one_vs_rest_auc

        auc = one_vs_rest_auc(predictions.softmax(1), labels).nanmean()
        return {"val_auc": float(auc), "val_accuracy": float((predictions.argmax(1) == labels).float().mean())}

    def score(self, predictions: Tensor, labels: Tensor, groups: ImageGroups | None = None) -> Scores:
        """Return areas, accuracy and calibration; see `zoo.scores.score.score`."""
        from zoo.scores.score import score

        return score(predictions, labels, self.question.classes, groups=groups)

    def contributions(self, predictions: Array, labels: NDArray[np.int64]) -> Contributions:
        """Return the one-vs-rest areas and their mean; of two classes the mean alone, since their areas are equal."""
        return area_contributions(softmax(predictions), labels, self.question.classes)

    def notable(self, predictions: Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the images of each class whose true class has the lowest probability."""
        chance = self.for_metrics(predictions)[np.arange(len(labels)), labels]
        return np.concatenate(
            [
                of_class[np.argsort(chance[of_class], kind="stable")[:WORST_PER_CLASS]]
                for of_class in (np.flatnonzero(labels == k) for k in range(len(self.question.classes)))
            ]
        )

    def for_metrics(self, predictions: Array) -> Array:
        """Return the probability of each class."""
        import torch

        return np.asarray(torch.from_numpy(np.asarray(predictions)).double().softmax(1).numpy())

    def rocs(self, predictions: Array, labels: NDArray[np.int64]) -> Mapping[str, tuple[Array, NDArray[np.bool_]]]:
        """Return each class against the rest; of two classes, whose curves mirror each other, the second."""
        probabilities = softmax(predictions)
        classes = self.question.classes
        return {classes[k]: (probabilities[:, k], labels == k) for k in range(int(len(classes) == 2), len(classes))}

    def chance_loss(self, counts: Sequence[int]) -> float | None:
        """Return the entropy of the frequencies: ln K for K classes of equal size."""
        return entropy(counts)


def area_contributions(scores: Array, labels: NDArray[np.int64], classes: Sequence[str]) -> Contributions:
    """Return the one-vs-rest areas of scores [N, K] and their mean; of two classes the mean alone."""
    values, components = macro_components(scores, labels)
    rows = [*(range(len(classes)) if len(classes) > 2 else ()), len(classes)]
    return Contributions(
        names=tuple([*classes, HEADLINE][row] for row in rows),
        labels=tuple([*(f"AUC of {name.replace('_', ' ')}" for name in classes), "macro AUC"][row] for row in rows),
        values=values[rows],
        components=components[rows],
        largest=largest_effects(labels, len(classes))[rows],
    )
