"""Fault: a hook of a name that does not exist, beside a good one."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_models():
    return [ModelSpec(id="broken_hook_name/net", target="torch.nn:Identity")]


@hookimpl
def zoo_modles():
    return []
