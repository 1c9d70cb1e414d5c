"""Fault: one id twice, but for upper and lower case."""

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_models():
    return [ModelSpec(id=f"broken_duplicate/{name}", target="torch.nn:Identity") for name in ("net", "NET")]
