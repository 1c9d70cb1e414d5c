"""Scores of anomaly detection against scikit-learn, binormal scores and DeLong's variance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from zoo.data.question import Question
from zoo.scores.stats import auc_components
from zoo.tasks.anomaly import LEAST_RATE, Anomaly, Curve

TASK = Anomaly(Question(classes=("plain", "a", "b"), merged=(0, 1, 2), trained_on=(0,)), name="anomaly")


def drawn(images, *, shift=1.0, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(images) % 3
    return random.normal(size=images) + shift * labels, labels


def scored(scores, labels):
    return TASK.score(torch.from_numpy(scores)[:, None], torch.from_numpy(labels))


def test_areas_and_precision_are_those_of_scikit_learn():
    scores, labels = drawn(900)
    found = scored(scores, labels).measures
    assert found["auroc"].value == pytest.approx(roc_auc_score(labels > 0, scores))
    assert found["aupr"].value == pytest.approx(average_precision_score(labels > 0, scores))
    for k, name in ((1, "a"), (2, "b")):
        these = (labels == 0) | (labels == k)
        assert found[f"auroc.{name}"].value == pytest.approx(roc_auc_score(labels[these] == k, scores[these]))
    for one in found.values():
        assert one.interval is not None
        assert one.interval[0] <= one.value <= one.interval[1]


def test_weights_and_ties_are_those_of_scikit_learn():
    random = np.random.default_rng(2)
    scores, positive = random.integers(0, 30, 500).astype(float), random.random(500) < 0.4
    weights = random.integers(0, 4, 500).astype(float)
    curve = Curve(scores, positive)
    found = curve.scores(weights[curve.order])
    assert found["aupr"] == pytest.approx(average_precision_score(positive, scores, sample_weight=weights))
    false_rate, true_rate, _ = roc_curve(positive, scores, sample_weight=weights)
    assert found["tpr_at_fpr_0.01"] == pytest.approx(np.interp(0.01, false_rate, true_rate))


def test_rates_are_those_of_two_normal_distributions():
    random = np.random.default_rng(1)
    positive = np.arange(400_000) % 2 == 1
    scores = random.normal(size=len(positive)) + 2.0 * positive
    found = Curve(scores, positive).scores(np.ones(len(scores)), lowest=True)
    for rate in (0.01, 0.001):
        assert found[f"tpr_at_fpr_{rate:g}"] == pytest.approx(norm.sf(norm.isf(rate) - 2), abs=0.01)
    grid = np.linspace(LEAST_RATE, 1, 100_000)
    best = (norm.sf(norm.isf(grid) - 2) / np.sqrt(grid)).max()
    assert found["significance"] == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize(("images", "there"), [(900, False), (30_000, True)])
def test_the_lowest_rate_needs_ten_thousand_normal_images(images, there, monkeypatch):
    monkeypatch.setattr("zoo.tasks.anomaly.RESAMPLES", 4)
    assert ("tpr_at_fpr_0.001" in scored(*drawn(images)).measures) is there


def test_the_bootstrap_covers_the_spread_between_samples():
    """The width of an interval is that of the values of other images of the same kind."""
    samples = [drawn(600, seed=seed) for seed in range(60)]
    values = [Curve(scores, labels > 0).scores(np.ones(600))["tpr_at_fpr_0.01"] for scores, labels in samples]
    low, high = scored(*drawn(600, seed=100)).measures["tpr_at_fpr_0.01"].interval
    assert 0.5 < (high - low) / (2 * 1.96 * np.std(values)) < 2


def test_chance_has_the_scores_of_chance():
    scores, labels = drawn(3_000, shift=0.0, seed=3)
    found = scored(scores, labels).measures
    assert found["auroc"].interval[0] < 0.5 < found["auroc"].interval[1]
    assert found["aupr"].interval[0] < 2 / 3 < found["aupr"].interval[1]


def test_contributions_are_the_components_of_the_areas():
    scores, labels = drawn(300)
    found = TASK.contributions(scores[:, None], labels)
    assert (found.names, found.labels[-1]) == (("a", "b", "macro"), "AUROC")
    area, components = auc_components(scores, labels > 0)
    assert found.values[-1] == area
    assert found.components[-1] == pytest.approx(components)
    assert not found.components[0][labels == 2].any()


def test_two_classes_have_one_area():
    task = Anomaly(Question(classes=("a", "plain"), merged=(0, 1), trained_on=(1,)), name="anomaly")
    scores, labels = torch.tensor([[3.0], [1.0], [2.0], [0.0]]), torch.tensor([0, 1, 0, 1])
    found = task.score(scores, labels)
    assert list(found.in_order)[:2] == ["auroc", "aupr"]
    assert found.headline.value == 1.0
    assert list(task.rocs(scores.numpy(), labels.numpy())) == ["any anomaly"]


def test_shifted_normal_images_are_compared_with_plain_ones():
    scores, labels = drawn(900)
    for shift, expected in ((0.0, 0.5), (1.0, norm.cdf(1 / np.sqrt(2)))):
        again, _ = drawn(900, seed=7)
        found = TASK.shift((scores[:, None], labels), (again[:, None] + shift, labels))["auroc_nuisance"]
        assert found.interval[0] < expected < found.interval[1]
