"""Fault: an id without namespace."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_models():
    return [ModelSpec(id="net", target="torch.nn:Identity")]
