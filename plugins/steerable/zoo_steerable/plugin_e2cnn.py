"""Register the networks e2cnn/*, whose filters come from e2cnn 0.2.3."""

from __future__ import annotations

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec
from zoo_steerable.specs import resolve, specs


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Return one network for each group."""
    return specs("e2cnn", "0.2.3")


@hookimpl
def zoo_resolve_model(name: str) -> ModelSpec | None:
    """Return the spec of a network of 2021, such as e2cnn/d8_2021."""
    return resolve("e2cnn", name)
