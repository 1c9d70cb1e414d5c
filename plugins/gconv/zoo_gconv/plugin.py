"""Register the networks of `zoo_gconv.catalogue`."""

from __future__ import annotations

import copy

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec
from zoo_gconv.catalogue import NETWORKS, PARAMETERS, SHIPPED, Network


def _spec(name: str, network: Network) -> ModelSpec:
    # Copied, so that no two specs share a list.
    network = copy.deepcopy(network)
    return ModelSpec(
        id=f"gconv/{name}",
        target=network.target,
        arguments={"model": name},
        summary=network.summary,
        tags=("convolutional", "from-scratch", *network.tags),
        card=network.card,
        group=network.group,
        equivariance="exact" if network.group else None,
        defaults=network.defaults,
        initialisers=network.initialisers,
        paths=tuple(network.initialisers),
        search_space=network.search_space,
        parameters=PARAMETERS[name],
        training=network.training,
        twins=network.twins,
        bf16_devices=network.bf16_devices,
        cuda_graphs=True,
        tasks=network.tasks,
        weights={data: f"weights/{name}.{data}.safetensors" for data in SHIPPED.get(name, ())},
    )


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Return the group networks and their plain counterparts."""
    return [_spec(name, network) for name, network in NETWORKS.items()]
