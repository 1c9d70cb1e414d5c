"""Answers of a trained classifier that are not finite: never a class."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zoo.errors import TrainingError
from zoo.models.trained import TrainedClassifier, share_below


class Odd(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, images):
        logits = images.flatten(1)[:, :3].clone()
        logits[images.amax((1, 2, 3)) > 5, 1] = self.value
        return logits


@pytest.mark.parametrize("average", ["none", "d4"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_answer_that_is_not_finite_is_refused(value, average):
    about = SimpleNamespace(
        image_shape=(1, 2, 2),
        classes=("no_substructure", "b", "c"),
        model="toy/odd",
        temperature=2.0,
        outputs=None,
        recipe=SimpleNamespace(channels={}),
    )
    trained = TrainedClassifier(Odd(value), about=about)
    images = np.array([[[[1.0, 2.0], [3.0, 4.0]]], [[[1.0, 9.0], [3.0, 4.0]]]], np.float32)
    found = trained.answers(images, average=average)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
    with pytest.raises(TrainingError, match="toy/odd has no finite answer for 1 of 2 images; the first is image 1"):
        trained.predict_proba(images, average=average)
    uncalibrated = trained.predict_proba(images[:1], average=average, calibrated=False)
    assert uncalibrated == pytest.approx(found[:1])
    assert trained.predict_proba(images[:1], average=average).max() < uncalibrated.max()


@pytest.mark.parametrize(
    ("sample", "answers", "shares"),
    [
        ([3.0] * 9, [2.9, 3.0, 3.1], [0, 0, 1]),
        ([0.0, 1.0, 2.0, 3.0, 4.0], [-1.0, 0.0, 1.0, 2.5, 4.0, 5.0], [0, 0, 0.25, 0.625, 1, 1]),
        ([0.0, 1.0, 1.0, 1.0, 2.0], [1.0, 1.5], [0.25, 0.875]),
        ([1e-43, 2e-43, 3e37], [1e-43, 2e-43, 1e38], [0, 0.5, 1]),
    ],
)
def test_the_share_below_an_answer_counts_lower_ones_only(sample, answers, shares):
    np.testing.assert_allclose(share_below(sample, np.array(answers)), shares, atol=1e-12)
