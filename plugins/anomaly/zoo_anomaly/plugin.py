"""Registers the methods with `zoo`."""

from __future__ import annotations

from zoo import ModelSpec, hookimpl


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Return the methods."""
    return []
