"""The conformance kit for plugin authors: classes for pytest, one for each kind, and a function for scripts."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.testing.cases import (
        ChannelChecks,
        CommandChecks,
        DatasetChecks,
        LauncherChecks,
        MetricChecks,
        ModelChecks,
        PluginChecks,
        PopulationChecks,
        SimulatorChecks,
        TaskChecks,
        TrackerChecks,
    )
    from zoo.testing.kit import Options, check
    from zoo.testing.outcome import ConformanceError, Outcome, require_passed

_CASES = (
    "ChannelChecks", "CommandChecks", "DatasetChecks", "LauncherChecks", "MetricChecks", "ModelChecks", "PluginChecks",
    "PopulationChecks", "SimulatorChecks", "TaskChecks", "TrackerChecks",
)  # fmt: skip
_HOMES = {
    **dict.fromkeys(_CASES, "zoo.testing.cases"),
    **dict.fromkeys(("ConformanceError", "Outcome", "require_passed"), "zoo.testing.outcome"),
    **dict.fromkeys(("Options", "check"), "zoo.testing.kit"),
}

__all__ = [
    "ChannelChecks",
    "CommandChecks",
    "ConformanceError",
    "DatasetChecks",
    "LauncherChecks",
    "MetricChecks",
    "ModelChecks",
    "Options",
    "Outcome",
    "PluginChecks",
    "PopulationChecks",
    "SimulatorChecks",
    "TaskChecks",
    "TrackerChecks",
    "check",
    "require_passed",
]


def __getattr__(name: str) -> Any:
    """Import a name from its home on first use."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'zoo.testing' has no attribute '{name}'")
