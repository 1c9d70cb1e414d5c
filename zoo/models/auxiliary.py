"""Auxiliary truths: numbers that a network estimates beside its task while it trains, from the same features.

Stored truths of an image, such as the mass in its substructure, hold more than its class (multi-task learning;
Caruana 1997, Machine Learning 28, 41). The additional layer is left out of the weights that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.split import Split
from zoo.errors import DataError, TrainingError
from zoo.lensing.draws import stable_hash

PREFIX = "auxiliary."
"""Of the tensors of the layer among those of a classifier."""


class AuxiliaryHead(nn.Module):
    """A linear layer beside the last one of a network, which takes the same features.

    Args:
        network: Network whose last linear layer gives its predictions.
        outputs: Number of its predictions.
        mean, std: [T] mean and standard deviation of the truths over the training images in which they are defined.
        weight: Weight of their loss.
        seed: Seed of the initial weights.

    Raises:
        TrainingError: The network does not end with a linear layer.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, *, outputs: int, mean: Sequence[float], std: Sequence[float], weight: float, seed: int
    ) -> None:
        super().__init__()
        linear = [(name, part) for name, part in network.named_modules() if isinstance(part, nn.Linear)]
        if not linear or linear[-1][1].out_features != outputs:
            raise TrainingError(
                f"{type(network).__name__} does not end with a linear layer of {outputs} outputs, whose features "
                "auxiliary truths could be estimated from.",
                hint="Leave out auxiliary.",
            )
        self.layer, last = linear[-1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(f"{seed}/auxiliary") >> 1)
            self.linear = nn.Linear(last.in_features, len(mean))
        self.weight = weight
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def predict(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predictions of the network and the standardised truths [N, T].

        Raises:
            TrainingError: The network does not use its last linear layer, once, on [N, F] features.
        """
        features: list[Tensor] = []

        def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
            features.append(given[0])

        handle = network.get_submodule(self.layer).register_forward_pre_hook(keep)
        try:
            predictions = network(images)
        finally:
            handle.remove()
        if len(features) != 1 or features[0].ndim != 2:
            raise TrainingError(
                f"{type(network).__name__} does not apply its last linear layer once to one row of features for each "
                "image, from which auxiliary truths could be estimated.",
                hint="Leave out auxiliary.",
            )
        return predictions, self.linear(features[0])

    def loss(self, answers: Tensor, truths: Tensor) -> Tensor:
        """Return the mean squared error in units of the standard deviations, times the weight.

        A truth that is undefined for an image counts as met.

        Args:
            answers: [N, T] standardised.
            truths: [N, T], NaN where undefined.
        """
        wanted = (truths - self.mean) / self.std
        error = torch.where(wanted.isfinite(), answers - wanted, 0.0)
        return self.weight * (error**2).mean()


def auxiliary_head(
    network: nn.Module, split: Split, names: Sequence[str], *, outputs: int, weight: float, seed: int
) -> AuxiliaryHead:
    """Return the layer that estimates truths of the training images.

    Args:
        network, outputs, weight, seed: Arguments of `AuxiliaryHead`.
        split: Training images, with their auxiliary truths.
        names: Names of the truths.

    Raises:
        DataError: A truth is undefined or the same for all training images.
        TrainingError: The network does not end with a linear layer.
    """
    assert split.auxiliary is not None
    mean, std = [], []
    for name, values in zip(names, split.auxiliary.T, strict=True):
        known = values[np.isfinite(values)]
        if not len(known) or known.std() <= 1e-9 * abs(known.mean()):
            raise DataError(
                f"auxiliary={name} is undefined or the same for all training images.", hint="Leave it out of auxiliary."
            )
        mean.append(float(known.mean()))
        std.append(float(known.std()))
    return AuxiliaryHead(network, outputs=outputs, mean=mean, std=std, weight=weight, seed=seed)
