"""States of the random generators that a training draws from within an epoch, as tensors of its checkpoint."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from zoo.paths import parse_json


def seed_all(seed: int) -> None:
    """Seed the shared generators of torch, NumPy and Python: networks of plugins may draw from any of them."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - plugins draw from the shared one
    random.seed(seed)


def random_states(device: torch.device, transform: torch.Generator) -> dict[str, Tensor]:
    """Return the states of the shared generators, and of the one of the augmentation.

    Args:
        device: Device of the training.
        transform: Generator of the augmentation.
    """
    states = {"random": torch.get_rng_state(), "transform": transform.get_state()}
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - plugins draw from the shared one
    text = json.dumps([random.getstate(), [kind, np.asarray(keys).tolist(), *rest]])
    states["other_random"] = torch.tensor(list(text.encode()), dtype=torch.uint8)
    if device.type == "cuda":
        states["device_random"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["device_random"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Tensor], device: torch.device, transform: torch.Generator) -> None:
    """Set the generators to stored states; the opposite of `random_states`. A device without a stored one stays."""
    torch.set_rng_state(states["random"])
    transform.set_state(states["transform"])
    if "other_random" in states:  # not in checkpoints of earlier versions
        (version, numbers, gauss), numpy = parse_json(bytes(states["other_random"].tolist()))
        random.setstate((version, tuple(numbers), gauss))
        np.random.set_state(tuple(numpy))  # noqa: NPY002 - plugins draw from the shared one
    own = states.get("device_random")
    if own is not None and device.type == "cuda":
        torch.cuda.set_rng_state(own, device)
    elif own is not None and device.type == "mps":
        torch.mps.set_rng_state(own)
