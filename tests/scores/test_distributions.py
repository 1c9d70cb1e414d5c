"""Scores of predictive distributions, compared with integrals, sums over all pairs, and drawn truths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from zoo.errors import UsageError
from zoo.scores.distributions import FORMS, LEVELS, climatology, form_of

GAUSSIAN, QUANTILES, FLOW = FORMS["gaussian"], FORMS["quantiles"], FORMS["flow"]


def predictions(count=4000, *, seed=0, factor=1.0):
    """Return Gaussian predictions [N, 1, 2] whose widths are wrong by a factor, and truths [N, 1]."""
    random = np.random.default_rng(seed)
    mean, width = random.normal(3, 2, (count, 1)), random.uniform(0.2, 2, (count, 1))
    return np.stack([mean, np.log(width * factor)], -1), mean + width * random.normal(size=(count, 1))


def as_quantiles(answers):
    return answers[..., :1] + np.exp(answers[..., 1:]) * norm.ppf(LEVELS)


def as_flow(answers, *, shape=0.0):
    """Return flows with the identity as spline, or with that of a random shape."""
    spline = shape * np.random.default_rng(7).normal(size=FLOW.columns - 2)
    return np.concatenate([answers, np.broadcast_to(spline, (*answers.shape[:2], len(spline)))], -1)


def in_form(form, answers):
    """Return Gaussian predictions in another form."""
    return form.of_gaussian(*torch.from_numpy(answers).unbind(-1)).numpy()


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_gaussians_in_every_form_have_the_quantiles_of_the_normal_distribution(form):
    answers, _ = predictions(50)
    found = in_form(form, answers)
    assert found.shape == (50, 1, form.columns)
    mean, width = answers[..., 0], np.exp(answers[..., 1])
    assert form.middle(found) == pytest.approx(mean)
    for level in (0.68, 0.95):
        low, high = norm.interval(level, mean, width)
        assert np.array(form.interval(found, level)) == pytest.approx(np.array([low, high]))


@pytest.mark.parametrize(("mean", "width", "truth"), [(0, 1, 0.3), (2, 0.5, -1.0), (-1, 3, 4.0)])
def test_the_crps_of_a_gaussian_is_the_integral_that_defines_it(mean, width, truth):
    def square(x):
        return (norm.cdf(x, mean, width) - (x >= truth)) ** 2

    expected = quad(square, mean - 12 * width, truth)[0] + quad(square, truth, mean + 12 * width)[0]
    found = GAUSSIAN.crps(np.array([[[mean, np.log(width)]]]), np.array([[truth]]))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_quantiles_of_gaussians_score_nearly_as_the_gaussians():
    answers, truth = predictions()
    exact, close = GAUSSIAN.crps(answers, truth).mean(), QUANTILES.crps(as_quantiles(answers), truth).mean()
    assert close == pytest.approx(exact, rel=0.02)
    assert np.abs(GAUSSIAN.pit(answers, truth) - QUANTILES.pit(as_quantiles(answers), truth)).max() < 0.03


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
@pytest.mark.parametrize("level", [0.68, 0.95])
def test_intervals_of_true_distributions_hold_the_truth_as_often_as_they_state(form, level):
    answers, truth = predictions()
    low, high = form.interval(in_form(form, answers), level)
    share = ((low <= truth) & (truth <= high)).mean()
    assert share == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / len(truth)))


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_spread_undoes_a_wrong_width(form, factor):
    answers, truth = predictions(factor=factor)
    found = form.spread(in_form(form, answers), truth)
    assert found == pytest.approx([1 / factor], rel=0.05)


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_the_loss_is_least_for_the_true_distribution_and_has_no_unit(form):
    answers, truth = predictions(20_000)

    def loss(answers, truth, scale=1.0):
        given = in_form(form, answers)
        return float(form.loss(torch.tensor(given), torch.tensor(truth), torch.tensor([scale])))

    right = loss(answers, truth)
    for wrong in ([0.3, 0], [-0.3, 0], [0, 0.3], [0, -0.3]):
        assert loss(answers + np.array(wrong), truth) > right
    in_other_units = np.stack([1000 * answers[..., 0], answers[..., 1] + np.log(1000)], -1)
    assert loss(in_other_units, 1000 * truth, 1000.0) == pytest.approx(right, rel=1e-6)


def test_the_loss_of_mean_and_deviation_is_chance():
    truth = np.random.default_rng(0).exponential(3, (500, 1))
    answers = np.broadcast_to(np.array([truth.mean(), np.log(truth.std())]), (500, 1, 2))
    found = GAUSSIAN.loss(torch.tensor(answers), torch.tensor(truth), torch.tensor([truth.std()]))
    assert float(found) == pytest.approx(GAUSSIAN.chance)


def test_a_flow_with_the_identity_is_a_gaussian():
    answers, truth = predictions(500)
    flow = as_flow(answers)
    assert FLOW.crps(flow, truth) == pytest.approx(GAUSSIAN.crps(answers, truth), rel=2e-3, abs=1e-3)
    assert FLOW.pit(flow, truth) == pytest.approx(GAUSSIAN.pit(answers, truth), abs=1e-9)
    scale = torch.ones(1, dtype=torch.float64)
    losses = [form.loss(*map(torch.tensor, (a, truth)), scale) for form, a in ((FLOW, flow), (GAUSSIAN, answers))]
    assert float(losses[0]) == pytest.approx(float(losses[1]))


def test_a_flow_of_any_shape_is_a_density_whose_quantiles_are_those_of_its_distribution_function():
    grid = np.linspace(-9, 9, 20_001)[:, None]
    one = as_flow(np.zeros((1, 1, 2)), shape=2.0)
    many = np.repeat(one, len(grid), 0)
    function = FLOW.pit(many, grid)[:, 0]
    # The loss is the negative logarithm of the density, less ln(2 pi) / 2.
    scale = torch.ones(1, dtype=torch.float64)
    at = [float(FLOW.loss(torch.tensor(one), torch.tensor([[x]]), scale)) for x in grid[::100, 0]]
    density = np.exp(-np.array(at)) / np.sqrt(2 * np.pi)
    assert density == pytest.approx(np.gradient(function, grid[:, 0])[::100], rel=0.02, abs=2e-3)
    levels = np.array([0.025, 0.3, 0.5, 0.9])
    assert np.interp(FLOW.quantiles(one, levels)[0, 0], grid[:, 0], function) == pytest.approx(levels, abs=1e-4)
    assert np.abs(density - norm.pdf(grid[::100, 0])).max() > 0.05  # far from the Gaussian that a flow starts from


def test_climatology_is_the_crps_of_all_truths():
    truth = np.random.default_rng(0).exponential(size=(40, 2))
    distance = np.abs(truth[:, None] - truth[None])
    assert climatology(truth) == pytest.approx(distance.mean(0) - distance.mean((0, 1)) / 2)


def test_pits_beyond_the_outermost_quantiles_stay_within_0_and_1():
    answers = as_quantiles(np.zeros((2, 1, 2)))
    assert QUANTILES.pit(answers, np.array([[-9.0], [9.0]])).ravel().tolist() == pytest.approx([0.0125, 0.9875])


def test_quantiles_state_no_wider_interval_than_their_own():
    with pytest.raises(UsageError, match="widest"):
        QUANTILES.interval(np.zeros((1, 1, len(LEVELS))), 0.99)


def test_a_form_is_known_by_its_columns():
    assert all(form_of(form.columns) is form for form in FORMS.values())


def test_the_crps_of_quantiles_is_half_a_percent_too_low():
    """The figures of docs/tasks.md: a network that answers the quantiles of all truths has a skill of about .005."""
    truth = norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None]

    def skill(form, answer):
        constant = np.tile(answer, (len(truth), 1, 1))
        return 1 - form.crps(constant, truth).mean() / climatology(truth).mean()

    assert skill(QUANTILES, np.quantile(truth, LEVELS)) == pytest.approx(0.005, abs=0.001)
    assert abs(skill(GAUSSIAN, [truth.mean(), np.log(truth.std())])) < 5e-4
