"""Fault: a hook without its mark, which pluggy alone would ignore."""

from zoo.specs import ModelSpec


def zoo_models():
    return [ModelSpec(id="broken_mark/net", target="torch.nn:Identity")]
