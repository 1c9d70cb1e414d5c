"""Optimisers of a training: AdamW, or those of a network that trains in turns, under one schedule."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning_fabric import Fabric

from zoo.errors import UsageError
from zoo.models.classifier import Classifier
from zoo.models.own_training import own_optimizers, trains_in_turns
from zoo.plan.settings import TrainingSettings
from zoo.plurals import counted
from zoo.train.parts import CORE_PARTS, TrainingParts


def make_optimizers(
    classifier: Classifier,
    settings: TrainingSettings,
    *,
    fabric: Fabric,
    device: torch.device,
    parts: TrainingParts = CORE_PARTS,
) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a training, one for each turn.

    Args:
        classifier: Classifier to train.
        settings: Learning rate and weight decay.
        fabric: Precision, and the number of processes.
        device: Device of the training.
        parts: Optimiser of a plugin.

    Raises:
        UsageError: Several processes cannot train a network in turns.
        TrainingError: The network returns no optimisers, or something else.
    """
    if trains_in_turns(classifier.network):
        if fabric.world_size > 1:
            raise UsageError(
                f"{counted(fabric.world_size, 'process')} cannot train a network in turns.", hint="Leave out --devices."
            )
        return own_optimizers(classifier.network, lr=settings.lr, weight_decay=settings.weight_decay)
    parameters = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    if parts.optimizer is not None:
        return [parts.optimizer(parameters, settings.lr, settings.weight_decay)]
    # One pass over the weights instead of ten: 15 ms a step instead of 70 for 11 million weights. The last digits
    # differ, so trainings on a CPU in float32 keep the bits that they have had.
    with fabric.autocast():
        fused = torch.is_autocast_enabled("cpu") or device.type == "cuda" or None
    return [torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)]


class Rates:
    """Learning rates of the optimisers: each is the one that it was made with, times the factor of the schedule.

    Args:
        optimizers: Optimisers as they were made.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self._highest = [float(group["lr"]) for group in self._groups]

    def set(self, factor: float) -> float:
        """Set all rates, and return that of the first group."""
        for group, highest in zip(self._groups, self._highest, strict=True):
            group["lr"] = highest * factor
        return float(self._groups[0]["lr"])


def parameters_of(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    """Return the parameters that an optimiser changes, in its order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
