"""Hooks of one plugin and the specs that they return, checked before it joins the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from types import ModuleType
from typing import Any, TypeVar, cast

import pluggy

from zoo import hookspecs
from zoo.errors import nearest
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
    Spec,
    TaskSpec,
)

S = TypeVar("S")
COLLECTED: dict[str, type[Spec]] = {
    "zoo_models": ModelSpec,
    "zoo_datasets": DatasetSpec,
    "zoo_simulators": SimulatorSpec,
    "zoo_channels": ChannelSpec,
    "zoo_launchers": LauncherSpec,
    "zoo_metrics": MetricSpec,
    "zoo_tasks": TaskSpec,
    "zoo_augmentations": AugmentationSpec,
    "zoo_losses": LossSpec,
    "zoo_optimizers": OptimizerSpec,
}


CORE_TASKS = ("classify", "anomaly", "regress")
"""Names of the tasks that the core registers."""


def check_hooks(trial: pluggy.PluginManager, module: ModuleType) -> None:
    """Refuse what pluggy would ignore: marked functions of an unknown name, and hooks without the mark.

    Raises:
        PluginValidationError: A hook has an unknown name; the error contains the nearest valid one.
    """
    # Not vars(trial.hook), where pluggy notes every name that it meets.
    known = [name for name in vars(hookspecs) if name.startswith("zoo_")]
    for name, value in vars(module).items():
        marked = name.startswith("zoo_") and trial.parse_hookimpl_opts(module, name) is not None
        if marked and name not in known:
            raise pluggy.PluginValidationError(module, f"unknown hook '{name}'.{nearest(name, known)}")
        if name in known and not marked and callable(value):
            raise pluggy.PluginValidationError(module, f"'{name}' lacks the mark @hookimpl")
    trial.check_pending()


def entries(returned: object, kind: type[S], *, hook: str) -> list[S]:
    """Return what a hook returned if it is a list of one kind of thing.

    Subclasses of lists and specs are refused, since they could be anything, such as endless.

    Args:
        returned: List or tuple.
        kind: Class of its entries.
        hook: Name of the hook, for the message.

    Raises:
        TypeError: It is something else.
    """
    if type(returned) not in (list, tuple):
        raise TypeError(f"{hook} must return a list of {kind.__name__}, not {type(returned).__name__}")
    content = list(cast(Iterable[Any], returned))
    for entry in content:
        if not (type(entry) is kind if issubclass(kind, Spec) else issubclass(type(entry), kind)):
            raise TypeError(f"{hook} must return {kind.__name__}s, not {type(entry).__name__}")
    return content


def collect(trial: pluggy.PluginManager, namespace: str) -> list[Spec]:
    """Return the specs of the one plugin in `trial`.

    Raises:
        TypeError: A hook returned something other than a list of its kind of spec, or a wrapper something other than
            the list of these.
        ValueError: An id outside the plugin's namespace, or twice, or a task that does not exist.
    """
    collected: list[Spec] = []
    seen: set[tuple[type[Spec], str]] = set()
    for hook, kind in COLLECTED.items():
        offered = getattr(trial.hook, hook)()
        if not isinstance(offered, list):
            raise TypeError(
                f"a wrapper of {hook} must return the list that its yield gave, not {type(offered).__name__}"
            )
        for returned in offered:
            for spec in entries(returned, kind, hook=hook):
                # Made anew: the plugin keeps no way to change it.
                spec = dataclasses.replace(spec)
                if spec.namespace != namespace:
                    raise ValueError(
                        f"{spec.id}: the id must begin with '{namespace}/', the name of its entry point or file"
                    )
                if (kind, spec.id.lower()) in seen:
                    raise ValueError(f"{kind.kind} id {spec.id} is registered twice")
                seen.add((kind, spec.id.lower()))
                collected.append(spec)
    _check_tasks(collected, namespace)
    return collected


def _check_tasks(collected: Iterable[Spec], namespace: str) -> None:
    """Refuse names of tasks that neither the core nor the plugin has; another plugin may be absent.

    Raises:
        ValueError: There is no such task.
    """
    known = [*CORE_TASKS, *(spec.id for spec in collected if isinstance(spec, TaskSpec))]
    for spec in collected:
        if isinstance(spec, DatasetSpec):
            continue  # its tasks are groupings of its classes
        for where in ("tasks", "networks_of"):
            for name in getattr(spec, where, ()):
                if name not in known and ("/" not in name or name.startswith(f"{namespace}/")):
                    raise ValueError(
                        f"{spec.id}: {where} names {name!r}; known are {', '.join(known)}, and tasks of other plugins "
                        f"by their full id.{nearest(name, known)}"
                    )
