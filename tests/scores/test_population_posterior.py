"""Posterior of a population, compared with the closed form of Gaussians and with populations that are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.errors import UsageError
from zoo.scores.population_posterior import TrainingPrior, population_posterior, weighted_quantiles

PRIOR, NOISE, SPREAD = 1.0, 0.8, 0.5
"""Standard deviations of the training images, of an image's likelihood, and of the population."""


def normal_prior():
    values = np.linspace(-6, 6, 401)
    return TrainingPrior(values=values, density=np.exp(-(values**2) / (2 * PRIOR**2)))


def answers(count, *, mean=0.7, seed=0):
    """Return what a perfect network answers for lenses of a population, and the data that it saw."""
    random = np.random.default_rng(seed)
    data = random.normal(mean, SPREAD, count) + random.normal(0, NOISE, count)
    shrunk = PRIOR**2 / (PRIOR**2 + NOISE**2)
    return shrunk * data, np.full(count, NOISE * np.sqrt(shrunk)), data


def test_gaussians_give_the_closed_form():
    means, widths, data = answers(40)
    found = population_posterior(means, widths, normal_prior(), spread=SPREAD)
    error = np.sqrt((SPREAD**2 + NOISE**2) / len(data))
    assert found.mean() == pytest.approx(data.mean(), abs=1e-3)
    assert found.interval(0.68) == pytest.approx(data.mean() + 0.99446 * error * np.array([-1, 1]), abs=3e-3)
    assert found.interval(0.95) == pytest.approx(data.mean() + 1.95996 * error * np.array([-1, 1]), abs=4e-3)


def test_the_product_of_posteriors_is_biased_towards_the_training_images():
    means, widths, data = answers(400)
    naive = population_posterior(means, widths, normal_prior(), divide=False, spread=SPREAD)
    shrunk = PRIOR**2 / (PRIOR**2 + NOISE**2)
    assert naive.mean() == pytest.approx(shrunk * data.mean(), abs=1e-2)
    assert naive.interval(0.95)[1] < 0.7 - 0.1
    right = population_posterior(means, widths, normal_prior(), spread=SPREAD).interval(0.95)
    assert right[0] < 0.7 < right[1]


def test_intervals_of_mean_and_spread_hold_those_of_the_population():
    inside = {0.68: 0, 0.95: 0}
    spread = 0
    for seed in range(24):
        means, widths, _ = answers(60, seed=seed)
        found = population_posterior(means, widths, normal_prior())
        for level in inside:
            low, high = found.interval(level)
            inside[level] += low <= 0.7 <= high
        low, high = found.spread_interval(0.95)
        spread += low <= SPREAD <= high
    assert 8 < inside[0.68] < 24
    assert inside[0.95] >= 19
    assert spread >= 19


def test_a_prior_of_quantiles_has_the_density_of_the_training_images():
    truth = np.random.default_rng(0).exponential(size=20_000)
    found = TrainingPrior.of_quantiles(np.quantile(truth, np.linspace(0, 1, 33)), narrowest=0.05)
    step = found.values[1] - found.values[0]
    assert found.density.sum() * step == pytest.approx(1, abs=0.02)
    middle = (found.values > 0.2) & (found.values < 2)
    assert found.density[middle] == pytest.approx(np.exp(-found.values[middle]), rel=0.15)


@pytest.mark.parametrize("quantiles", [[0, 0, 0, 1, 2, 2, 2], [0, 1, 1, 1, 2, 2, 2, 3, 3]])
def test_equal_quantiles_of_whole_numbers_keep_all_of_the_probability(quantiles):
    found = TrainingPrior.of_quantiles(np.array(quantiles, float), narrowest=1.0)
    assert found.density.sum() * (found.values[1] - found.values[0]) == pytest.approx(1, abs=0.02)
    assert (found.density > 0).all()


def test_answers_that_are_narrow_or_far_outside_have_a_finite_posterior():
    found = population_posterior(np.array([50.0, 0.1]), np.array([1e-3, 1e-3]), normal_prior())
    assert np.isfinite(found.weights).all()
    assert found.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(("means", "widths"), [([], []), ([np.nan], [1.0]), ([1.0], [0.0])])
def test_what_is_no_answer_is_refused(means, widths):
    with pytest.raises(UsageError, match="at least one lens"):
        population_posterior(np.array(means), np.array(widths), normal_prior())


def test_one_value_is_no_prior():
    with pytest.raises(UsageError, match="one value"):
        TrainingPrior.of_quantiles(np.ones(5), narrowest=1.0)


def test_weighted_quantiles_are_those_of_repeated_values():
    values, times = np.array([3.0, 1.0, 2.0]), np.array([100, 300, 600])
    found = weighted_quantiles(values, times / times.sum(), np.array([0.15, 0.6]))
    assert found.tolist() == pytest.approx([1.0, 2.0])
