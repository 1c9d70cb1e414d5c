"""Optimisers of timm, for `zoo bench --set optimizer=timm/NAME`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def muon(parameters: Sequence[nn.Parameter], *, lr: float, weight_decay: float) -> Optimizer:
    """Return Muon for kernels of several channels and for matrices, AdamW for the rest.

    A kernel counts as a matrix from all its inputs to its output channels. The rest are vectors, kernels of one input
    channel, and matrices with a side below 4 or sides that differ by more than 128 times. The root mean square of a
    step is about that of AdamW (Liu et al. 2025, arXiv:2502.16982), so learning rates of AdamW are a start.

    Jordan et al. 2024, kellerjordan.github.io/posts/muon.

    Args:
        parameters: Parameters to train.
        lr: Learning rate of both.
        weight_decay: Weight decay of both.
    """
    from timm.optim.muon import Muon

    return Muon(parameters, lr=lr, weight_decay=weight_decay)
