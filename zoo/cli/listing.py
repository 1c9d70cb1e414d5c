"""`zoo list-models` and its siblings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.context import console, host_of, print_json, warn_of_broken
from zoo.errors import UsageError, nearest

if TYPE_CHECKING:
    from zoo.specs import Spec

Column = tuple[str, Callable[[Any], str]]


def _print(
    ctx: click.Context,
    kind: type[Spec],
    pattern: str,
    columns: Sequence[Column],
    *,
    as_json: bool,
    **filters: Any,
) -> None:
    """Print the specs of a kind that fit.

    Raises:
        UsageError: a pattern was given that nothing fits.
    """
    from zoo import registry

    host = host_of(ctx)
    specs = registry.listed(host, kind, pattern=pattern, **filters)
    warn_of_broken(host)
    if not specs and (pattern != "*" or any(filters.values())):
        wanted = " ".join([f"'{pattern}'", *(f"{name} '{value}'" for name, value in filters.items() if value)])
        names = [name for spec in registry.listed(host, kind) for name in (spec.id, spec.name)]
        raise UsageError(
            f"No {kind.kind} fits {wanted}.{nearest(pattern, names)}",
            hint=f"See: {registry.LIST_COMMANDS[kind]}",
        )
    if as_json:
        print_json([spec.to_json() for spec in specs])
        return
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading, _ in columns:
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for spec in specs:
        table.add_row(*(value(spec) for _, value in columns))
    console().print(table)


_pattern = click.argument("pattern", default="*")
_tag = click.option("--tag", help="Only those with this tag.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("list-models")
@_pattern
@_tag
@click.option("--group", help="Only networks of this symmetry group, such as p4m.")
@_json
@click.pass_context
def list_models(ctx: click.Context, pattern: str, tag: str | None, group: str | None, as_json: bool) -> None:
    """List networks."""
    from zoo.specs import ModelSpec

    columns: list[Column] = [
        ("id", lambda spec: spec.id),
        ("group", lambda spec: spec.group or "-"),
        ("equivariance", lambda spec: spec.equivariance or "-"),
        ("summary", lambda spec: spec.summary),
    ]
    _print(ctx, ModelSpec, pattern, columns, as_json=as_json, tag=tag, group=group)


@click.command("list-datasets")
@_pattern
@_tag
@_json
@click.pass_context
def list_datasets(ctx: click.Context, pattern: str, tag: str | None, as_json: bool) -> None:
    """List data sets."""
    from zoo.specs import DatasetSpec

    columns: list[Column] = [
        ("id", lambda spec: spec.id),
        ("classes", lambda spec: ", ".join(spec.classes)),
        ("summary", lambda spec: spec.summary),
    ]
    _print(ctx, DatasetSpec, pattern, columns, as_json=as_json, tag=tag)


@click.command("list-simulators")
@_pattern
@_tag
@_json
@click.pass_context
def list_simulators(ctx: click.Context, pattern: str, tag: str | None, as_json: bool) -> None:
    """List lens simulators."""
    from zoo.specs import SimulatorSpec

    columns: list[Column] = [
        ("id", lambda spec: spec.id),
        ("device", lambda spec: spec.device),
        ("summary", lambda spec: spec.summary),
    ]
    _print(ctx, SimulatorSpec, pattern, columns, as_json=as_json, tag=tag)


@click.command("list-launchers")
@_pattern
@_tag
@_json
@click.pass_context
def list_launchers(ctx: click.Context, pattern: str, tag: str | None, as_json: bool) -> None:
    """List ways to run cells."""
    from zoo.specs import LauncherSpec

    columns: list[Column] = [("id", lambda spec: spec.id), ("summary", lambda spec: spec.summary)]
    _print(ctx, LauncherSpec, pattern, columns, as_json=as_json, tag=tag)
