"""Fault: a hook raises, after another one has returned good specs."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_models():
    return [ModelSpec(id="broken_hook/net", target="torch.nn:Identity")]


@hookimpl
def zoo_simulators():
    raise RuntimeError("the simulators are out")
