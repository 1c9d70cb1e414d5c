"""Temperature: found again where it is known, with an AUC that two classes keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zoo.scores.calibration import HIGHEST, LOWEST, calibrated_scores, fit_temperature
from zoo.scores.score import score


def drawn(classes, *, images=20_000, seed=0):
    """Return logits and labels that are drawn with the probabilities of these logits."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(images, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return logits, labels


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_temperature_of_scaled_logits_is_found(temperature, classes):
    logits, labels = drawn(classes)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.03)


def test_it_is_the_minimum_on_a_grid():
    logits, labels = drawn(3, images=300)
    found = fit_temperature(3 * logits, labels)
    grid = np.exp(np.linspace(math.log(LOWEST), math.log(HIGHEST), 4001))
    losses = [float(torch.nn.functional.cross_entropy(3 * logits / each, labels)) for each in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)


def test_answers_without_a_mistake_or_without_sense_stay_within_the_limits():
    labels = torch.arange(30) % 3
    right = torch.nn.functional.one_hot(labels, 3).float()
    assert fit_temperature(right, labels) == pytest.approx(LOWEST, rel=1e-3)
    assert fit_temperature(-right, labels) == pytest.approx(HIGHEST, rel=1e-3)


def test_scores_of_overconfident_answers_improve_and_two_classes_keep_their_auc():
    for classes in (2, 3):
        names = [str(k) for k in range(classes)]
        logits, labels = drawn(classes, images=3000)
        plain = score(5 * logits, labels, names)
        calibrated = calibrated_scores(5 * logits, labels, names, temperature=5.0)
        assert calibrated.log_loss < plain.log_loss
        assert calibrated.ece < 0.03 < plain.ece
        assert calibrated.brier < plain.brier
        if classes == 2:
            assert calibrated.macro_auc == plain.macro


def test_three_classes_can_change_their_order():
    # The third class takes more from the first image than from the second where the temperature is high.
    logits = torch.tensor([[0.0, 0.0, -20.0], [0.4, -0.5, -0.5]], dtype=torch.float64)
    for temperature, first_is_higher in ((1.0, False), (20.0, True)):
        probability = (logits / temperature).softmax(1)[:, 0]
        assert bool(probability[0] > probability[1]) == first_is_higher
