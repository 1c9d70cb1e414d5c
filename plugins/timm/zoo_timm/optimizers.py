"""Optimisers of timm, for `zoo bench --set optimizer=timm/NAME`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def muon(parameters: Sequence[nn.Parameter], *, lr: float, weight_decay: float) -> Optimizer:
    """Return Muon for kernels of several channels and for matrices, AdamW for the rest.

    timm chooses by the shape of a weight: all axes but the first are one side of a matrix. That is the map from inputs
    to outputs where the first axis is that of the output channels, as in p4m, its twins and ResNets; in `octic` and
    in depthwise kernels it is another one. The rest are vectors, weights whose second axis is 1, and matrices with a
    side below 4, such as a head of three classes, or sides that differ by more than 128 times. The root mean square of
    a step is about that of AdamW (Liu et al. 2025, arXiv:2502.16982), so learning rates of AdamW are a start.

    Jordan et al. 2024, kellerjordan.github.io/posts/muon.

    Args:
        parameters: Parameters to train.
        lr: Learning rate of both.
        weight_decay: Weight decay of both.
    """
    from timm.optim.muon import Muon

    # timm's defaults, which results depend on.
    return Muon(
        parameters, lr=lr, weight_decay=weight_decay, momentum=0.95, nesterov=False, ns_steps=5,
        ns_coefficients="quintic", adjust_lr_fn="match_rms_adamw", conv_mode="flatten", betas=(0.9, 0.95), eps=1e-7,
    )  # fmt: skip
