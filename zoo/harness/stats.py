"""Statistics of scores: exact AUC with weights, and bootstrap intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def auc_of_resamples(scores: Array, positive: NDArray[np.bool_], weights: Array) -> Array:
    """Return the area under the ROC curve for many weightings of the same images at once.

    Ties count one half (the Mann-Whitney statistic).

    Args:
        scores: [N], higher means more positive.
        positive: [N].
        weights: [B, N]: how often each image occurs in each resample.

    Returns:
        [B]; NaN where a resample holds one class only.
    """
    order = np.argsort(scores, kind="stable")
    sorted_scores = scores[order]
    starts = np.flatnonzero(np.r_[True, sorted_scores[1:] != sorted_scores[:-1]])
    sorted_weights = weights[:, order]
    positives = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
    negatives = np.add.reduceat(sorted_weights * ~positive[order], starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    wins = (positives * (below + 0.5 * negatives)).sum(1)
    pairs = positives.sum(1) * negatives.sum(1)
    return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1), np.nan)


def bootstrap_auc(
    probabilities: Array,
    labels: NDArray[np.int64],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Return percentile intervals of the one-vs-rest AUCs, their mean, and the accuracy, over test images.

    Args:
        probabilities: [N, K].
        labels: [N].
        resamples: bootstrap samples.
        seed: of the resampling; the same for every model, so that intervals are comparable.
        level: of confidence.

    Returns:
        "auc_0" ... "auc_{K-1}", "auc_macro", "accuracy" -> (low, high).
    """
    count, classes = probabilities.shape
    generator = np.random.default_rng(seed)
    tail = (1 - level) / 2
    names = [*(f"auc_{k}" for k in range(classes)), "auc_macro", "accuracy"]
    values: dict[str, list[Array]] = {name: [] for name in names}
    correct = probabilities.argmax(1) == labels
    for start in range(0, resamples, 100):  # 100 x N doubles at a time
        size = min(100, resamples - start)
        weights = generator.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)
        per_class = np.stack([auc_of_resamples(probabilities[:, k], labels == k, weights) for k in range(classes)])
        for k in range(classes):
            values[f"auc_{k}"].append(per_class[k])
        values["auc_macro"].append(per_class.mean(0))
        values["accuracy"].append(weights @ correct / count)
    intervals = {}
    for name, parts in values.items():
        low, high = np.nanquantile(np.concatenate(parts), [tail, 1 - tail])
        intervals[name] = (float(low), float(high))
    return intervals


def roc_curve(scores: Array, positive: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return false and true positive rates, from (0, 0) to (1, 1), one point for each distinct score."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.r_[scores[order][1:] != scores[order][:-1], True])
    hits = np.cumsum(positive[order])[last]
    misses = last + 1 - hits
    true_rate = np.r_[0.0, hits / max(1, positive.sum())]
    false_rate = np.r_[0.0, misses / max(1, (~positive).sum())]
    return false_rate, true_rate
