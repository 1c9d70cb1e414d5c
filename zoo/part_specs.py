"""Specs of the parts of a training: channels beside images, augmentations, losses, optimisers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from zoo.base_spec import Spec
from zoo.plain_values import LONGEST_SUMMARY


@dataclass(frozen=True, kw_only=True)
class ChannelSpec(Spec):
    """A channel that is computed from each image and stands beside it. Its target is called as

    `channel(images, camera, **arguments) -> torch.Tensor`

    with float images [n, C, H, W] and a `zoo.data.channels.Camera`, and returns [n, H, W] on the device of the images,
    all of it finite. An image's channel depends on that image and the camera only; where the image is turned or
    mirrored, the channel turns with it.

    Args:
        arguments: Fixed keyword arguments of the target, so that one function serves several specs.
        limits: One sentence on images that it is not made for; `zoo predict` and cards of networks with it print it.
    """

    kind: ClassVar[str] = "channel"

    arguments: Mapping[str, Any] = field(default_factory=dict)
    limits: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limits and (len(self.limits.splitlines()) != 1 or not self.limits.strip()):
            raise ValueError(f"{self.id}: limits must be one line of text")
        if len(self.limits) > LONGEST_SUMMARY:
            raise ValueError(f"{self.id}: limits has more than {LONGEST_SUMMARY:,} characters")


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
