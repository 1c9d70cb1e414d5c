"""States of the random generators that a training draws from within an epoch, as tensors of its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def random_states(device: torch.device, transform: torch.Generator) -> dict[str, Tensor]:
    """Return the states of torch's generators and of the one of the augmentation.

    Args:
        device: Device of the training.
        transform: Generator of the augmentation.
    """
    states = {"random": torch.get_rng_state(), "transform": transform.get_state()}
    if device.type == "cuda":
        states["device_random"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["device_random"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Tensor], device: torch.device, transform: torch.Generator) -> None:
    """Set the generators to stored states; the opposite of `random_states`. A device without a stored one stays."""
    torch.set_rng_state(states["random"])
    transform.set_state(states["transform"])
    own = states.get("device_random")
    if own is not None and device.type == "cuda":
        torch.cuda.set_rng_state(own, device)
    elif own is not None and device.type == "mps":
        torch.mps.set_rng_state(own)
