"""The answers of a network in a training: their units, and those that only the training asks for."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from zoo.data.question import Question
from zoo.data.split import Split
from zoo.errors import TrainingError
from zoo.models.auxiliary import PREFIX, AuxiliaryHead, standardise_auxiliary
from zoo.models.classifier import Classifier
from zoo.models.own_training import has_loss
from zoo.plan.settings import TrainingSettings
from zoo.results.cell import Cell
from zoo.tasks.task import Task


def in_units(classifier: Classifier, task: Task, train_split: Split, cell: Cell) -> Task:
    """Give a classifier's answers the units of the task's targets, and return the task with these; or as it is.

    Raises:
        DataError: A target is the same for all training images.
    """
    if train_split.targets is None:
        return task
    task = task.measured(train_split.targets)
    classifier.estimate(task.targets, standardised=not cell.fits_itself)
    return task


def check_trainable(network: nn.Module, cell: Cell, task: Task) -> None:
    """Refuse a network that nothing can train.

    Raises:
        TrainingError: The task has no loss, and the network neither brings one nor fits itself; or the network
            brings a loss of labels, and the task estimates truths.
    """
    if task.question.targets and has_loss(network):
        raise TrainingError(
            f"{cell.model} brings a loss of its own for labels, and the task {cell.task} estimates numbers.",
            hint="Choose a network without a method loss.",
        )
    if task.has_loss or cell.fits_itself or has_loss(network):
        return
    raise TrainingError(
        f"{cell.model} has no method loss(images, labels), and the task {cell.task} has no loss that trains it.",
        hint="See docs/plugins.md, 'A network with its own loss'",
    )


def taught(task: Task, settings: TrainingSettings) -> Question:
    """Return the question of a task with the auxiliary truths of a training."""
    return replace(task.question, auxiliary=settings.auxiliary_names)


def learn_auxiliary(
    classifier: Classifier, train_splits: list[Split], settings: TrainingSettings, *, outputs: int, seed: int
) -> list[Split]:
    """Let a classifier estimate the auxiliary truths of its training, if there are any.

    Returns:
        The training images of each phase, with the truths as the classifier estimates them.

    Raises:
        TrainingError: The network does not end with a linear layer.
        DataError: A truth is undefined or the same for all training images.
    """
    names = settings.auxiliary_names
    if not names:
        return train_splits
    classifier.auxiliary = AuxiliaryHead(
        classifier.network, outputs=outputs, truths=len(names), weight=settings.auxiliary_weight, seed=seed
    ).to(classifier.mean.device)
    return standardise_auxiliary(train_splits, names)


def forget_auxiliary(classifier: Classifier, weights: dict[str, Tensor]) -> None:
    """Remove the layer of auxiliary truths from a classifier and from its weights."""
    classifier.auxiliary = None
    for name in [name for name in weights if name.startswith(PREFIX)]:
        del weights[name]
