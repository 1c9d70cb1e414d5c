"""Units of the numbers that a regression answers: a network works with standardised ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from zoo.models.target import FLOW_COLUMNS, Target

QUANTILES = 33
"""Quantiles of the training split that a weights file keeps for each target."""
LOGS = (-7.0, 2.0)
"""Bounds of the logarithm of a standardised width, kept smoothly: beyond them one image would decide a training."""


class AnswerUnits(nn.Module):
    """Give standardised answers the units of the targets.

    The k numbers of a target are a mean and the logarithm of a standard deviation (k = 2), the same two followed by
    the shape of a flow (k = FLOW_COLUMNS), or else quantiles, the median in their middle. No buffer is part of the
    state dict: a weights file states the targets.

    Args:
        targets: T targets.
        standardised: Whether the network answers in units of the targets; one that fits itself does not.
    """

    centre: Tensor
    scale: Tensor
    spread: Tensor

    def __init__(self, targets: Sequence[Target], *, standardised: bool) -> None:
        super().__init__()
        self.standardised = standardised
        for name in ("centre", "scale", "spread"):
            values = torch.tensor([getattr(target, name) for target in targets], dtype=torch.float32)
            self.register_buffer(name, values[:, None], persistent=False)

    def forward(self, answers: Tensor) -> Tensor:
        """Return answers [N, T k] in the units of the truth, for those of the network."""
        each = answers.float().reshape(answers.shape[0], len(self.centre), -1)
        located = _located(each)
        if not located:
            each = each.sort(2).values  # Chernozhukov et al. 2010, Econometrica 78, 1093: quantiles never cross
        if self.standardised and located:
            mean = self.centre + self.scale * each[..., :1]
            low, high = LOGS
            width = low + softplus(high - softplus(high - each[..., 1:2]) - low)
            each = torch.cat([mean, width + self.scale.log(), each[..., 2:]], 2)
        elif self.standardised:
            each = self.centre + self.scale * each
        return widened(each, self.spread).flatten(1)


def widened(answers: Tensor, spread: Tensor) -> Tensor:
    """Return answers [N, T, k] with widths multiplied by factors [T, 1]."""
    if _located(answers):
        return torch.cat([answers[..., :1], answers[..., 1:2] + spread.log(), answers[..., 2:]], 2)
    middle = answers.shape[2] // 2
    median = answers[..., middle : middle + 1]
    return median + spread * (answers - median)


def _located(answers: Tensor) -> bool:
    """Return whether answers [N, T, k] begin with a location and the logarithm of a width."""
    return answers.shape[2] in (2, FLOW_COLUMNS)


def targets_of(names: Sequence[str], truth: Tensor) -> tuple[Target, ...]:
    """Return the targets of a training split.

    Args:
        names: T names.
        truth: [N, T] values of its images.

    Raises:
        ValueError: A truth is the same for all images; the error names it.
    """
    quantiles = np.quantile(truth.double().numpy(), np.linspace(0, 1, QUANTILES), axis=0).T.tolist()
    mean, deviation = truth.double().mean(0).tolist(), truth.double().std(0, correction=0).tolist()
    for name, centre, scale in zip(names, mean, deviation, strict=True):
        if not (math.isfinite(scale) and scale > 1e-9 * abs(centre)):
            raise ValueError(name)
    return tuple(
        Target(name=name, centre=centre, scale=scale, quantiles=tuple(some))
        for name, centre, scale, some in zip(names, mean, deviation, quantiles, strict=True)
    )
