"""Fault: the module of the target lacks the attribute; seen only when targets are tried."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_models():
    return [ModelSpec(id="broken_target/net", target="zoo_broken.wrong_target:build")]
