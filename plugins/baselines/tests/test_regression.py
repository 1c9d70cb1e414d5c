"""Regressions on scalars, compared with scikit-learn and with what they state of their own errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from zoo_baselines.plugin import zoo_models

from zoo.data.split import Split
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.models.network import build_network
from zoo.models.own_fit import ImagesToFit, SplitsToFit
from zoo.scores.distributions import FORMS
from zoo.scores.scalars import scalars_of
from zoo.testing import Options, check, require_passed

NAMES = ("scalars_ridge", "scalars_boosted_regression")
HOST = load_plugins(environment={})


def split(name, count, *, targets):
    """Return spots whose width and brightness are the truths."""
    random = np.random.default_rng(len(name))
    y, x = np.mgrid[:12, :12] - 5.5
    truth = random.uniform(1, 2, (count, targets)) * 1e6
    width, peak = truth[:, 0, None, None] / 1e6, truth[:, -1, None, None] / 1e6
    pixels = peak * np.exp(-(x**2 + y**2) / (2 * width**2)) + 0.02 * random.normal(size=(count, 12, 12))
    whole = Split(
        name=name, classes=("a", "b"), chunks=[pixels[:, None].astype(np.float32)],
        labels=np.zeros(count, np.int64), ids=[f"{name}-{i}" for i in range(count)], targets=truth,
    )  # fmt: skip
    return ImagesToFit(whole, device=torch.device("cpu"))


def fitted(name, *, targets=1, outputs=None, **hparams):
    spec = next(spec for spec in zoo_models() if spec.name == name)
    splits = SplitsToFit(
        train=split("train", 300, targets=targets), val=split("val", 100, targets=targets), params={},
        instrument=None, recipe_hash="", seed=5,
    )  # fmt: skip
    network = build_network(spec, in_chans=1, num_classes=outputs or 2 * targets, image_size=12, hparams=hparams)
    network.fit_splits(splits)
    return network, splits


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_kit_accepts_every_regression(name):
    options = Options(sizes=(16,), channels=(1,), classes=(3,), trainings=False)
    require_passed(check(HOST, f"baselines/{name}", options=options))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("targets", [1, 2])
def test_truths_are_found_with_the_error_that_is_stated(name, targets):
    network, splits = fitted(name, targets=targets)
    images, truth = next(splits.val.batches(100))
    answers = network(images).reshape(len(images), targets, 2).double()
    errors = truth.double() - answers[..., 0]
    assert (errors.var(0) < 0.15 * truth.double().var(0)).all()
    assert answers[0, :, 1].exp().tolist() == pytest.approx(errors.square().mean(0).sqrt().tolist(), rel=1e-3)


def test_ridge_and_trees_are_those_of_scikit_learn():
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge

    ridge, splits = fitted("scalars_ridge", strength=0.1)
    images, truth = next(splits.train.batches(300))
    columns, wanted = scalars_of(images).double(), (truth.double() - ridge.centre.double()) / ridge.scale.double()
    seen = ((columns - ridge.middle.double()) * ridge.inverse.double()).clamp(-10, 10)
    expected = Ridge(alpha=10, fit_intercept=False).fit(seen.numpy(), wanted.numpy()).predict(seen.numpy())
    assert ridge.standardised(columns).ravel().tolist() == pytest.approx(expected.ravel().tolist(), abs=1e-6)
    boosted, _ = fitted("scalars_boosted_regression", trees=20)
    model = HistGradientBoostingRegressor(
        max_iter=20, max_leaf_nodes=15, max_depth=8, learning_rate=0.05, max_features=0.3, l2_regularization=10,
        min_samples_leaf=12, early_stopping=False, random_state=5,
    )  # fmt: skip
    expected = model.fit(columns.float().numpy(), wanted[:, 0].numpy()).predict(columns.float().numpy())
    assert boosted.standardised(columns).ravel().tolist() == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_in_float32_answers_the_same(name):
    """Golden predictions are those of such a copy."""
    network, splits = fitted(name)
    images, _ = next(splits.val.batches(100))
    before = network(images)
    assert torch.allclose(network.float()(images), before, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_answers_of_every_form_are_those_of_the_gaussians(name, form):
    gaussians, splits = fitted(name, targets=2)
    network, _ = fitted(name, targets=2, outputs=2 * form.columns)
    images, truth = next(splits.val.batches(100))
    expected, found = (one(images).reshape(100, 2, -1).double().detach().numpy() for one in (gaussians, network))
    low, high = form.interval(found, 0.68)
    reach = ndtri(0.84) * np.exp(expected[..., 1])
    assert form.middle(found) == pytest.approx(expected[..., 0], rel=1e-5)
    assert (high - low) == pytest.approx(2 * reach, rel=1e-4)
    of_gaussians = FORMS["gaussian"].crps(expected, truth.double().numpy())
    assert form.crps(found, truth.double().numpy()) == pytest.approx(
        of_gaussians, rel=0.05, abs=0.02 * of_gaussians.max()
    )


def test_numbers_of_other_truths_are_refused():
    with pytest.raises(UsageError, match="not 3 numbers"):
        fitted("scalars_ridge", outputs=3)
    with pytest.raises(UsageError, match="22 numbers for 2 truths with answers of the form quantiles, not for 1"):
        fitted("scalars_ridge", outputs=22)


@pytest.mark.parametrize(
    ("name", "hparams"),
    [("scalars_ridge", {"strength": 0}), ("scalars_boosted_regression", {"trees": 0}),
     ("scalars_boosted_regression", {"rate": 2.0})],
)  # fmt: skip
def test_impossible_hyper_parameters_are_refused(name, hparams):
    with pytest.raises(UsageError, match=next(iter(hparams))):
        fitted(name, **hparams)
