"""Response of a network: the distribution of its answers for a truth, measured on images of known truths."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.scores.response import Response

AT = np.linspace(0, 1, 9)


def shrunken(count, *, seed=0):
    """Return truths and answers of a network that are drawn towards .4, with errors that grow with the truth."""
    random = np.random.default_rng(seed)
    truth = random.uniform(0, 1, count)
    return truth, 0.4 + 0.5 * (truth - 0.4) + (0.05 + 0.1 * truth) * random.normal(size=count)


def test_mean_and_deviation_of_the_answers_are_those_they_were_drawn_with_up_to_the_ends():
    truth, answers = shrunken(20_000)
    found = Response.measured(answers, truth, AT)
    assert found.means == pytest.approx(0.2 + 0.5 * AT, abs=0.02)
    assert found.deviations == pytest.approx(0.05 + 0.1 * AT, abs=0.02)


def test_likelihoods_are_those_of_the_normal_distribution_of_each_truth():
    found = Response(truths=np.array([0.0, 1]), means=np.array([0.0, 2]), deviations=np.array([0.5, 0.5]))
    values = np.array([0.25, 0.5, 0.75])
    expected = np.exp(-0.5 * ((1.0 - 2 * values) / 0.5) ** 2)
    assert found.likelihoods(np.array([1.0]), values)[0] == pytest.approx(expected)


@pytest.mark.parametrize("offset", [-0.3, 0.2])
def test_a_network_that_is_wrong_by_a_constant_gives_the_likelihoods_of_one_that_is_not(offset):
    truth, answers = shrunken(2000)
    right, wrong = (Response.measured(answers + shift, truth, AT) for shift in (0, offset))
    given = np.array([0.3, 0.5])
    assert wrong.likelihoods(given + offset, AT) == pytest.approx(right.likelihoods(given, AT), rel=1e-6)


def test_whole_numbers_and_few_images_have_finite_responses():
    truth = np.repeat([1.0, 2, 3], 7)
    answers = truth + np.tile([-0.1, 0, 0.1, 0, 0, 0.05, -0.05], 3)
    found = Response.measured(answers, truth, np.array([1.0, 1, 2, 3, 3]))
    assert found.means == pytest.approx([1, 1, 2, 3, 3], abs=0.05)
    assert (found.deviations > 0).all()
    alone = Response.measured(np.array([1.0, 1.0]), np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    assert np.isfinite(alone.likelihoods(np.array([1.0, 9.0]), alone.grid())).all()


def test_the_grid_resolves_answers_that_are_exact():
    rough, exact = (
        Response(truths=np.array([0.0, 1]), means=np.array([0.0, 1]), deviations=np.full(2, deviation))
        for deviation in (0.2, 0.002)
    )
    assert len(rough.grid()) == 400
    assert np.diff(exact.grid()).max() < 0.002 / 2
