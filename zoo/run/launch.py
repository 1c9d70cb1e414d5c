"""The launcher of a command with its options, and the resources of each job, as users state them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.devices import planned_device, resolve_device
from zoo.errors import MissingError, UsageError, nearest
from zoo.plain_values import parse_value
from zoo.plan.overrides import matches
from zoo.plan.request import option
from zoo.results.cell import Cell
from zoo.run.launcher import Resources
from zoo.specs import LauncherSpec
from zoo.train.team import ALONE, Team

if TYPE_CHECKING:
    from zoo.host import Host

LOCAL = "core/local"
"""Launcher that runs cells on this machine."""
RESOURCES = tuple(one.name for one in fields(Resources))
_SET = "--launcher-set"


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Options of commands that run their work as jobs of a launcher: which launcher, with what resources.

    Args:
        launcher: Id or name.
        launcher_settings: Texts "KEY=VALUE", "LAUNCHER.KEY=VALUE" or "MODEL.RESOURCE=VALUE", or a mapping of the same.
        jobs: Jobs that `core/local` runs at a time; None: one on each GPU of `gpus`, or one.
        gpus: GPUs of `core/local`, such as "0,1"; "" leaves them to each job.
        retries: Further attempts after a preemption, a time limit or the loss of a node. Attempts that added a
            checkpoint do not count.
    """

    launcher: str = option(LOCAL, "Run the cells with this launcher.", complete="launchers")
    launcher_settings: Sequence[str] | Mapping[str, Any] = option(
        (), "Set an option of the launcher, or a resource: gpus=1, 'timm/*.minutes=90'.", flag=_SET,
        metavar="[NAME.]KEY=VALUE",
    )  # fmt: skip
    jobs: int | None = option(
        None, "Run this many jobs at a time on this machine; default: 1, or one on each of --gpus."
    )
    gpus: str = option("", "Use as many of these GPUs for each job as it needs: 0,1,2,3.", metavar="NUMBERS")
    retries: int = option(2, "Run a preempted job again at most this often without progress.")

    def device(self, host: Host, asked: str) -> str:
        """Return the device to plan for: "auto" elsewhere is decided by the resources, not by the machine that plans.

        Args:
            host: The plugins.
            asked: Device of the request.

        Raises:
            UsageError: The launcher is unknown, or the number of GPUs is impossible.
            MissingError: `gpus` names GPUs of this machine, which has none.
        """
        spec = registry.find(host, LauncherSpec, self.launcher)
        if asked == "auto" and spec.id == LOCAL and self.gpus and resolve_device(asked) != "cuda":
            raise MissingError(f"--gpus {self.gpus}: no GPU was found on this machine.", hint="Leave out --gpus.")
        if asked != "auto" or spec.id == LOCAL:
            return asked
        for key, value in _pairs(self.launcher_settings).items():
            prefix, _, name = key.rpartition(".")
            if name == "gpus" and prefix.lower() in ("", spec.id.lower(), spec.name.lower()):
                return "cuda" if _resource(key, name, value) else "cpu"
        return asked

    def resolved(self, host: Host, cells: Sequence[Cell], *, gpus: int = 0, team: Team = ALONE) -> Resolved:
        """Return the launcher, its options and the resources of the cells, compared with what there is.

        Args:
            host: The plugins.
            cells: The plan.
            gpus: GPUs on each node that a cell needs by its other options.
            team: The processes that train each network.

        Raises:
            UsageError: The launcher, an option, a resource or a model is unknown, or a value is impossible.
        """
        spec = registry.find(host, LauncherSpec, self.launcher)
        if type(self.retries) is not int or self.retries < 0:
            raise UsageError(f"--retries {self.retries!r} must be a whole number, 0 or more.")
        if self.jobs is not None and (type(self.jobs) is not int or self.jobs < 1):
            raise UsageError(f"--jobs {self.jobs!r} must be a whole number, 1 or more.")
        given = dict(_pairs(self.launcher_settings))
        for flag, name, value in (("--jobs", "jobs", self.jobs), ("--gpus", "gpu_ids", self.gpus)):
            if value and name not in spec.options:
                raise UsageError(f"{flag} is an option of {LOCAL}; the launcher of this command is {spec.id}.")
            if value:
                if twice := [key for key in given if key in (name, f"{spec.id}.{name}", f"{spec.name}.{name}")]:
                    raise UsageError(f"{flag} and {_SET} {twice[0]} state the same.", hint="Leave out one of the two.")
                given[f"{spec.id}.{name}"] = value
        names = {cell.model for cell in cells}
        options = dict(spec.options)
        shared: dict[str, Any] = {}
        own: list[tuple[str, dict[str, Any]]] = []
        for key, value in given.items():
            prefix, _, name = key.rpartition(".")
            if prefix.lower() in ("", spec.id.lower(), spec.name.lower()):
                if name in options:
                    options[name] = _typed(key, value, spec.options[name])
                elif name in RESOURCES:
                    shared[name] = _resource(key, name, value)
                else:
                    raise UsageError(
                        f"{_SET} {key}: {spec.id} has no option '{name}'.{nearest(name, [*options, *RESOURCES])}",
                        hint=f"See: zoo show {spec.id}",
                    )
                continue
            if other := [one.id for one in registry.listed(host, LauncherSpec) if prefix in (one.id, one.name)]:
                raise UsageError(
                    f"{_SET} {key}: the launcher of this command is {spec.id}.", hint=f"Add: --launcher {other[0]}"
                )
            if not any(matches(prefix, model, model.partition("/")[2]) for model in names):
                known = [spec.id, spec.name, *names, *(model.partition("/")[2] for model in names)]
                raise UsageError(
                    f"{_SET} {key}: '{prefix}' is neither the launcher nor a model of this command."
                    f"{nearest(prefix, known)}"
                )
            own.append((prefix, {name: _resource(key, name, value)}))
        # On one node, zoo starts the processes itself.
        needed = Resources(gpus=gpus, nodes=team.num_nodes, tasks_per_node=team.devices if team.num_nodes > 1 else 1)
        basis = replace(needed, **shared)
        return Resolved(spec=spec, options=options, basis=basis, own=own, retries=self.retries)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A launcher with its options, and the resources of each cell.

    Args:
        spec: Spec of the launcher.
        options: All of its options.
        basis: Resources of every cell.
        own: Pattern of models, and resources of these.
        retries: Further attempts.
    """

    spec: LauncherSpec
    options: Mapping[str, Any] = field(default_factory=dict)
    basis: Resources = field(default_factory=Resources)
    own: Sequence[tuple[str, Mapping[str, Any]]] = ()
    retries: int = 2

    def on_all_gpus(self) -> Resolved:
        """Return the local launcher with all GPUs of this machine where several jobs share it and none are named."""
        import torch

        if self.options["jobs"] < 2 or self.options["gpu_ids"] or torch.cuda.device_count() < 2:
            return self
        numbers = ",".join(map(str, range(torch.cuda.device_count())))
        return replace(self, options={**self.options, "gpu_ids": numbers})

    def resources(self, cell: Cell) -> Resources:
        """Return the resources of a cell."""
        found = self.basis
        for pattern, values in self.own:
            if matches(pattern, cell.model, cell.model.partition("/")[2]):
                found = replace(found, **values)
        return found


def launch_of_call(
    launcher: str | None,
    shards: int | None,
    *,
    launcher_settings: Sequence[str] | Mapping[str, Any],
    jobs: int | None,
    gpus: str,
    retries: int,
) -> Launch | None:
    """Return the launcher of a Python call that may divide its work; None where this process does it.

    Args:
        launcher: Id or name, or None.
        shards: Number of shares, or None.
        launcher_settings, jobs, gpus, retries: Fields of `Launch`.

    Raises:
        UsageError: An argument lacks the one that it belongs to, or the number of shares is impossible.
    """
    if launcher is None:
        if shards is not None or launcher_settings or jobs is not None or gpus or retries != Launch.retries:
            hint = f"Add launcher={LOCAL!r}."
            raise UsageError("shards, launcher_settings, jobs, gpus and retries need a launcher.", hint=hint)
        return None
    if shards is None:
        raise UsageError(f"launcher={launcher!r} needs the number of shares.", hint="For example: shards=8")
    if type(shards) is not int or shards < 1:
        raise UsageError(f"shards={shards!r} must be a whole number, 1 or more.")
    return Launch(launcher=launcher, launcher_settings=launcher_settings, jobs=jobs, gpus=gpus, retries=retries)


def device_for(host: Host, launch: Launch | None, asked: str) -> str:
    """Return the device to compute on, or to plan for where a launcher's machines do the work.

    Args:
        host: The plugins.
        launch: Launcher of the work; None where this process does it.
        asked: Device of the request.

    Raises:
        UsageError: The device, the launcher or an option of it is unknown.
        MissingError: The device is not there.
    """
    if launch is None:
        return resolve_device(asked)
    resolved = launch.resolved(host, ())
    return (resolve_device if resolved.spec.id == LOCAL else planned_device)(launch.device(host, asked))


def _pairs(settings: Sequence[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(settings, Mapping):
        return settings
    found: dict[str, Any] = {}
    for pair in settings:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{_SET} {pair!r} is not of the form KEY=VALUE.", hint=f"For example: {_SET} gpus=1")
        if name.strip() in found:
            raise UsageError(f"{_SET} {name.strip()} is given twice.", hint="State it once.")
        found[name.strip()] = text
    return found


def _typed(key: str, value: Any, default: Any) -> Any:
    """Return the value of an option in the type of its default; a text stays one where the default is a text."""
    if isinstance(default, str):
        return str(value)
    found = parse_value(value, of=f"{_SET} {key}") if isinstance(value, str) else value
    if isinstance(default, float) and type(found) is int:
        found = float(found)
    if default is not None and type(found) is not type(default):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}.get(type(default), "another value")
        raise UsageError(f"{_SET} {key}={value} must be {kind}.")
    return found


def _resource(key: str, name: str, value: Any) -> Any:
    if name not in RESOURCES:
        raise UsageError(
            f"{_SET} {key}: '{name}' is not a resource.{nearest(name, RESOURCES)}",
            hint=f"Resources of a model: {', '.join(RESOURCES)}",
        )
    found = parse_value(value, of=f"{_SET} {key}") if isinstance(value, str) else value
    whole = name not in ("memory_gb", "minutes")
    least = 0 if name == "gpus" else 1 if whole else 1e-3
    if type(found) not in ((int,) if whole else (int, float)) or found < least:
        raise UsageError(f"{_SET} {key}={value} must be a {'whole ' if whole else ''}number, {least:g} or more.")
    return found
