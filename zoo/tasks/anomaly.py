"""Anomaly detection: networks see normal images only, and give every image a score, higher for an anomaly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.data.image_groups import ImageGroups
from zoo.data.question import Question, all_classes
from zoo.errors import UsageError
from zoo.scores.intervals import Grouping, interval_of_area
from zoo.scores.schema import Interval, Measure, Measures, shared_by
from zoo.scores.stats import Array, auc_components
from zoo.tasks.task import HEADLINE, Contributions, Task

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.specs import DatasetSpec

LOW_RATES = (0.01, 0.001)
"""False positive rates at which the true positive rate is a score."""
IMAGES_FOR_LOWEST = 10_000
"""Normal test images that a rate of 0.1 % needs: ten of them lie above the threshold."""
LEAST_RATE = 0.004
"""Lowest false positive rate of the significance improvement TPR / sqrt(FPR), whose noise grows towards 0."""
RESAMPLES, SEED = 200, 0
QUANTILES = 257
"""Quantiles of the validation scores that a weights file keeps."""
MOST_ANOMALOUS = 4
"""Images of each class that a report shows."""


class Anomaly(Task):
    """Tell images that are not normal from normal ones, of which alone the training and validation splits consist.

    A network brings its own loss, or fits itself. The epoch with the lowest loss on normal validation images is kept.
    """

    rules = ("val_loss", "last")
    pictures = ("roc at low rates", "score histograms", "slices")
    has_loss = False
    smooths_labels = False

    @classmethod
    def ask(cls, dataset: DatasetSpec, option: str) -> Question:
        """Return all classes of a data set, of which those that it declares normal may be trained on."""
        if option:
            raise UsageError(f"The task anomaly takes no option, such as '{option}'.", hint="Write: --task anomaly")
        if not dataset.normal:
            raise UsageError(
                f"{dataset.id} cannot answer the task anomaly: it does not state which of its classes "
                f"({', '.join(dataset.classes)}) are normal.",
                hint="Choose a data set for which zoo show names normal classes; a plugin declares DatasetSpec.normal",
            )
        whole = all_classes(dataset)
        normal = tuple(k for k, name in enumerate(dataset.classes) if name in dataset.normal)
        return Question(classes=whole.classes, merged=whole.merged, trained_on=normal)

    @property
    def outputs(self) -> int:
        """One score."""
        return 1

    def loss(self, predictions: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean score, which stands for the loss of networks that fit themselves."""
        return predictions.mean()

    def validate(self, predictions: Tensor, labels: Tensor) -> Mapping[str, float]:
        """Return nothing: normal images alone have no area under a ROC curve."""
        return {}

    def score(self, predictions: Tensor, labels: Tensor, groups: ImageGroups | None = None) -> Measures:
        """Return areas and rates of anomalies against normal images.

        The intervals of areas are those of `zoo.scores.stats.interval_of_area`, all others the 2.5 and 97.5 % quantiles
        of a bootstrap over images, in which the numbers of normal images and anomalies stay, or over groups of images.
        """
        scores, truth = predictions[:, 0].double().numpy(), labels.numpy()
        normal = self._normal(truth)
        numbers = None if groups is None else groups.numbers
        measures = {}
        for k, name in self._anomalies():
            these = normal | (truth == k)
            label = f"AUROC {name.replace('_', ' ')}"
            measures[f"auroc.{name}"] = _area(
                label, scores[these], ~normal[these], groups=None if numbers is None else numbers[these]
            )
        if len(measures) < 2:  # a single class is all of them
            measures = {}
        share = float((~normal).mean())
        labels_of = {
            "aupr": f"AUPR (prevalence {share:.0%})",
            **{f"tpr_at_fpr_{rate:g}": f"TPR at {100 * rate:g} % FPR" for rate in LOW_RATES},
            "significance": "TPR / sqrt(FPR)",
        }
        found = _with_bootstrap(scores, ~normal, numbers)
        measures = {
            "auroc": _area("AUROC", scores, ~normal, groups=numbers),
            **measures,
            **{
                name: Measure(label=labels_of[name], value=value, interval=interval)
                for name, (value, interval) in found.items()
            },
        }
        return Measures(order=tuple(measures), measures=measures, images=len(truth), image_groups=shared_by(groups))

    def contributions(self, predictions: Array, labels: NDArray[np.int64]) -> Contributions:
        """Return the areas of each class of anomalies, where there are several, and of all, against normal images."""
        scores, normal = np.asarray(predictions[:, 0], np.float64), self._normal(labels)
        anomalies = self._anomalies()
        subjects = [(name, labels == k) for k, name in (anomalies if len(anomalies) > 1 else ())]
        subjects.append((HEADLINE, ~normal))
        values, components, largest = [], [], []
        for _, positive in subjects:
            these = normal | positive
            area, parts = auc_components(scores[these], positive[these])
            whole = np.zeros(len(scores))
            whole[these] = parts
            values.append(area)
            components.append(whole)
            largest.append(1 / max(1, min(int(positive.sum()), int(normal.sum()))))
        return Contributions(
            names=tuple(name for name, _ in subjects),
            labels=(*(f"AUROC of {name.replace('_', ' ')}" for name, _ in subjects[:-1]), "AUROC"),
            values=np.array(values),
            components=np.stack(components),
            largest=np.array(largest),
        )

    def notable(self, predictions: Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the images of each class with the highest scores; those of normal classes are false alarms."""
        scores = np.asarray(predictions[:, 0])
        chosen = []
        for k in range(len(self.question.classes)):
            of_class = np.flatnonzero(labels == k)
            chosen.append(of_class[np.argsort(-scores[of_class], kind="stable")[:MOST_ANOMALOUS]])
        return np.concatenate(chosen)

    def for_metrics(self, predictions: Array) -> Array:
        """Return the scores [N, 1]."""
        return np.asarray(predictions, np.float64)

    def rocs(self, predictions: Array, labels: NDArray[np.int64]) -> Mapping[str, tuple[Array, NDArray[np.bool_]]]:
        """Return all anomalies against normal images, and each class of anomalies where there are several."""
        scores, normal = np.asarray(predictions[:, 0], np.float64), self._normal(labels)
        curves = {"any anomaly": (scores, ~normal)}
        if len(anomalies := self._anomalies()) > 1:
            curves |= {name: (np.where(normal | (labels == k), scores, np.nan), ~normal) for k, name in anomalies}
        return curves

    def reference(self, predictions: Array) -> tuple[float, ...]:
        """Return quantiles of the scores of normal validation images."""
        return tuple(np.quantile(predictions[:, 0], np.linspace(0, 1, QUANTILES)).tolist())

    def shift(
        self, plain: tuple[Array, NDArray[np.int64]], shifted: tuple[Array, NDArray[np.int64]]
    ) -> Mapping[str, Measure]:
        """Return the area of shifted normal images against plain ones: 0.5 where the scores do not change."""
        (known, their_labels), (new, labels) = plain, shifted
        before, after = known[self._normal(their_labels), 0], new[self._normal(labels), 0]
        positive = np.arange(len(before) + len(after)) >= len(before)
        both = np.concatenate([before, after]).astype(np.float64)
        label = "AUROC of the shift, normal images (0.5: none)"
        return {"auroc_nuisance": _area(label, both, positive, better=None)}

    def _normal(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.isin(labels, self.question.trained_on)

    def _anomalies(self) -> list[tuple[int, str]]:
        """Return index and name of each class that is not normal."""
        return [(k, name) for k, name in enumerate(self.question.classes) if k not in self.question.trained_on]


def _area(
    label: str,
    scores: Array,
    positive: NDArray[np.bool_],
    *,
    groups: NDArray[np.int64] | None = None,
    better: bool | None = True,
) -> Measure:
    area, components = auc_components(scores, positive)
    effect = 1 / max(1, min(int(positive.sum()), int((~positive).sum())))
    grouping = Grouping.of(groups, positive)
    interval = interval_of_area(area, components, largest_effect=effect, grouping=grouping)
    return Measure(label=label, value=area, interval=interval, higher_is_better=better)


class Curve:
    """Scores in descending order, so that rates for any weights of the images are two sums.

    Args:
        scores: [N], higher means more anomalous.
        positive: [N], of both kinds.
    """

    def __init__(self, scores: Array, positive: NDArray[np.bool_]) -> None:
        order = np.argsort(-scores, kind="stable")
        self.order, self.positive = order, positive[order]
        # Images of equal scores are on the same side of every threshold.
        self._last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)

    def scores(self, weights: Array, *, lowest: bool = False) -> dict[str, float]:
        """Return average precision, true positive rates at low false positive rates, and the largest TPR / sqrt(FPR).

        Args:
            weights: [N] how often each image counts, in descending order of the scores.
            lowest: Whether the rate at 0.1 % is among them.
        """
        hits = np.cumsum(weights * self.positive)[self._last]
        alarms = np.cumsum(weights)[self._last] - hits
        true_rate, false_rate = np.append(0, hits / hits[-1]), np.append(0, alarms / alarms[-1])
        precision = hits / np.maximum(hits + alarms, 1e-30)
        allowed = false_rate >= LEAST_RATE
        # Between two thresholds the ratio is largest at an end, or where the curve enters the allowed rates.
        ratios = np.append(
            true_rate[allowed] / np.sqrt(false_rate[allowed]),
            np.interp(LEAST_RATE, false_rate, true_rate) / math.sqrt(LEAST_RATE),
        )
        rates = LOW_RATES if lowest else LOW_RATES[:1]
        return {
            "aupr": float((np.diff(true_rate) * precision).sum()),
            **{f"tpr_at_fpr_{rate:g}": float(np.interp(rate, false_rate, true_rate)) for rate in rates},
            "significance": float(ratios.max()),
        }


def _with_bootstrap(
    scores: Array, positive: NDArray[np.bool_], groups: NDArray[np.int64] | None
) -> dict[str, tuple[float, Interval | None]]:
    """Return name -> (value, interval) of `Curve.scores`; NaN without an interval where a kind has no image."""
    lowest = int((~positive).sum()) >= IMAGES_FOR_LOWEST
    if positive.all() or not positive.any():
        return dict.fromkeys(["aupr", f"tpr_at_fpr_{LOW_RATES[0]:g}", "significance"], (math.nan, None))
    curve = Curve(scores, positive)
    values = curve.scores(np.ones(len(scores)), lowest=lowest)
    random = np.random.default_rng(SEED)
    drawn = []
    grouping = Grouping.of(groups, positive)
    for _ in range(RESAMPLES):
        weights = np.zeros(len(scores))
        if grouping is not None:
            weights += grouping.times(random, 1)[0][grouping.numbers[curve.order]]
            if not (weights[curve.positive].any() and weights[~curve.positive].any()):
                continue  # the groups of one kind only
        else:
            for kind in (curve.positive, ~curve.positive):
                count = int(kind.sum())
                weights[kind] = random.multinomial(count, np.full(count, 1 / count))
        drawn.append(curve.scores(weights, lowest=lowest))
    found: dict[str, tuple[float, Interval | None]] = {}
    for name, value in values.items():
        low, high = np.quantile([one[name] for one in drawn], [0.025, 0.975]).tolist() if drawn else (value, value)
        if grouping is not None:
            low, high = grouping.widened(value, (low, high))
            low, high = max(0.0, low), high if name == "significance" else min(1.0, high)
        found[name] = value, (min(low, value), max(high, value)) if math.isfinite(high) else None
    return found
