"""Registers the methods of `zoo_anomaly.specs`."""

from __future__ import annotations

from zoo import ModelSpec, hookimpl
from zoo_anomaly.specs import MODELS


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Return the methods."""
    return list(MODELS)
