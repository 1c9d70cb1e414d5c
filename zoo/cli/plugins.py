"""`zoo plugins`, `zoo disable`, `zoo enable`: installed plugins, what they bring, what is wrong with them."""

from __future__ import annotations

import importlib.metadata
import os
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import commands_of, echo, host_of, print_json
from zoo.cli.listing import print_aligned
from zoo.disabled import change_disabled, disabled_plugins
from zoo.errors import UsageError, nearest
from zoo.first_import import forget_refusals
from zoo.hookspecs import EVENTS
from zoo.isolation import plugin_code, printing_to_stderr
from zoo.plurals import counted, plural
from zoo.specs import Spec

if TYPE_CHECKING:
    from zoo.host import Host, PluginRecord

SLOW_MS = 300.0
"""Time of an import that is named; that of all plugins of this project together is a tenth of a second."""


@click.command()
@click.option("--errors", is_flag=True, help="Import all targets and commands too; print the tracebacks of failures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def plugins(ctx: click.Context, errors: bool, as_json: bool) -> None:
    """List installed plugins and their status.

    With --errors the exit code is 1 if a plugin is broken.
    """
    if errors:
        forget_refusals()
    host = host_of(ctx)
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    taken = dict.fromkeys(root.commands, "zoo")
    rows = [_row(host, record, errors=errors, taken=taken) for record in host.records.values()]
    broken = any(row["state"] == "broken" or row["target_errors"] for row in rows)
    if as_json:
        print_json(rows)
        ctx.exit(1 if errors and broken else 0)
    lines = [("plugin", "version", "state", "API", "ms", "distribution and what it brings")]
    for row in rows:
        state = "broken" if row["target_errors"] else row["state"]
        api = "-" if row["api_version"] is None else str(row["api_version"])
        problems = [row["error"], *(entry["error"] for entry in row["target_errors"]), *row["notes"]]
        about = "; ".join(filter(None, [", ".join(row["brings"]), *problems]))
        source = ": ".join(filter(None, [row["distribution"], about]))
        lines.append((row["name"], row["version"], state, api, f"{row['import_ms']:.1f}", source))
    print_aligned(lines, right={3, 4})
    if errors:
        for row in rows:
            for trace in filter(None, [row["trace"], *(entry["trace"] for entry in row["target_errors"])]):
                echo(f"\n{row['name']} ({row['distribution']} {row['version']})", bold=True)
                echo(trace)
        ctx.exit(1 if broken else 0)


@click.command()
@click.argument("names", metavar="PLUGIN...", nargs=-1, required=True, shell_complete=COMPLETE["plugins"])
@click.pass_context
def disable(ctx: click.Context, names: Sequence[str]) -> None:
    """Leave plugins out until they are enabled again."""
    names = [name.strip().lower() for name in names]
    known = {record.name for record in host_of(ctx).records.values() if record.version != "file"}
    for name in names:
        if name not in known:
            raise UsageError(f"No plugin '{name}' is installed.{nearest(name, known)}", hint="See: zoo plugins")
    change_disabled(add=names)
    for name in names:
        echo(f"{name} is disabled in this environment. To undo this: zoo enable {name}")


@click.command()
@click.argument("names", metavar="PLUGIN...", nargs=-1, required=True, shell_complete=COMPLETE["plugins"])
@click.pass_context
def enable(ctx: click.Context, names: Sequence[str]) -> None:
    """Enable plugins that were disabled."""
    names = [name.strip().lower() for name in names]
    known = {record.name for record in host_of(ctx).records.values()} | disabled_plugins()
    for name in names:
        if name not in known:
            raise UsageError(f"No plugin '{name}' is installed.{nearest(name, known)}", hint="See: zoo plugins")
    change_disabled(remove=names)
    for name in names:
        echo(f"{name} is enabled in this environment.")


def _row(host: Host, record: PluginRecord, *, errors: bool, taken: dict[str, str]) -> dict[str, Any]:
    """Return all values of a plugin.

    Args:
        host: The plugins.
        record: State of the plugin.
        errors: Whether targets are imported.
        taken: Name of a command -> its owner; commands of the plugin are added.
    """
    row = asdict(record) | {"target_errors": [], "brings": [], "notes": _notes_on(record)}
    if record.state != "ok":
        return row
    commands = _commands(host, record.name)
    row["brings"] = [*_brings(host, record.name), *_listed("command", commands)]
    row["notes"] += _shadowed(host, record.name)
    row["notes"] += [f"the command {one} is that of {taken[one]}" for one in commands if one in taken]
    taken |= {one: taken.get(one, record.name) for one in commands}
    if errors:
        row["target_errors"] = _target_errors(host, record.name)
    return row


def _commands(host: Host, namespace: str) -> list[str]:
    """Return the names of the commands of a plugin; none where it fails, which --errors shows."""
    try:
        return [one.name for one in commands_of(host, namespace) if one.name is not None and not one.hidden]
    except Exception:
        return []


def _specs_of(host: Host, namespace: str) -> list[Spec]:
    return [spec for by_id in host.specs.values() for spec in by_id.values() if spec.namespace == namespace]


def _listed(noun: str, names: Sequence[str]) -> list[str]:
    return [f"{noun if len(names) == 1 else plural(noun)} {', '.join(names)}"] if names else []


def _brings(host: Host, namespace: str) -> list[str]:
    """Return what a plugin registers: numbers of specs of each kind, models by name, events."""
    kinds = [spec.kind for spec in _specs_of(host, namespace)]
    found = [counted(kinds.count(kind), kind) for kind in dict.fromkeys(kinds)]
    callers = host.manager.get_hookcallers(host.manager.get_plugin(namespace)) or []
    hooks = {caller.name for caller in callers}
    found += ["models by name"] if "zoo_resolve_model" in hooks else []
    return found + ([counted(len(events), "event")] if (events := hooks & set(EVENTS)) else [])


def _notes_on(record: PluginRecord) -> list[str]:
    """Return why a plugin is disabled or slow, and other installations of its distribution."""
    notes = []
    if record.import_ms > SLOW_MS:
        notes.append(f"every command waits {record.import_ms / 1e3:.1f} s for its import")
    if record.state == "disabled":
        lasting = record.name in disabled_plugins()
        how = f"zoo enable {record.name}" if lasting else "ZOO_PLUGINS, ZOO_DISABLE_PLUGINS"
        notes.append(f"to enable it: {how}")
    if record.version == "file" or record.distribution == "?":
        return notes
    found: dict[str, str] = {}  # the first one counts
    for one in importlib.metadata.distributions(name=record.distribution):
        place = getattr(one, "_path", None)  # of installations in folders, which are the usual ones
        if place is not None:
            found.setdefault(os.path.dirname(place), one.version)
    return notes + [f"installed a second time, version {version} in {place}" for place, version in [*found.items()][1:]]


def _shadowed(host: Host, namespace: str) -> list[str]:
    """Return the names of a plugin that mean something else, or nothing, where they stand alone."""
    elsewhere: dict[str, list[str]] = {}
    for spec in _specs_of(host, namespace):
        same = [one for one in host.specs_of(type(spec)) if one.name.lower() == spec.name.lower()]
        own = [one for one in same if host.records[one.namespace].first_party]
        if len(own) == 1 and own[0].namespace != namespace:
            elsewhere.setdefault(f"without a namespace those of {own[0].namespace} are meant", []).append(spec.name)
        elif len(own) != 1 and len(same) > 1:
            others = _few([one.namespace for one in same if one is not spec])
            elsewhere.setdefault(f"write {namespace}/NAME, since {others} has this name, too", []).append(spec.name)
    return [f"{meaning}: {_few(names)}" for meaning, names in elsewhere.items()]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" (and {len(names) - 3} more)" if len(names) > 3 else "")


def _target_errors(host: Host, namespace: str) -> list[dict[str, str]]:
    """Import every target and command of a plugin; return id, error and traceback of each that fails."""
    failures = []
    try:
        commands_of(host, namespace)
    except Exception as error:
        message = f"zoo_commands: {type(error).__name__}: {error}"
        failures.append({"id": f"{namespace}/zoo_commands", "error": message, "trace": traceback.format_exc()})
    for spec in _specs_of(host, namespace):
        try:
            with printing_to_stderr(), plugin_code(namespace, f"the import of {spec.target}"):
                spec.load()
        except Exception as error:
            message = f"{spec.id}: target {spec.target}: {type(error).__name__}: {error}"
            failures.append({"id": spec.id, "error": message, "trace": traceback.format_exc()})
    return failures
