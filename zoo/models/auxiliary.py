"""Auxiliary truths: numbers that a network estimates beside its task while it trains, from the same features.

Stored truths of an image, such as the mass in its substructure, hold more than its class (multi-task learning;
Caruana 1997, Machine Learning 28, 41). The additional layer is left out of the weights that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
        truths: T, the number of truths.
        weight: Weight of their loss.
        seed: Seed of the initial weights.

    Raises:
        TrainingError: The network does not end with a linear layer.
    """

    def __init__(self, network: nn.Module, *, outputs: int, truths: int, weight: float, seed: int) -> None:
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
            self.linear = nn.Linear(last.in_features, truths)
        self.weight = weight

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
        """Return the mean squared error times the weight.

        A truth that is undefined for an image counts as met.

        Args:
            answers: [N, T] standardised.
            truths: [N, T] standardised (`standardise_auxiliary`), NaN where undefined.
        """
        error = torch.where(truths.isfinite(), answers - truths, 0.0)
        return self.weight * (error**2).mean()


def standardise_auxiliary(splits: Sequence[Split], names: Sequence[str]) -> list[Split]:
    """Return the training images of each phase with auxiliary truths of mean 0 and standard deviation 1.

    Each phase has a mean and a standard deviation of its own: truths that are far from those of another phase would
    outweigh the task. A truth that is the same for all images of an earlier phase is undefined there.

    Args:
        splits: Training images of each phase, with their auxiliary truths.
        names: Names of the truths.

    Raises:
        DataError: A truth is undefined or the same for all training images of the last phase.
    """
    standardised = []
    for split in splits:
        assert split.auxiliary is not None
        columns = []
        for name, values in zip(names, split.auxiliary.T, strict=True):
            known = values[np.isfinite(values)]
            differs = len(known) > 0 and known.std() > 1e-9 * abs(known.mean())
            if split is splits[-1] and not differs:
                raise DataError(
                    f"auxiliary={name} is undefined or the same for all training images.",
                    hint="Leave it out of auxiliary.",
                )
            columns.append((values - known.mean()) / known.std() if differs else np.full_like(values, np.nan))
        standardised.append(replace(split, auxiliary=np.stack(columns, axis=1)))
    return standardised
