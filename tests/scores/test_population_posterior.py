"""Posterior of a population, compared with the closed form of Gaussians and with populations that are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.errors import UsageError
from zoo.scores.population_posterior import population_posterior, weighted_quantiles
from zoo.scores.response import Response

NOISE, SPREAD = 0.8, 0.5
"""Standard deviations of an image's likelihood, and of the population."""
TRUTHS = np.linspace(-6, 6, 401)


def data(count, *, mean=0.7, seed=0):
    """Return data of lenses of a population."""
    random = np.random.default_rng(seed)
    return random.normal(mean, SPREAD, count) + random.normal(0, NOISE, count)


def likelihoods(seen):
    return np.exp(-0.5 * ((seen[:, None] - TRUTHS) / NOISE) ** 2)


def test_gaussians_give_the_closed_form():
    seen = data(40)
    found = population_posterior(likelihoods(seen), TRUTHS, spread=SPREAD)
    error = np.sqrt((SPREAD**2 + NOISE**2) / len(seen))
    assert found.mean() == pytest.approx(seen.mean(), abs=1e-3)
    assert found.interval(0.68) == pytest.approx(seen.mean() + 0.99446 * error * np.array([-1, 1]), abs=3e-3)
    assert found.interval(0.95) == pytest.approx(seen.mean() + 1.95996 * error * np.array([-1, 1]), abs=4e-3)


def test_answers_that_are_drawn_towards_the_training_images_give_the_population_all_the_same():
    """A perfect network answers the mean of its posterior under a prior of width 1 about 0, a shrunken estimate."""
    shrunk = 1 / (1 + NOISE**2)
    random = np.random.default_rng(1)
    known = random.normal(size=4000)
    response = Response.measured(shrunk * (known + random.normal(0, NOISE, 4000)), known, np.linspace(-2.5, 2.5, 33))
    answers = shrunk * data(400)
    truths = response.grid()
    found = population_posterior(response.likelihoods(answers, truths), truths, spread=SPREAD)
    low, high = found.interval(0.95)
    assert low < 0.7 < high
    assert answers.mean() < low
    product = np.exp(-0.5 * ((answers[:, None] - truths) / (NOISE * np.sqrt(shrunk))) ** 2)
    assert population_posterior(product, truths, spread=SPREAD).interval(0.95)[1] < 0.7


def test_intervals_of_mean_and_spread_hold_those_of_the_population():
    inside = {0.68: 0, 0.95: 0}
    spread = 0
    for seed in range(24):
        found = population_posterior(likelihoods(data(60, seed=seed)), TRUTHS)
        for level in inside:
            low, high = found.interval(level)
            inside[level] += low <= 0.7 <= high
        low, high = found.spread_interval(0.95)
        spread += low <= SPREAD <= high
    assert 8 < inside[0.68] < 24
    assert inside[0.95] >= 19
    assert spread >= 19


def test_likelihoods_that_are_narrow_or_at_the_end_have_a_finite_posterior():
    narrow = np.zeros((2, len(TRUTHS)))
    narrow[0, -1] = narrow[1, 200] = 1e-200
    found = population_posterior(narrow, TRUTHS)
    assert np.isfinite(found.weights).all()
    assert found.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("wrong", [np.zeros((0, 5)), np.full((1, 5), np.nan), np.zeros((1, 5))])
def test_what_is_no_likelihood_is_refused(wrong):
    with pytest.raises(UsageError, match="at least one lens"):
        population_posterior(wrong, np.arange(5.0))


def test_weighted_quantiles_are_those_of_repeated_values():
    values, times = np.array([3.0, 1.0, 2.0]), np.array([100, 300, 600])
    found = weighted_quantiles(values, times / times.sum(), np.array([0.15, 0.6]))
    assert found.tolist() == pytest.approx([1.0, 2.0])
