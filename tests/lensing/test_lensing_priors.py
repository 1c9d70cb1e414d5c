"""Priors against scipy's distributions, and what is said about texts that are none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zoo.errors import UsageError
from zoo.lensing.draws import Draws
from zoo.lensing.priors import Prior, parse_prior

MANY = 40_000


def sample(text: object, *, slots: int = 1) -> np.ndarray:
    return parse_prior(text, name="quantity").draw(Draws("s", np.arange(MANY)), "quantity", slots=slots)


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("U(0.4, 0.6)", stats.uniform(0.4, 0.2)),
        ("-2:3", stats.uniform(-2, 5)),
        ("LogU(1e-24, 1e-22)", stats.loguniform(1e-24, 1e-22)),
        ("Normal(0, 0.5)", stats.norm(0, 0.5)),
        ("Normal(-3, 2)", stats.norm(-3, 2)),
    ],
)
def test_continuous_forms_follow_their_distribution(text, distribution):
    values = sample(text, slots=2)
    assert values.shape == (MANY, 2)
    for column in values.T:
        assert stats.kstest(column, distribution.cdf).pvalue > 1e-3
    assert abs(stats.spearmanr(*values.T).statistic) < 4.5 / np.sqrt(MANY)


@pytest.mark.parametrize("mean", [0.1, 3.5, 25, 4000])
def test_poisson_follows_its_distribution(mean):
    values = sample(f"Poisson({mean})")[:, 0]
    assert (values == np.round(values)).all()
    assert values.mean() == pytest.approx(mean, abs=4.5 * np.sqrt(mean / MANY))
    low, high = stats.poisson(mean).ppf([1e-3, 1 - 1e-3]).astype(int)
    counts = [(values == k).sum() for k in range(low, high + 1)]
    expected = list(MANY * stats.poisson(mean).pmf(np.arange(low, high + 1)))
    counts.append(MANY - sum(counts))
    expected.append(MANY - sum(expected))
    assert stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3.0), (2.5, 2.5), ("1e12", 1e12), (" -4 ", -4.0), ("U(2, 2)", 2.0)]
)
def test_a_single_value_is_that_value(value, expected):
    assert (sample(value, slots=3) == expected).all()


def test_normal_without_width_is_its_mean():
    assert (sample("Normal(7, 0)") == 7).all()


@pytest.mark.parametrize("text", ["U(0, 1)", "LogU(1, 9)", "Normal(0, 1)", "Poisson(5)"])
def test_values_belong_to_image_and_slot_not_to_the_batch(text):
    prior = parse_prior(text, name="quantity")
    every = prior.draw(Draws("s", np.arange(50)), "quantity", slots=4)
    some = prior.draw(Draws("s", [41, 3]), "quantity", slots=2)
    np.testing.assert_array_equal(some, every[[41, 3], :2])


@pytest.mark.parametrize(
    ("text", "form", "arguments"),
    [
        ("U(0, 1)", "U", (0, 1)),
        ("u(0,1)", "U", (0, 1)),
        ("  U ( -1.5 , +2e1 ) ", "U", (-1.5, 20)),
        ("0:1", "U", (0, 1)),
        ("-1e-3 : 1e3", "U", (-1e-3, 1e3)),
        ("LOGU(1, 2)", "LogU", (1, 2)),
        ("normal(0, 1)", "Normal", (0, 1)),
        ("poisson(25)", "Poisson", (25,)),
        (np.float64(0.25), "Fixed", (0.25,)),
        (np.int64(4), "Fixed", (4,)),
    ],
)
def test_what_is_read(text, form, arguments):
    assert parse_prior(text, name="q") == Prior(form=form, arguments=arguments)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_range_and_written_form_are_the_same(low, width):
    high = low + width
    assert parse_prior(f"{low!r}:{high!r}", name="q") == parse_prior(f"U({low!r}, {high!r})", name="q")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Norml(0, 1)", "Did you mean 'Normal'?"),
        ("LogUU(1, 2)", "Did you mean 'LogU'?"),
        ("poison(3)", "Did you mean 'Poisson'?"),
        ("Gauss(0, 1)", "unknown prior 'Gauss'.\nPriors are: U(a, b), LogU(a, b), Normal(a, b), Poisson(a)."),
        ("bright", "quantity='bright' is not a number or a prior.\nPriors are:"),
        ("", "is not a number or a prior"),
        ("1:2:3", "is not a number or a prior"),
        ("1:", "is not a number or a prior"),
        ("U(0, 1", "is not a number or a prior"),
        ("U(0, 1) + 1", "is not a number or a prior"),
        (True, "quantity='True' is not a number or a prior"),
        (None, "quantity='None' is not a number or a prior"),
        ([1, 2], "is not a number or a prior"),
        ("U(1)", "U takes 2 numbers"),
        ("U(1, 2, 3)", "U takes 2 numbers"),
        ("U()", "U takes 2 numbers"),
        ("U(a, b)", "U takes 2 numbers"),
        ("Poisson(1, 2)", "Poisson takes 1 number"),
        ("U(2, 1)", "quantity: U(2, 1) has its lower end above its upper end."),
        ("2:1", "quantity: U(2, 1) has its lower end above its upper end."),
        ("LogU(0, 1)", "LogU(0, 1) must be positive"),
        ("LogU(-1, 1)", "LogU(-1, 1) must be positive"),
        ("LogU(2, 1)", "lower end above its upper end"),
        ("Normal(0, -1)", "Normal(0, -1) has a negative width"),
        ("Poisson(0)", "needs a mean above 0 and at most 10000"),
        ("Poisson(-5)", "needs a mean above 0 and at most 10000"),
        ("Poisson(10001)", "needs a mean above 0 and at most 10000"),
        ("nan", "must be finite"),
        (float("inf"), "Fixed(inf) must be finite"),
        ("U(0, inf)", "must be finite"),
        ("Normal(nan, 1)", "must be finite"),
    ],
)
def test_impossible_priors_say_what_is_wrong(value, message):
    with pytest.raises(UsageError) as caught:
        parse_prior(value, name="quantity")
    assert message in str(caught.value)
    assert "quantity" in str(caught.value)
