"""Scores of one target of a regression: errors, CRPS and coverage, with intervals of a bootstrap over images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.scores.distributions import Form, climatology
from zoo.scores.intervals import Grouping, interval_of_share
from zoo.scores.schema import Measure
from zoo.scores.stats import Array

COVERED = (0.68, 0.95)
"""Levels of the intervals whose coverage is a score."""
RESAMPLES, SEED = 200, 0
SKILL = "CRPS skill"
"""1 less the CRPS over that of the distribution of all truths: 0 for a network that has learned nothing, 1 at best."""


@dataclass(frozen=True, kw_only=True)
class TargetScores:
    """Errors of one target, for each of N images.

    Args:
        name: Name of the target where there are several, or "".
        columns: Name -> [N] what a score is a mean of.
        inside: Level -> [N] whether the interval holds the truth.
    """

    name: str
    columns: Mapping[str, Array]
    inside: Mapping[float, NDArray[np.bool_]]

    @classmethod
    def of(cls, form: Form, answers: Array, truth: Array, *, name: str) -> TargetScores:
        """Return the errors of predictions [N, 1, columns] of a form, for truths [N, 1]."""
        error = form.middle(answers) - truth
        centred = truth - truth.mean(0)  # a difference of large squares would have no digit left
        columns = {
            "absolute": np.abs(error), "square": error**2, "crps": form.crps(answers, truth),
            "climatology": climatology(truth), "truth": centred, "truth_square": centred**2,
        }  # fmt: skip
        inside = {}
        for level in COVERED:
            low, high = form.interval(answers, level)
            inside[level] = ((low <= truth) & (truth <= high))[:, 0]
        return cls(name=name, columns={key: values[:, 0] for key, values in columns.items()}, inside=inside)

    def means(self, weights: Array) -> dict[str, Array]:
        """Return the means of the columns for weights [D, N] that sum to 1: name -> [D]."""
        return {key: weights @ values for key, values in self.columns.items()}

    def skill(self, weights: Array) -> Array:
        """Return the CRPS skill [D]."""
        mean = self.means(weights)
        return np.asarray(1 - mean["crps"] / mean["climatology"])

    def measures(self, drawn: Array, groups: NDArray[np.int64] | None = None) -> dict[str, Measure]:
        """Return the scores of this target.

        Args:
            drawn: Weights of a bootstrap, from `draws`.
            groups: [N] number of the group of each image; None where all are independent.
        """
        count = len(self.columns["truth"])
        value, several = (self._scores(weights) for weights in (np.full((1, count), 1 / count), drawn))
        suffix, of = (f".{self.name}", f" of {self.name}") if self.name else ("", "")
        found = {
            key + suffix: Measure(
                label=label + of,
                value=float(value[key][0]),
                interval=ends(
                    float(value[key][0]), several[key], groups, limits=(-math.inf, 1) if higher else (0, math.inf)
                ),
                higher_is_better=higher,
            )
            for key, label, higher in (
                ("mae", "MAE", False), ("rmse", "RMSE", False), ("r2", "R²", True), ("crps", "CRPS", False),
            )
            if np.isfinite(value[key][0])
        }  # fmt: skip
        for level, inside in self.inside.items():
            found[f"coverage_{100 * level:.0f}{suffix}"] = Measure(
                label=f"coverage of {100 * level:.0f} % intervals{of}",
                value=int(inside.sum()) / count,
                interval=interval_of_share(inside, groups=groups),
                higher_is_better=None,
            )
        return found

    def _scores(self, weights: Array) -> dict[str, Array]:
        mean = self.means(weights)
        variance = mean["truth_square"] - mean["truth"] ** 2
        # Of a truth that nearly all images share, some draws hold one value only.
        variance[variance <= 1e-12 * self.columns["truth_square"].mean()] = np.nan
        return {
            "mae": mean["absolute"],
            "rmse": np.sqrt(mean["square"]),
            "r2": 1 - mean["square"] / variance,
            "crps": mean["crps"],
        }


def draws(count: int, groups: NDArray[np.int64] | None = None) -> Array:
    """Return weights [draws, N] of a bootstrap over images, or over groups of images, each drawn whole."""
    random, grouping = np.random.default_rng(SEED), Grouping.of(groups)
    if grouping is not None:
        weights = grouping.times(random, RESAMPLES)[:, grouping.numbers]
        return np.asarray(weights / weights.sum(1, keepdims=True))
    return random.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count


def ends(
    value: float,
    drawn: Array,
    groups: NDArray[np.int64] | None = None,
    *,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[float, float] | None:
    """Return the 2.5 and 97.5 % quantiles of a score over the draws, which its value is never outside of.

    Draws without a score are left out; None where they are more than half of all.

    Args:
        value: The score.
        drawn: [draws] scores of images, or groups of images, drawn again.
        groups: [N] number of the group of each image, which the draws are over; None where all are independent.
        limits: Lowest and highest value that the score can have.
    """
    found = drawn[np.isfinite(drawn)]
    if 2 * len(found) < len(drawn):
        return None
    low, high = np.quantile(found, [0.025, 0.975]).tolist()
    if (grouping := Grouping.of(groups)) is not None:
        low, high = (float(np.clip(end, *limits)) for end in grouping.widened(value, (low, high)))
    return min(low, value), max(high, value)
