"""Posterior of the mean and the spread of a population of lenses, from the answers of a network for each of them.

A network that was trained by its likelihood answers the posterior of a truth t for image d under the prior of its
training images, p(t | d) ~ p(d | t) p_train(t). The product of these posteriors over N lenses would count that prior N
times. So it is divided out (Hogg, Myers & Bovy 2010, ApJ 725, 2166; for networks on lenses Wagner-Carena et al.
2021, ApJ 909, 187):

    p(mean, spread | d_1 ... d_N) ~ p(mean, spread) prod_i integral p(t | d_i) p(t | mean, spread) / p_train(t) dt

The population is a normal distribution, cut off where the training images end: beyond them the network has seen
nothing. All integrals are sums over a grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError

Array = NDArray[np.float64]
LEVELS = (0.68, 0.95)
POINTS = 400
"""Points of the grid of truths, or more where answers are narrower."""
MOST_POINTS = 4000
LOCATIONS, SPREADS = 61, 25
"""Points of the grid of the population's parameters; it is refined about the posterior."""
PASSES = 3
LEAST_SPREAD = 0.01
"""Smallest spread of a population, as a share of the range of the training images."""


@dataclass(frozen=True, kw_only=True)
class TrainingPrior:
    """Distribution of a truth among the training images.

    Args:
        values: [G] grid, equally spaced.
        density: [G] density, positive.
    """

    values: Array
    density: Array

    @classmethod
    def of_quantiles(cls, quantiles: Array, *, narrowest: float) -> TrainingPrior:
        """Return a prior that is constant between quantiles at equal steps from 0 to 1.

        Args:
            quantiles: Quantiles of the training images.
            narrowest: Width of the narrowest answer, which the grid resolves.

        Raises:
            UsageError: The training images have one value.
        """
        edges, first = np.unique(quantiles, return_index=True)
        if len(edges) < 2:
            raise UsageError("The training images have one value of this truth, so they state no prior.")
        shares = np.diff(np.append(first, len(quantiles) - 1)[: len(edges)]) / (len(quantiles) - 1)
        shares[-1] += 1 - shares.sum()  # several quantiles at the highest value
        width = edges[-1] - edges[0]
        points = int(np.clip(4 * width / max(narrowest, 1e-300), POINTS, MOST_POINTS))
        values = edges[0] + width * (np.arange(points) + 0.5) / points
        place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(shares) - 1)
        return cls(values=values, density=(shares / np.diff(edges))[place])


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


def population_posterior(
    means: Array, widths: Array, prior: TrainingPrior, *, divide: bool = True, spread: float | None = None
) -> PopulationPosterior:
    """Return the posterior of a population, with a flat prior of its location and its spread.

    Args:
        means, widths: [N] means and standard deviations of the answers, one for each lens.
        prior: Distribution of the truth among the training images.
        divide: Whether the prior is divided out; without, the answer is biased towards the training images.
        spread: Known standard deviation of the population before it is cut off; None infers it.

    Raises:
        UsageError: There is no lens, or an answer is not a number with a width.
    """
    means, widths = np.asarray(means, np.float64), np.asarray(widths, np.float64)
    if not len(means) or not (np.isfinite(means).all() and (widths > 0).all() and np.isfinite(widths).all()):
        raise UsageError("A population needs at least one lens, each with a finite mean and a positive width.")
    values = prior.values
    log_single = -0.5 * ((values - means[:, None]) / widths[:, None]) ** 2
    if divide:
        log_single = log_single - np.log(prior.density)
    single = np.exp(log_single - log_single.max(1, keepdims=True))
    low, high = values[0], values[-1]
    places = np.linspace(low, high, LOCATIONS)
    scales = np.array([spread]) if spread else np.linspace(LEAST_SPREAD, 1.0, SPREADS) * (high - low)
    for last in range(PASSES):
        location, scale = (grid.ravel() for grid in np.meshgrid(places, scales, indexing="ij"))
        log_shape = -0.5 * ((values - location[:, None]) / scale[:, None]) ** 2
        shape = np.exp(log_shape - log_shape.max(1, keepdims=True))
        shape /= shape.sum(1, keepdims=True)
        log_weight = np.log(np.maximum(single @ shape.T, 1e-300)).sum(0)
        weights = np.exp(log_weight - log_weight.max())
        weights /= weights.sum()
        if last < PASSES - 1:
            places = _refined(places, location, weights, least=low, most=high)
            scales = scales if spread else _refined(scales, scale, weights, least=scales[0], most=scales[-1])
    middle = shape @ values
    deviation = np.sqrt(np.maximum(np.asarray(shape @ values**2 - middle**2), 0))
    return PopulationPosterior(lenses=len(means), means=middle, spreads=deviation, weights=weights)


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
