"""Contract of a network that brings its own loss, or trains in turns with several optimisers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from zoo.errors import TrainingError

LR, WEIGHT_DECAY = 1e-3, 0.0
Loss = Callable[[Tensor, Tensor], Tensor]
"""Function from images [N, C, H, W] and labels [N] to a scalar."""


@runtime_checkable
class HasLoss(Protocol):
    """A `torch.nn.Module` that brings its own loss. Its class, not an attribute, has the method."""

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch as a scalar, in training and for the validation images.

        Args:
            images: Standardised images [N, C, H, W], as `forward` gets them.
            labels: Labels [N].
        """
        ...


@runtime_checkable
class TrainsInTurns(Protocol):
    """A `torch.nn.Module` that is trained in turns by several optimisers, such as an adversarial one."""

    def optimizers(self, lr: float, weight_decay: float) -> Sequence[torch.optim.Optimizer]:
        """Return the optimisers, one for each turn; each holds the parameters that its turn changes.

        Args:
            lr: Highest learning rate of the settings. The schedule multiplies the rate that each optimiser is made
                with.
            weight_decay: Weight decay of the settings.
        """
        ...

    def training_losses(self, images: Tensor, labels: Tensor, turn: int) -> Tensor:
        """Return the scalar that an optimiser lowers.

        Args:
            images: Standardised images [N, C, H, W]; the same batch in each turn.
            labels: Labels [N].
            turn: Place of the optimiser, from 0.
        """
        ...


def has_loss(network: nn.Module) -> bool:
    """Whether a network's class has a method `loss`; a layer of that name, such as a criterion, does not count."""
    return callable(getattr(type(network), "loss", None))


def trains_in_turns(network: nn.Module) -> bool:
    """Whether a network's class has the methods of `TrainsInTurns`."""
    return all(callable(getattr(type(network), name, None)) for name in ("optimizers", "training_losses"))


def own_losses(network: nn.Module) -> list[Loss]:
    """Return the losses that a network brings for its training: one for each turn, or its own, or none."""
    module: Any = network
    if trains_in_turns(network):
        turns = len(own_optimizers(network, lr=LR, weight_decay=WEIGHT_DECAY))
        return [partial(module.training_losses, turn=turn) for turn in range(turns)]
    return [module.loss] if has_loss(network) else []


def own_optimizers(network: nn.Module, *, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a network that trains in turns.

    Raises:
        TrainingError: The list is empty, or holds something else.
    """
    module: Any = network
    made = list(module.optimizers(lr, weight_decay))
    if not made or not all(isinstance(one, torch.optim.Optimizer) for one in made):
        kinds = ", ".join(type(one).__name__ for one in made) or "an empty list"
        raise TrainingError(
            f"optimizers() of {type(network).__name__} returned {kinds}, not a list of torch optimisers."
        )
    return made


def check_loss(value: object, *, name: str) -> Tensor:
    """Return a loss that a network computed.

    Raises:
        TrainingError: It is not a scalar tensor.
    """
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TrainingError(f"{name} returns {what} as its loss, not a scalar tensor.")
    return value.reshape(())
