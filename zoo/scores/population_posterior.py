"""Posterior of the mean and the spread of a population of lenses, from what is known of the truth of each of them.

For N lenses with the likelihoods p(d_i | t) of a truth t (Hogg, Myers & Bovy 2010, ApJ 725, 2166):

    p(mean, spread | d_1 ... d_N) ~ p(mean, spread) prod_i integral p(d_i | t) p(t | mean, spread) dt

The data d_i are the answers of a network, whose likelihood is measured (`zoo.scores.response`). The population is a
normal distribution, cut off at the lowest and the highest truth: beyond them nothing was measured. All integrals are
sums over a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError

Array = NDArray[np.float64]
LOCATIONS, SPREADS = 61, 25
"""Points of the grid of the population's parameters; it is refined about the posterior."""
PASSES = 3
LEAST_SPREAD = 0.01
"""Smallest spread of a population, as a share of the range of the truths."""


@dataclass(frozen=True, kw_only=True)
class PopulationPosterior:
    """Posterior of a population.

    Args:
        lenses: Number of lenses.
        means: [H] means of the population on a grid of its parameters.
        spreads: [H] its standard deviations there.
        weights: [H] posterior probabilities.
    """

    lenses: int
    means: Array
    spreads: Array
    weights: Array

    def mean(self) -> float:
        """Return the posterior mean of the population's mean."""
        return float(self.weights @ self.means)

    def interval(self, level: float) -> tuple[float, float]:
        """Return the central interval of the population's mean."""
        low, high = weighted_quantiles(self.means, self.weights, np.array([0.5 - level / 2, 0.5 + level / 2]))
        return float(low), float(high)

    def spread_interval(self, level: float) -> tuple[float, float]:
        """Return the central interval of the population's standard deviation."""
        low, high = weighted_quantiles(self.spreads, self.weights, np.array([0.5 - level / 2, 0.5 + level / 2]))
        return float(low), float(high)


def population_posterior(likelihoods: Array, truths: Array, *, spread: float | None = None) -> PopulationPosterior:
    """Return the posterior of a population, with a flat prior of its location and its spread.

    Args:
        likelihoods: [N, G] likelihood of each truth for each lens, in any unit.
        truths: [G] equally spaced truths.
        spread: Known standard deviation of the population before it is cut off; None infers it.

    Raises:
        UsageError: There is no lens, or a likelihood is not a number or 0 everywhere.
    """
    single = np.asarray(likelihoods, np.float64)
    if not single.size or not np.isfinite(single).all() or not (single.max(1) > 0).all():
        raise UsageError("A population needs at least one lens, each with a finite answer.")
    low, high = truths[0], truths[-1]
    places = np.linspace(low, high, LOCATIONS)
    scales = np.array([spread]) if spread else np.linspace(LEAST_SPREAD, 1.0, SPREADS) * (high - low)
    for last in range(PASSES):
        location, scale = (grid.ravel() for grid in np.meshgrid(places, scales, indexing="ij"))
        log_shape = -0.5 * ((truths - location[:, None]) / scale[:, None]) ** 2
        shape = np.exp(log_shape - log_shape.max(1, keepdims=True))
        shape /= shape.sum(1, keepdims=True)
        log_weight = np.log(np.maximum(single @ shape.T, 1e-300)).sum(0)
        weights = np.exp(log_weight - log_weight.max())
        weights /= weights.sum()
        if last < PASSES - 1:
            places = _refined(places, location, weights, least=low, most=high)
            scales = scales if spread else _refined(scales, scale, weights, least=scales[0], most=scales[-1])
    middle = shape @ truths
    deviation = np.sqrt(np.maximum(np.asarray(shape @ truths**2 - middle**2), 0))
    return PopulationPosterior(lenses=len(single), means=middle, spreads=deviation, weights=weights)


def joined(posteriors: Sequence[PopulationPosterior]) -> PopulationPosterior:
    """Return the average of posteriors of the same lenses, such as those of several measured responses."""
    return PopulationPosterior(
        lenses=posteriors[0].lenses,
        means=np.concatenate([one.means for one in posteriors]),
        spreads=np.concatenate([one.spreads for one in posteriors]),
        weights=np.concatenate([one.weights for one in posteriors]) / len(posteriors),
    )


def weighted_quantiles(values: Array, weights: Array, levels: Array) -> Array:
    """Return quantiles of values [H] with weights that sum to 1, each at the middle of its share."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order]) - weights[order] / 2
    return np.asarray(np.interp(levels, share, values[order]))


def _refined(grid: Array, values: Array, weights: Array, *, least: float, most: float) -> Array:
    """Return a grid of as many points where the weights are: five standard deviations and a step on each side."""
    mean = float(weights @ values)
    reach = 5 * float(np.sqrt(max(float(weights @ (values - mean) ** 2), 0.0))) + float(grid[1] - grid[0])
    return np.linspace(max(least, mean - reach), min(most, mean + reach), len(grid))
