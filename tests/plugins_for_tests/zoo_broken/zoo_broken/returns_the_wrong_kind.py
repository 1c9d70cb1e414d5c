"""Fault: a network among the simulators."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_simulators():
    return [ModelSpec(id="broken_kind/net", target="torch.nn:Identity")]
