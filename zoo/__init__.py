"""zoo: simulate strong lenses, train networks on them, and compare the networks honestly.

Importing this package costs next to nothing; everything below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoo.version import __version__

if TYPE_CHECKING:
    from zoo.api import (
        create_model,
        evaluate,
        list_datasets,
        list_models,
        list_simulators,
        load,
        open_dataset,
        score,
    )
    from zoo.benching import bench, bench_study, bench_suite
    from zoo.errors import ZooError
    from zoo.hookspecs import hookimpl
    from zoo.sharing import predict, simulate
    from zoo.specs import (
        AugmentationSpec,
        ChannelSpec,
        DatasetSpec,
        LauncherSpec,
        LossSpec,
        MetricSpec,
        ModelSpec,
        OptimizerSpec,
        SimulatorSpec,
        TaskSpec,
    )

_HOMES = {
    "bench": "zoo.benching",
    "bench_study": "zoo.benching",
    "bench_suite": "zoo.benching",
    "create_model": "zoo.api",
    "evaluate": "zoo.api",
    "list_datasets": "zoo.api",
    "list_models": "zoo.api",
    "list_simulators": "zoo.api",
    "load": "zoo.api",
    "open_dataset": "zoo.api",
    "predict": "zoo.sharing",
    "score": "zoo.api",
    "simulate": "zoo.sharing",
    "ZooError": "zoo.errors",
    "hookimpl": "zoo.hookspecs",
    "ChannelSpec": "zoo.specs",
    "DatasetSpec": "zoo.specs",
    "LauncherSpec": "zoo.specs",
    "MetricSpec": "zoo.specs",
    "ModelSpec": "zoo.specs",
    "SimulatorSpec": "zoo.specs",
    "AugmentationSpec": "zoo.specs",
    "LossSpec": "zoo.specs",
    "OptimizerSpec": "zoo.specs",
    "TaskSpec": "zoo.specs",
}

__all__ = [
    "AugmentationSpec",
    "ChannelSpec",
    "DatasetSpec",
    "LauncherSpec",
    "LossSpec",
    "MetricSpec",
    "ModelSpec",
    "OptimizerSpec",
    "SimulatorSpec",
    "TaskSpec",
    "ZooError",
    "__version__",
    "bench",
    "bench_study",
    "bench_suite",
    "create_model",
    "evaluate",
    "hookimpl",
    "list_datasets",
    "list_models",
    "list_simulators",
    "load",
    "open_dataset",
    "predict",
    "score",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'zoo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
