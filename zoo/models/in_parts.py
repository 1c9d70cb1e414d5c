"""Forward passes of a batch, in halves where memory runs out."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn


def forward_in_parts(module: nn.Module, images: Tensor) -> Tensor:
    """Return what a network answers to images [n, C, H, W], in evaluation mode."""
    with contextlib.suppress(torch.OutOfMemoryError):
        found: Tensor = module(images)
        return found
    return torch.cat([forward_in_parts(module, half) for half in halves(images)])


def loss_in_parts(classifier: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the sum of a network's own losses over images [n, C, H, W] with labels [n, ...]."""
    with contextlib.suppress(torch.OutOfMemoryError):
        return float(classifier(images, labels)) * len(images)
    pairs = zip(halves(images), halves(labels), strict=True)
    return sum(loss_in_parts(classifier, *pair) for pair in pairs)


def halves(batch: Tensor) -> tuple[Tensor, ...]:
    """Return the first and the second half of a batch.

    Raises:
        torch.OutOfMemoryError: It is of one image.
    """
    if len(batch) == 1:
        raise torch.OutOfMemoryError("even one image is too much for a forward pass")
    return batch.tensor_split(2)
