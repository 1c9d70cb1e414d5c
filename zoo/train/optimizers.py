"""Optimisers of a training: AdamW, or those of a network that trains in turns, under one schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from zoo.errors import DataError, UsageError
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


_NOT_KEPT = ("params", "lr", "initial_lr")
"""Entries of a group that the training sets itself."""
_GROUP, _ABSENT = "group", object()


def state_of(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what an optimiser has kept from its steps, for `set_state`: tensors, and numbers, flags and texts.

    These are the state of each parameter, and values of its groups that differ from the defaults, such as the counter
    of a schedule-free optimiser.

    Raises:
        DataError: It keeps something else.
    """
    kept: dict[str, Any] = {}
    for index, parameter in enumerate(parameters_of(optimizer)):
        kept |= {f"{index}.{name}": value for name, value in optimizer.state[parameter].items()}
    for number, group in enumerate(optimizer.param_groups):
        for name, value in group.items():
            if name not in _NOT_KEPT and (isinstance(value, Tensor) or value != optimizer.defaults.get(name, _ABSENT)):
                kept[f"{_GROUP}{number}.{name}"] = value
    tensors = {name: value for name, value in kept.items() if isinstance(value, Tensor)}
    values = {name: value for name, value in kept.items() if name not in tensors}
    for name, value in values.items():
        parts = value if isinstance(value, tuple) else (value,)
        if any(not isinstance(part, bool | int | float | str | None) for part in parts):
            raise DataError(
                f"The optimiser {type(optimizer).__name__} keeps {name.partition('.')[2]} as {type(value).__name__}, "
                "from which no training can be resumed.",
                hint="Keep tensors, numbers, texts, or tuples of these in `state` and `param_groups`.",
            )
    return tensors, values


def set_state(optimizer: torch.optim.Optimizer, kept: Mapping[str, Any]) -> None:
    """Give an optimiser, as it was made, what another one had kept.

    Args:
        optimizer: The optimiser.
        kept: Tensors and values from `state_of`, with lists for tuples.
    """
    fused = bool(optimizer.defaults.get("fused"))  # then the number of steps is counted on the device
    parameters = parameters_of(optimizer)
    for place, value in kept.items():
        first, _, name = place.partition(".")
        of_group = first.startswith(_GROUP)
        group = optimizer.param_groups[int(first.removeprefix(_GROUP))] if of_group else {}
        parameter = group["params"][0] if of_group else parameters[int(first)]
        holder = group if of_group else optimizer.state[parameter]
        if isinstance(value, Tensor):
            # A step would wait for the device to read a flag.
            on_cpu = (name == "step" and not fused) or (value.dtype == torch.bool and value.ndim == 0)
            device = torch.device("cpu") if on_cpu else parameter.device
            holder[name] = value.to(holder[name].device if isinstance(holder.get(name), Tensor) else device)
        else:
            holder[name] = tuple(value) if isinstance(value, list) else value
