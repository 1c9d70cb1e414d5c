"""Register the networks escnn/*, whose filters come from escnn 1.0.11."""

from __future__ import annotations

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec
from zoo_steerable.specs import resolve, specs


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Return one network for each group."""
    return specs("escnn", "1.0.11")


@hookimpl
def zoo_resolve_model(name: str) -> ModelSpec | None:
    """Return the spec of a network of 2021, such as escnn/d8_2021."""
    return resolve("escnn", name)
