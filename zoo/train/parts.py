"""Augmentation, loss and optimiser that plugins bring for a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo import registry
from zoo.data.augment import augment
from zoo.data.part import BatchPart
from zoo.errors import TrainingError, ZooError
from zoo.isolation import plugin_code
from zoo.models.own_training import check_loss
from zoo.plan.parts import check_brought, find_part
from zoo.plan.settings import TrainingSettings

if TYPE_CHECKING:
    from zoo.host import Host


@dataclass(frozen=True, kw_only=True)
class TrainingParts:
    """Parts of plugins; None where the core's are used.

    Args:
        augmentation: Function from images and a generator to images of the same shape.
        loss: Function from predictions and labels to their mean loss.
        optimizer: Function from parameters, learning rate and weight decay to an optimiser.
    """

    augmentation: Callable[[Tensor, torch.Generator], Tensor] | None = None
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    optimizer: Callable[[list[nn.Parameter], float, float], torch.optim.Optimizer] | None = None

    def augmented(self, images: Tensor, kind: str, *, generator: torch.Generator, part: BatchPart) -> Tensor:
        """Return images under random changes: those of the plugin, or of `zoo.data.augment`.

        In a team, each process draws the random numbers of a plugin for its own images.
        """
        if self.augmentation is None:
            return augment(images, kind, generator=generator, part=part)
        return self.augmentation(images, generator)


CORE_PARTS = TrainingParts()


def open_parts(host: Host, settings: TrainingSettings, network: nn.Module, *, model: str) -> TrainingParts:
    """Return the parts of a training that its settings name.

    Args:
        host: The plugins.
        settings: Settings of the training, with names as the plan resolved them.
        network: Network to train.
        model: Id of the network.

    Raises:
        UsageError: The network brings such a part itself, or the installed one is of another version.
        MissingError: A part is not installed.
    """
    check_brought(network, settings, model=model)
    found: dict[str, Any] = {}
    for name, make in (("augment", _augmentation), ("loss", _loss), ("optimizer", checked_optimizer)):
        if "@" in (value := getattr(settings, name)):
            spec = find_part(host, name, value)
            found[{"augment": "augmentation"}.get(name, name)] = make(registry.load_target(spec), spec.id)
    return TrainingParts(**found)


def _called(function: Callable[..., Any], of: str, *arguments: Any, **others: Any) -> Any:
    """Return what a plugin's part returns; an error names it.

    Raises:
        TrainingError: It raised an exception other than that of exhausted memory.
    """
    try:
        with plugin_code(of, of, may_take_long=True):
            return function(*arguments, **others)
    except (ZooError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        raise TrainingError(f"{of} failed: {type(error).__name__}: {error}") from error


def _augmentation(target: Callable[..., Any], of: str) -> Callable[[Tensor, torch.Generator], Tensor]:
    def changed(images: Tensor, generator: torch.Generator) -> Tensor:
        found = _called(target, of, images, generator)
        if not isinstance(found, Tensor) or (found.shape, found.dtype) != (images.shape, images.dtype):
            what = f"{tuple(found.shape)}, {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
            raise TrainingError(f"{of} returns {what}; its images are {tuple(images.shape)}, {images.dtype}.")
        return found

    return changed


def _loss(target: Callable[..., Any], of: str) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda predictions, labels: check_loss(_called(target, of, predictions, labels), name=of)


def checked_optimizer(
    target: Callable[..., Any], of: str
) -> Callable[[list[nn.Parameter], float, float], torch.optim.Optimizer]:
    """Return a function that makes an optimiser and checks it.

    Args:
        target: Target of an `OptimizerSpec`.
        of: Its id, for messages.
    """

    def made(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> torch.optim.Optimizer:
        found = _called(target, of, parameters, lr=lr, weight_decay=weight_decay)
        if not isinstance(found, torch.optim.Optimizer):
            raise TrainingError(f"{of} returns {type(found).__name__}, not a torch optimiser.")
        held = {id(parameter) for group in found.param_groups for parameter in group["params"]}
        if held != {id(parameter) for parameter in parameters}:
            raise TrainingError(f"{of} does not hold the parameters that it was given.")
        return found

    return made
