"""Losses of whole splits: one that is not finite is named with its time, also where every prediction is finite."""

import pytest
import torch
from torch import nn

from zoo.errors import TrainingError
from zoo.models.classifier import Classifier
from zoo.tasks.find import example_task
from zoo.train.validation import mean_loss


class WithLoss(nn.Sequential):
    """A network whose own loss overflows."""

    def loss(self, images, labels):
        return self(images).sum() * 0 + torch.inf


@pytest.mark.parametrize("kind", [nn.Sequential, WithLoss])
@pytest.mark.parametrize("name", ["classify", "regress"])
def test_a_loss_that_is_not_finite_is_named(kind, name):
    task = example_task(name)
    classifier = Classifier(kind(nn.Flatten(), nn.Linear(4, 3)), channels=1).eval()
    images = torch.zeros(2, 1, 2, 2)
    if name == "classify":
        predictions, labels = torch.tensor([[3e38, -3e38, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([1, 1])
    else:
        predictions, labels = torch.tensor([[3e38, 0.0], [0.0, 0.0]]), torch.zeros(2, 1)
    assert predictions.isfinite().all()
    with pytest.raises(TrainingError, match=r"Validation images after epoch 1: the loss is (inf|nan)"):
        mean_loss(classifier, [(images, labels)], task, predictions, labels, when="Validation images after epoch 1")
