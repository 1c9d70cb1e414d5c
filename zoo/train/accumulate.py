"""The loss of a network, and the gradient of a batch, computed in parts where memory runs out."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from zoo.errors import TrainingError
from zoo.models.auxiliary import AuxiliaryHead
from zoo.models.own_training import has_loss, trains_in_turns
from zoo.plan.settings import TrainingSettings
from zoo.plurals import counted
from zoo.scores.finite import not_finite
from zoo.tasks.task import Task
from zoo.train.batch_norm import SharedBatchNorm
from zoo.train.cpu_kernels import FasterOnCpu
from zoo.train.few_channels import FewChannelsInPieces
from zoo.train.parts import CORE_PARTS, TrainingParts

logger = logging.getLogger(__name__)


Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""Function from images and labels to their mean loss, and to the predictions where there are any."""


def make_objectives(
    module: Callable[..., Tensor],
    network: nn.Module,
    task: Task,
    settings: TrainingSettings,
    *,
    turns: int,
    parts: TrainingParts = CORE_PARTS,
    auxiliary: AuxiliaryHead | None = None,
) -> list[Objective]:
    """Return the objective of each turn: the network's own loss, or that of the task.

    Auxiliary truths change the gradient of a loss, not its value.

    Args:
        module: Classifier, set up for precision and processes.
        network: Its network.
        task: Task of the training.
        settings: Label smoothing.
        turns: Number of optimisers.
        parts: Loss of a plugin, in place of that of the task.
        auxiliary: Layer of the classifier that estimates auxiliary truths.
    """

    def of_task(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        predictions = module(images)
        beside: Tensor | float = 0.0
        if auxiliary is not None:
            truths = auxiliary.linear.out_features
            predictions, answers = predictions[:, :-truths], predictions[:, -truths:]
            beside = auxiliary.loss(answers.float(), labels[:, -truths:])
            beside = beside - beside.detach()  # its gradient alone: the loss that is recorded is that of the task
            labels = labels[:, :-truths] if task.question.targets else labels[:, 0].long()
        if parts.loss is not None:
            return parts.loss(predictions.float(), labels) + beside, predictions
        own = task.loss(predictions.float(), labels, label_smoothing=settings.label_smoothing)
        return own + beside, predictions

    def of_network(images: Tensor, labels: Tensor, turn: int | None = None) -> tuple[Tensor, None]:
        return module(images, labels, turn), None

    if trains_in_turns(network):
        return [functools.partial(of_network, turn=turn) for turn in range(turns)]
    return [of_network if has_loss(network) else of_task]


def accumulate(
    module: nn.Module,
    objective: Objective,
    images: Tensor,
    labels: Tensor,
    *,
    fraction: float,
    fabric: Fabric,
    micro_batches: int,
    least_images: int,
) -> tuple[Tensor, Tensor | None, int]:
    """Leave the gradient of a batch's mean loss in the parameters; split it where memory runs out.

    The sum of the micro-batches' gradients is the gradient of the whole, up to rounding, so the result stays the same;
    but batch norm sees a micro-batch at a time, and dropout draws other numbers.

    Args:
        module: Network in training mode, with gradients at zero.
        objective: Loss of the network.
        images, labels: Images and labels of the batch, or of this process's part of it.
        fraction: Fraction of the batch that they are.
        fabric: Precision and device.
        micro_batches: Number of micro-batches to begin with.
        least_images: Smallest number of images that the network can be trained on.

    Returns:
        The mean loss, the predictions where there are any, and the number of micro-batches that fitted into memory.
        In a team, the mean over the processes is the mean over the batch, as for the gradients.

    Raises:
        torch.OutOfMemoryError: Even the smallest micro-batch is too much, or there are several processes, which cannot
            change their micro-batches together in the middle of a step.
    """
    weight = fraction * fabric.world_size  # 1 for equal parts; the mean over processes undoes the factor
    faster = FasterOnCpu if images.device.type == "cpu" else FewChannelsInPieces
    shared = SharedBatchNorm if fabric.world_size > 1 else contextlib.nullcontext
    most = max(1, len(images) // least_images)  # parts, none of them smaller than `least_images`
    micro_batches = min(micro_batches, most)  # of a run that goes on in a team, whose parts are smaller
    while True:
        loss_sum, all_logits = torch.zeros((), device=images.device), list[Tensor]()
        try:
            micro = zip(images.tensor_split(micro_batches), labels.tensor_split(micro_batches), strict=True)
            for some, some_labels in micro:
                with faster(), shared():
                    loss, predictions = objective(some, some_labels)
                loss = loss * (weight * len(some) / len(images)) if micro_batches > 1 or weight != 1 else loss
                fabric.backward(loss)
                loss_sum += loss.detach()
                all_logits += [] if predictions is None else [predictions.detach()]
            return loss_sum, torch.cat(all_logits) if all_logits else None, micro_batches
        except torch.OutOfMemoryError as error:
            if micro_batches >= most or fabric.world_size > 1:
                if least_images > 1 and fabric.world_size == 1:
                    least = counted(least_images, "image")
                    raise torch.OutOfMemoryError(
                        f"{error}; the network cannot be trained on fewer than {least} at a time, because of batch norm"
                    ) from error
                raise
        # Outside of the handler: the exception would keep the tensors of the failed pass alive.
        micro_batches = min(2 * micro_batches, most)
        for parameter in module.parameters():
            parameter.grad = None
        if images.is_cuda:
            torch.cuda.empty_cache()
        logger.warning("out of memory: batches of %d are split into %d micro-batches now", len(images), micro_batches)


def check_finite(
    loss_sum: Tensor, recent: list[Tensor], epoch: int, step: int, *, image: Callable[[int, int], str]
) -> None:
    """Check the losses of an epoch so far.

    Args:
        loss_sum: Sum of the losses.
        recent: Logits of the last steps.
        epoch, step: Numbers of the epoch and of its last step.
        image: Function from a step and a row of its logits to the name of an image.

    Raises:
        TrainingError: The sum is not finite; the error names the epoch, the first step and its first image.
    """
    if torch.isfinite(loss_sum):
        return
    words = ""
    for number, logits in enumerate(recent, step - len(recent) + 1):
        if words := not_finite(logits, functools.partial(image, number)):
            step, words = number, f": {words}"
            break
    raise TrainingError(
        f"The loss became {float(loss_sum)} in epoch {epoch}, step {step}{words}.",
        hint="Try a lower rate: --set lr=1e-4",
    )
