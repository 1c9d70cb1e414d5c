"""Register the networks of `zoo_gconv.catalogue`."""

from __future__ import annotations

import copy

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec
from zoo_gconv.catalogue import NETWORKS, SHIPPED, Network

PARAMETERS: dict[str, int] = {
    "octic": 2_871_363,
    "octic_small": 321_707,
    "p4": 29_359,
    "p4_resnet18": 2_792_947,
    "p4_resnet18_wide": 11_164_643,
    "p4cnn": 20_133,
    "p4cnn_pooled": 19_383,
    "p4m": 29_391,
    "p4m_ae": 49_128,
    "p4m_convnext": 396_993,
    "p4m_resnet18": 1_396_475,
    "p4m_resnet18_wide": 11_187_977,
    "p4mcnn": 20_478,
    "z2": 29_292,
    "z2_p4_macs": 112_057,
    "z2_p4m_macs": 230_489,
    "z2cnn": 19_383,
}
"""Parameters of each network with its defaults, measured by benchmarks/parameters.py."""


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
