"""Predictions and losses of whole splits: progress, and a loss that is not finite is named with its time."""

import numpy as np
import pytest
import torch
from torch import nn

from zoo.data.loader import Batches
from zoo.data.split import Split
from zoo.errors import TrainingError
from zoo.models.classifier import Classifier
from zoo.scores.equivariance import measure_equivariance
from zoo.scores.score import inference_rate
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


def test_the_loss_of_a_network_is_computed_in_parts_where_memory_runs_out():
    class Small(nn.Sequential):
        def loss(self, images, labels):
            if len(images) > 3:
                raise torch.OutOfMemoryError(f"no room for {len(images)} images")
            return (images.flatten(1).sum(1) * labels).mean()

    classifier = Classifier(Small(nn.Flatten(), nn.Linear(4, 2)), channels=1).eval()
    images, labels = torch.randn(7, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(7)
    found = mean_loss(classifier, [(images, labels)], example_task("classify"), images, labels, when="now")
    assert found == pytest.approx(float((images.flatten(1).sum(1) * labels).mean()), rel=1e-5)


def test_even_one_image_may_be_too_much_for_a_loss():
    class Full(nn.Sequential):
        def loss(self, images, labels):
            raise torch.OutOfMemoryError("no room")

    classifier = Classifier(Full(nn.Flatten(), nn.Linear(4, 2)), channels=1).eval()
    images, labels = torch.zeros(5, 1, 2, 2), torch.arange(5)
    with pytest.raises(torch.OutOfMemoryError, match="even one image is too much"):
        mean_loss(classifier, [(images, labels)], example_task("classify"), images, labels, when="now")


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


def test_rate_and_equivariance_are_measured_where_memory_runs_out():
    """A training that was rescued by parts of a batch would be lost by these, before and after it."""

    class Small(nn.Sequential):
        largest = 0

        def forward(self, images):
            if len(images) > 3:
                raise torch.OutOfMemoryError(f"no room for {len(images)} images")
            self.largest = max(self.largest, len(images))
            return super().forward(images)

    network = Small(nn.Flatten(), nn.Linear(64, 3))
    images = torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert inference_rate(network, images, seconds=0.0) > 0
    found = measure_equivariance(network, images, None, when="now", name=str)
    network.forward = lambda images: nn.Sequential.forward(network, images)
    assert found == measure_equivariance(network, images, None, when="now", name=str)
    assert network.largest == 3
