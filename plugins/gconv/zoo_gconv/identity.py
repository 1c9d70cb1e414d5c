"""Store a network's group in its state dict, so that weights of another group are refused and never partly loaded."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo_gconv.groups import GROUPS, PointGroup

# Increase it when the same weights give a different function.
VERSION = 1


def mark(network: nn.Module, group: PointGroup) -> None:
    """Add the buffer `identity`, [order of the group, VERSION], to a network and its state dict.

    Shapes alone do not distinguish groups: lifting layers hold planar filters for every group. Weights that are loaded
    later must have this identity and all names and shapes of the network, regardless of `strict`.
    """
    network.register_buffer("identity", torch.tensor([group.order, VERSION]))
    network.register_load_state_dict_pre_hook(_refuse_foreign_weights)


def _name(identity: Tensor) -> str:
    order, version = identity.tolist()
    group = next((group.name for group in GROUPS.values() if group.order == order), f"a group of {order} elements")
    return f"{group}, version {version}"


def _refuse_foreign_weights(network: nn.Module, state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    """Compare identity, names and shapes before anything is copied.

    Raises:
        UsageError: The weights belong to another network.
    """
    expected = {f"{prefix}{name}": value for name, value in network.state_dict().items()}
    key = f"{prefix}identity"
    given, own = state.get(key), expected[key]
    if given is not None and given.shape == own.shape and not torch.equal(given.cpu(), own.cpu()):
        raise UsageError(
            f"Weights of {_name(given)} cannot be loaded into a network of {_name(own)}.",
            hint="Build the network that the weights were trained with, or train this network.",
        )
    lists = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [name for name in state if name.startswith(prefix) and name not in expected],
        "with another shape": [
            f"{name} {tuple(state[name].shape)} for {tuple(value.shape)}"
            for name, value in expected.items()
            if name in state and state[name].shape != value.shape
        ],
    }
    differences = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in lists.items()
        if names
    ]
    if differences:
        raise UsageError(
            f"Weights do not fit this {type(network).__name__} of {_name(own)}: {'; '.join(differences)}.",
            hint="Build the network with the hyper-parameters that the weights were trained with.",
        )
