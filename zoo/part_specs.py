"""Specs of the parts of a training: augmentations, losses, optimisers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.base_spec import Spec


@dataclass(frozen=True, kw_only=True)
class AugmentationSpec(Spec):
    """A random change of training images; `--set augment=ID`. Its target is called as

    `augmentation(images, generator) -> torch.Tensor`

    with float images [n, C, H, W] on the device of the training and a `torch.Generator` on the CPU, from which all
    random numbers are drawn, and returns images of the same shape.
    """

    kind: ClassVar[str] = "augmentation"


@dataclass(frozen=True, kw_only=True)
class LossSpec(Spec):
    """A loss of the training; `--set loss=ID`. Its target is called as

    `loss(predictions, labels) -> torch.Tensor`

    with predictions in float32, such as logits [n, K], and labels [n], and returns the mean over the images. The
    validation loss stays that of the task.

    Args:
        tasks: Names of the tasks that it can train.
    """

    kind: ClassVar[str] = "loss"

    tasks: tuple[str, ...] = ("classify",)


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec(Spec):
    """An optimiser; `--set optimizer=ID`. Its target is called as

    `optimizer(parameters, *, lr, weight_decay) -> torch.optim.Optimizer`

    with a list of parameters. The schedule multiplies the learning rates that it has at first, and its state dict is
    part of the checkpoint.
    """

    kind: ClassVar[str] = "optimizer"
