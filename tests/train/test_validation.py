"""Predictions and losses of whole splits: progress, and a loss that is not finite is named with its time."""

import numpy as np
import pytest
import torch
from torch import nn

from zoo.data.loader import Batches
from zoo.data.split import Split
from zoo.errors import TrainingError
from zoo.models.classifier import Classifier
from zoo.tasks.find import example_task
from zoo.train.validation import mean_loss, predict


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


def test_predictions_report_how_many_images_are_done():
    images = np.zeros((5, 1, 2, 2), np.float32)
    split = Split(
        name="val", classes=("a", "b"), chunks=[images], labels=np.zeros(5, np.int64), ids=[str(i) for i in range(5)]
    )  # fmt: skip
    network = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), channels=1)
    told = []
    predict(
        network, Batches(split, device=torch.device("cpu")), when="now", batch_size=2,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(2, 5), (4, 5), (5, 5)]
