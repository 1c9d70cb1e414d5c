"""Predictions and losses of whole splits, without gradients and in float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data.loader import Batches
from zoo.devices import in_float32
from zoo.errors import TrainingError
from zoo.models.classifier import Classifier
from zoo.models.in_parts import forward_in_parts, loss_in_parts
from zoo.models.own_fit import FitsItself
from zoo.models.own_training import has_loss
from zoo.scores.finite import require_finite
from zoo.tasks.task import Task

LOSS_SEED = 0
"""Seed of a loss that draws random numbers, such as that of a variational auto-encoder: equal for all epochs."""


@torch.inference_mode()
@in_float32()
def predict(
    module: nn.Module,
    data: Batches,
    *,
    when: str,
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return predictions [N, K], computed in float32, and labels [N], both on the CPU, in the order of the split.

    Args:
        module: Network; put into evaluation mode.
        data: Images.
        when: Images and time for the message of an error.
        batch_size: Number of images at a time.
        progress: Function called with the number of images that are done, and of all.

    Raises:
        TrainingError: A prediction is not finite; the error names the image.
    """
    module.eval()
    logits, labels, done = [], [], 0
    for images, batch_labels in data.batches(batch_size):
        logits.append(forward_in_parts(module, images).float().cpu())
        labels.append(batch_labels.cpu())
        done += len(images)
        if progress is not None:
            progress(done, len(data))
    all_logits = torch.cat(logits)
    network = module.network if isinstance(module, Classifier) else module
    hint = "" if isinstance(network, FitsItself) else "Try a lower rate: --set lr=1e-4"
    require_finite(all_logits, data.ids.__getitem__, when=when, hint=hint)
    return all_logits, torch.cat(labels)


def validate(
    classifier: nn.Module, data: Batches, task: Task, predictions: Tensor, labels: Tensor, *, when: str
) -> dict[str, Any]:
    """Return `val_loss` and the task's other fields of an epoch.

    Args:
        classifier: Classifier in evaluation mode.
        data: Validation images.
        task: Task, whose loss is taken unless the network brings its own.
        predictions, labels: Predictions [N, K] and labels [N] of the images.
        when: Images and time for the message of an error.

    Raises:
        TrainingError: The loss is not finite.
    """
    others: Mapping[str, float] = task.validate(predictions, labels)
    return {"val_loss": mean_loss(classifier, data.batches(256), task, predictions, labels, when=when), **others}


@torch.inference_mode()
@in_float32()
def mean_loss(
    classifier: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    task: Task,
    predictions: Tensor,
    labels: Tensor,
    *,
    when: str,
) -> float:
    """Return the mean loss of some images: the network's own, or that of the task for their predictions.

    Args:
        classifier: Classifier in evaluation mode.
        batches: Images and labels; read for a loss of the network's own only.
        task, predictions, labels, when: Arguments of `validate`.

    Raises:
        TrainingError: The loss is not finite.
    """
    assert isinstance(classifier, Classifier)
    if not has_loss(classifier.network):
        return _finite(float(task.loss(predictions, labels)), when=when)
    total, count = 0.0, 0
    with torch.random.fork_rng(devices=[classifier.mean.device] if classifier.mean.is_cuda else []):
        torch.manual_seed(LOSS_SEED)
        for images, batch_labels in batches:
            total += loss_in_parts(classifier, images, batch_labels)
            count += len(images)
    return _finite(total / count, when=when)


def _finite(loss: float, *, when: str) -> float:
    if not math.isfinite(loss):  # that of finite predictions, too: the square of a large error
        raise TrainingError(f"{when}: the loss is {loss}.", hint="Try a lower rate: --set lr=1e-4")
    return loss
