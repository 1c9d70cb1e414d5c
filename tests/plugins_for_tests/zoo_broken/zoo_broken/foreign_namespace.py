"""Fault: an id in somebody else's namespace."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_models():
    return [ModelSpec(id="gconv/better", target="torch.nn:Identity")]
