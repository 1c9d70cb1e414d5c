"""ROC curves and their bands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo.scores.intervals import Grouping
from zoo.scores.stats import Array


def roc_curve(scores: Array, positive: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return false and true positive rates, from (0, 0) to (1, 1), one point for each distinct score.

    Images with the score NaN are left out. The rate of a class without images is 0.
    """
    import warnings

    from sklearn import metrics
    from sklearn.exceptions import UndefinedMetricWarning

    scores, positive = scores[~np.isnan(scores)], positive[~np.isnan(scores)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        false_rate, true_rate, _ = metrics.roc_curve(positive, scores, pos_label=True, drop_intermediate=False)
    return np.nan_to_num(false_rate), np.nan_to_num(true_rate)


def roc_band(
    scores: Array,
    positive: NDArray[np.bool_],
    grid: Array,
    *,
    resamples: int = 200,
    seed: int = 0,
    level: float = 0.95,
    groups: NDArray[np.int64] | None = None,
) -> tuple[Array, Array, Array]:
    """Return the true positive rate at given false positive rates, with a pointwise bootstrap band over images.

    Images whose scores fall between the same two thresholds are counted together, so a resample is one draw of counts
    and costs nothing, whatever the number of images. Groups of images are drawn whole.

    Args:
        scores: [N], higher means more positive.
        positive: [N], of both kinds.
        grid: [G] increasing false positive rates from 0 to 1.
        resamples, seed: Number of samples and seed of the bootstrap.
        level: Confidence level.
        groups: [N] number of the group of each image; None where all are independent. The band of a single group is
            over its images.

    Returns:
        Curve, low and high, each [G].
    """
    false_rate, true_rate = roc_curve(scores, positive)
    curve = np.interp(grid, false_rate, true_rate)
    edges = [scores.min(keepdims=True), np.quantile(scores[~positive], grid), np.quantile(scores[positive], grid[::2])]
    cuts = np.unique(np.concatenate(edges))
    place = len(cuts) - np.searchsorted(cuts, scores, side="right") + np.where(positive, 0, len(cuts))
    generator = np.random.default_rng(seed)
    grouping = Grouping.of(groups, positive)
    if grouping is None:
        counts = np.bincount(place, minlength=2 * len(cuts))
        drawn = generator.multinomial(len(scores), counts / len(scores), size=resamples)
    else:
        of_group = np.zeros((grouping.count, 2 * len(cuts)), np.int64)
        np.add.at(of_group, (grouping.numbers, place), 1)
        drawn = grouping.times(generator, resamples) @ of_group
        both = drawn.reshape(resamples, 2, len(cuts)).sum(2).all(1)  # the others have images of one kind only
        drawn, resamples = drawn[both], int(both.sum())
        if not resamples:
            return curve, np.zeros(len(grid)), np.ones(len(grid))
    rates = np.zeros((2, resamples, len(cuts) + 1))
    np.cumsum(drawn.reshape(resamples, 2, len(cuts)).swapaxes(0, 1), axis=2, out=rates[..., 1:])
    rates /= np.maximum(1, rates[..., -1:])
    curves = np.stack([np.interp(grid, wrong, right) for right, wrong in zip(*rates, strict=True)])
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    if grouping is not None:
        low, high = (np.clip(each, 0, 1) for each in grouping.widened(curve, (low, high), level=level))
    return curve, low, high
