"""Fault: written for a later zoo."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec

ZOO_API_VERSION = 2


@hookimpl
def zoo_models():
    return [ModelSpec(id="broken_api/net", target="torch.nn:Identity")]
