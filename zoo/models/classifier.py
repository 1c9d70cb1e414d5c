"""A network together with the normalisation of its training images, so that weights never travel without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo import registry
from zoo.errors import TrainingError
from zoo.models.answer_units import AnswerUnits
from zoo.models.auxiliary import AuxiliaryHead
from zoo.models.network import build_network
from zoo.models.own_training import check_loss
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.models.target import Target


class Classifier(nn.Module):
    """Standardise images channel by channel, then apply the network.

    Args:
        network: Network that maps [N, C, H, W] to predictions [N, K], such as logits, or to [N] for one number.
        channels: C. Mean 0 and standard deviation 1 are used until `normalise` is called or a weights file is loaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, channels: int) -> None:
        super().__init__()
        self.network = network
        self.units: AnswerUnits | None = None
        self.auxiliary: AuxiliaryHead | None = None
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))

    def normalise(self, *, mean: Tensor, std: Tensor) -> None:
        """Take mean and standard deviation [C] of the pixels of the training split."""
        self.mean.copy_(mean[:, None, None])
        self.std.copy_(std[:, None, None])

    def estimate(self, targets: Sequence[Target], *, standardised: bool) -> None:
        """Give the answers the units of targets; without targets they stay as they are.

        Args:
            targets: Stored truths that the network estimates.
            standardised: Whether the network answers in units of the targets; one that fits itself does not.
        """
        self.units = AnswerUnits(targets, standardised=standardised).to(self.mean.device) if targets else None

    def forward(self, images: Tensor, labels: Tensor | None = None, turn: int | None = None) -> Tensor:
        """Return predictions [N, K] for raw images [N, C, H, W]; with labels, the network's own loss.

        In training with auxiliary truths, these follow in further columns. The loss is a part of `forward` because
        precision and gradients over several processes hold for it alone.

        Args:
            images: Raw images.
            labels: Labels [N]; the network brings its own loss then (`zoo.models.own_training`).
            turn: Turn of a network that trains in turns.
        """
        standardised = (images - self.mean) / self.std
        network: Any = self.network
        if labels is not None:
            loss = network.loss if turn is None else partial(network.training_losses, turn=turn)
            return check_loss(loss(standardised, labels), name=type(self.network).__name__)
        beside: list[Tensor] = []
        if self.auxiliary is not None and self.training:
            answers, *beside = self.auxiliary.predict(network, standardised)
        else:
            answers = network(standardised)
        answers = with_columns(answers, images=images)
        answers = answers if self.units is None else self.units(answers)
        return torch.cat([answers, *beside], dim=1) if beside else answers


def with_columns(predictions: Tensor, *, images: Tensor) -> Tensor:
    """Return predictions [N] for images [N, C, H, W] as [N, 1]; others, whatever they are, as they are."""
    # Not len(): an export keeps the number of images open.
    one_each = isinstance(predictions, Tensor) and predictions.ndim == 1 and predictions.shape[0] == images.shape[0]
    return predictions[:, None] if one_each else predictions


def build_classifier(
    host: Host,
    model: str,
    hparams: Mapping[str, Any],
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> Classifier:
    """Return an untrained classifier.

    Args:
        host: The plugins.
        model: Id of the model.
        hparams: Resolved hyper-parameters.
        image_shape: Channels, height, width; images are square.
        num_classes: K, the number of predictions for an image.

    Raises:
        TrainingError: The images are not square, or the network cannot be built.
        UsageError, MissingError: The same errors as those of `build_network`.
    """
    channels, height, width = image_shape
    if height != width:
        raise TrainingError(f"{model} takes square images, not {height} x {width}.")
    spec = registry.find(host, ModelSpec, model)
    network = build_network(spec, in_chans=channels, num_classes=num_classes, image_size=height, hparams=hparams)
    return Classifier(network, channels=channels)
