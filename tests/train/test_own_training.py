"""Networks that bring their own loss or optimisers: which they are, what they are refused for, and their rates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoo.errors import TrainingError, UsageError
from zoo.models.classifier import Classifier
from zoo.models.own_training import has_loss, own_losses, own_optimizers, trains_in_turns
from zoo.models.trial import try_network
from zoo.plan.settings import TrainingSettings
from zoo.train.fabric import make_fabric
from zoo.train.optimizers import Rates, make_optimizers

CPU = torch.device("cpu")


class Plain(nn.Module):
    """A network with a criterion in an attribute of the contract's name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.flatten(1))[:, 0]


class Own(Plain):
    def __init__(self, value: object = None) -> None:
        nn.Module.__init__(self)
        self.layer = nn.Linear(4, 1)
        self.value = value

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return self(images).square().mean() if self.value is None else self.value


class Turns(Own):
    """The first turn changes the weight, the second the bias."""

    def optimizers(self, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD([self.layer.weight], lr=lr), torch.optim.SGD([self.layer.bias], lr=lr / 10)]

    def training_losses(self, images: Tensor, labels: Tensor, turn: int) -> Tensor:
        return self.loss(images, labels) * (1 + turn)


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 1, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("network", "loss", "turns"), [(Plain, False, False), (Own, True, False), (Turns, True, True)])
def test_the_methods_of_the_class_decide(network: type[nn.Module], loss: bool, turns: bool) -> None:
    made = network()
    assert (has_loss(made), trains_in_turns(made)) == (loss, turns)
    assert len(own_losses(made)) == loss + turns


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(3), r"a tensor of shape \(3,\) as its loss"),
        (1.0, "float as its loss"),
        (torch.zeros((), dtype=torch.long), "not a scalar tensor"),
    ],
)
def test_what_is_no_loss_is_refused_before_the_training(value: object, message: str) -> None:
    classifier = Classifier(Own(value), channels=1)
    with pytest.raises(TrainingError, match=message):
        try_network(classifier, images(2), classes=1, build=lambda: Classifier(Own(), channels=1), name="own")


def test_a_loss_is_of_standardised_images_under_the_classifier() -> None:
    classifier = Classifier(Own(), channels=1)
    classifier.normalise(mean=torch.tensor([0.5]), std=torch.tensor([2.0]))
    raw, labels = images(), torch.zeros(4, dtype=torch.long)
    assert classifier(raw, labels) == classifier.network.loss((raw - 0.5) / 2, labels)
    assert classifier(raw).shape == (4, 1)


@pytest.mark.parametrize("returned", [[], ["sgd"]])
def test_optimisers_that_are_none_are_refused(returned: list[str]) -> None:
    class Wrong(Turns):
        def optimizers(self, lr: float, weight_decay: float) -> list[str]:
            return returned

    with pytest.raises(TrainingError, match="not a list of torch optimisers"):
        own_optimizers(Wrong(), lr=1.0, weight_decay=0.0)


def test_the_schedule_multiplies_the_rate_of_each_optimiser() -> None:
    settings = TrainingSettings(lr=0.1)
    optimizers = make_optimizers(Classifier(Turns(), channels=1), settings, fabric=make_fabric(CPU, "fp32"), device=CPU)
    assert Rates(optimizers).set(0.5) == pytest.approx(0.05)
    assert [group["lr"] for one in optimizers for group in one.param_groups] == pytest.approx([0.05, 0.005])


def test_several_processes_do_not_train_in_turns() -> None:
    team: Any = SimpleNamespace(world_size=2)  # a real one would start processes
    with pytest.raises(UsageError, match="2 processes cannot train a network in turns"):
        make_optimizers(Classifier(Turns(), channels=1), TrainingSettings(), fabric=team, device=CPU)


def test_the_trial_takes_every_turn() -> None:
    class Fails(Turns):
        def training_losses(self, images: Tensor, labels: Tensor, turn: int) -> Tensor:
            if turn == 1:
                raise RuntimeError("not this one")
            return self.loss(images, labels)

    with pytest.raises(TrainingError, match="fails in turn 1 of its training: RuntimeError: not this one"):
        try_network(Classifier(Fails(), channels=1), images(2), classes=1, build=Fails, name="own")
