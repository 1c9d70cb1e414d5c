"""Fault: a hook asks for an argument that it does not have."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_models(config):
    return [ModelSpec(id="broken_argument/net", target="torch.nn:Identity")]
