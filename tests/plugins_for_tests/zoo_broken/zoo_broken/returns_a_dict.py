"""Fault: a hook returns a dictionary."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_models():
    return {"net": ModelSpec(id="broken_return/net", target="torch.nn:Identity")}
