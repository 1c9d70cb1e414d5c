"""Statistics of scores: areas, the contribution of each image to them, quantiles, and tests of differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NORMAL_BEYOND = 1000
"""Degrees of freedom above which Student's t is taken as normal."""


def softmax(logits: NDArray[np.floating]) -> Array:
    """Return class probabilities [N, K] in double precision for logits [N, K]."""
    values = np.ascontiguousarray(logits.T, dtype=np.float64)  # nine times as fast as along a short last axis
    exponent = np.exp(values - values.max(0))
    return np.asarray(exponent / exponent.sum(0)).T


def auc_components(scores: Array, positive: NDArray[np.bool_]) -> tuple[float, Array]:
    """Return the area under the ROC curve and what each image adds to its sampling error.

    The sum of the squared components is DeLong's variance of the area (DeLong, DeLong & Clarke-Pearson 1988,
    Biometrics 44, 837), and the sum of the products of two scores' components on the same images is their
    covariance. A weighted sum of areas, such as a macro average or a difference, therefore has the same weighted
    sum of components. One sort, so N log N as in Sun & Xu 2014 (IEEE Signal Process. Lett. 21, 1389); it also gives
    the area, so that scikit-learn's `roc_auc_score` would sort once more.

    Args:
        scores: [N], higher means more positive.
        positive: [N].

    Returns:
        The area, and components [N]; NaN and zeros where one class is absent, infinite components where a class
        has a single image, whose spread cannot be estimated.
    """
    hits = int(positive.sum())
    misses = len(positive) - hits
    if not hits or not misses:
        return math.nan, np.zeros(len(scores))
    order = np.argsort(scores)
    ordered, is_hit = scores[order], positive[order]
    first = np.append(True, ordered[1:] != ordered[:-1])  # equal scores are one group
    group, edges = np.cumsum(first) - 1, np.flatnonzero(np.append(first, True))
    hits_before = np.append(0, np.cumsum(is_hit))[edges]
    hits_below = (hits_before[:-1] + hits_before[1:]) / 2  # of the own group a half
    misses_below = (edges[:-1] + edges[1:]) / 2 - hits_below
    placements = np.empty(len(scores))
    placements[order] = np.where(is_hit, (misses_below / misses)[group], 1 - (hits_below / hits)[group])
    area = float(placements[positive].mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(positive, 1 / np.sqrt(hits * (hits - 1.0)), 1 / np.sqrt(misses * (misses - 1.0)))
        return area, np.where(np.isfinite(scale), (placements - area) * scale, math.inf)


def macro_components(probabilities: Array, labels: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the one-vs-rest areas and their components, and the macro average's as the last row.

    Args:
        probabilities: [N, K].
        labels: [N].

    Returns:
        Areas [K + 1] and components [K + 1, N]; see `auc_components`.
    """
    pairs = [auc_components(probabilities[:, k], labels == k) for k in range(probabilities.shape[1])]
    areas, components = np.array([area for area, _ in pairs]), np.stack([component for _, component in pairs])
    return np.append(areas, areas.mean()), np.concatenate([components, components.mean(0, keepdims=True)])


def largest_effects(labels: NDArray[np.int64], classes: int) -> Array:
    """Return by how much a single image can change the area of each class and their mean, [K + 1]."""
    hits = np.bincount(labels, minlength=classes)
    own = np.eye(classes, dtype=bool)[hits > 0]  # images of one class have the same effects
    effects = np.where(own, 1 / np.maximum(hits, 1), 1 / np.maximum(len(labels) - hits, 1))
    return np.append(effects.max(0), effects.mean(1).max())


def two_sided_p(deviation: float, *, degrees_of_freedom: float = math.inf) -> float:
    """Return the probability that Student's t is at least this far from 0."""
    from scipy.special import ndtr, stdtr

    normal = degrees_of_freedom > _NORMAL_BEYOND
    return float(2 * (ndtr(-abs(deviation)) if normal else stdtr(degrees_of_freedom, -abs(deviation))))


def critical_value(level: float = 0.95, *, degrees_of_freedom: float = math.inf) -> float:
    """Return the deviation beyond which a two-sided interval of this level ends."""
    from scipy.special import ndtri, stdtrit

    below = (1 + level) / 2
    return float(ndtri(below) if degrees_of_freedom > _NORMAL_BEYOND else stdtrit(degrees_of_freedom, below))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for how many there are (Holm 1979, Scand. J. Statist. 6, 65); NaN is left out."""
    known = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    corrected, largest = [math.nan] * len(p_values), 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[index] = largest
    return corrected


def reliability(probabilities: Array, labels: NDArray[np.int64], *, bins: int = 15) -> list[dict[str, float]]:
    """Return confidence against accuracy in bins of equal width, empty bins left out.

    The expected calibration error is the mean of |confidence - accuracy| weighted by "images"
    (Guo et al. 2017, arXiv:1706.04599).

    Args:
        probabilities: [N, K].
        labels: [N].
        bins: Number of bins of the highest probability, from 0 to 1.
    """
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    # A bin holds its upper edge, as in torchmetrics.
    which = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return [
        {
            "images": int((which == index).sum()),
            "confidence": float(confidence[which == index].mean()),
            "accuracy": float(correct[which == index].mean()),
        }
        for index in range(bins)
        if (which == index).any()
    ]


def difference_of_independent(
    first: float, first_interval: tuple[float, float], second: float, second_interval: tuple[float, float]
) -> tuple[float, tuple[float, float]]:
    """Return first less second and its interval, for scores of two independent sets of images.

    The distances of each score from the ends of its own interval are added in squares (MOVER: Zou & Donner 2008,
    Statistics in Medicine 27, 1693), so the interval covers where the two intervals do, near 1 as well.
    """
    difference = first - second
    low = math.hypot(first - first_interval[0], second_interval[1] - second)
    high = math.hypot(first_interval[1] - first, second - second_interval[0])
    return difference, (difference - low, difference + high)
