"""Scores: the AUC that is reported is the share of pairs that are won, and none where there is no pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from zoo.scores.score import one_vs_rest_auc, score

CLASSES = ("a", "b", "c")


def draw(labels, *, seed=0):
    """Return logits and labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(len(labels), 3, generator=generator)
    return logits, torch.tensor(labels)


def mann_whitney(values: np.ndarray, positive: np.ndarray) -> float:
    """Return U / (n_1 n_0), by ranks."""
    ranks, count = rankdata(values), positive.sum()
    return (ranks[positive].sum() - count * (count + 1) / 2) / (count * (~positive).sum())


def test_auc_is_the_share_of_pairs_won():
    logits, labels = draw([0] * 90 + [1] * 40 + [2] * 70)
    auc = score(logits, labels, CLASSES).auc
    probabilities = np.exp(logits.double().numpy())
    probabilities /= probabilities.sum(1, keepdims=True)
    expected = [mann_whitney(probabilities[:, k], labels.numpy() == k) for k in range(3)]
    assert [auc[name] for name in CLASSES] == pytest.approx(expected, abs=1e-6)
    assert auc["macro"] == pytest.approx(np.mean(expected), abs=1e-6)
    one_hot = labels.numpy()[:, None] == np.arange(3)
    assert auc["micro"] == pytest.approx(mann_whitney(probabilities.ravel(), one_hot.ravel()), abs=1e-6)


@pytest.mark.filterwarnings("ignore:No (positive|negative) samples", "ignore:All-NaN slice")
def test_a_class_without_images_has_no_auc():
    """And not 0, which would say that every pair was lost."""
    logits, labels = draw([0, 1] * 30)
    auc = score(logits, labels, CLASSES).auc
    assert math.isnan(auc["c"])
    assert math.isnan(auc["macro"])
    assert auc["a"] == pytest.approx(mann_whitney(logits.softmax(1)[:, 0].numpy(), labels.numpy() == 0), abs=0.02)
    assert one_vs_rest_auc(logits[::2].softmax(1), labels[::2]).isnan().all()


def test_the_brier_score_is_summed_over_the_classes():
    """Brier 1950: 0 for certain and right, 2 for certain and wrong, 1 - 1/K for equal probabilities."""
    sure = 100 * torch.eye(3)
    labels = torch.arange(3)
    for logits, expected in ((sure, 0.0), (sure.roll(1, 0), 2.0), (torch.zeros(3, 3), 2 / 3)):
        assert score(logits, labels, ["a", "b", "c"]).brier == pytest.approx(expected)
    mixed = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.25, 0.5, 0.25]])
    by_hand = ((0.3**2 + 0.2**2 + 0.1**2) + (0.3**2 + 0.7**2 + 0.4**2) + (0.25**2 + 0.5**2 + 0.75**2)) / 3
    assert score(mixed.log(), labels, ["a", "b", "c"]).brier == pytest.approx(by_hand)
