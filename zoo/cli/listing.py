"""`zoo list-models` and its siblings."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.context import host_of, print_json, warn_of_broken
from zoo.errors import UsageError, nearest

if TYPE_CHECKING:
    from zoo.specs import Spec

Column = tuple[str, Callable[[Any], str]]
_LEAST_WIDTH = 24


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
    rows = [[value(spec) for _, value in columns] for spec in specs]
    for number, line in enumerate(_aligned([[heading for heading, _ in columns], *rows], width=_terminal_width())):
        click.echo(line if number else click.style(line, bold=True))


def _aligned(rows: Sequence[Sequence[str]], *, width: int) -> list[str]:
    """Return the rows as lines with aligned columns; the last column is folded where it reaches beyond the width.

    rich has prettier tables, but importing it takes as long as all the rest of listing.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    indent = sum(widths) + 2 * len(widths)
    lines = []
    for row in rows:
        start = "".join(f"{text:<{size}}  " for text, size in zip(row, widths, strict=False))
        folded = textwrap.wrap(row[-1], max(width - indent, _LEAST_WIDTH)) or [""]
        lines += [f"{start if number == 0 else ' ' * indent}{part}".rstrip() for number, part in enumerate(folded)]
    return lines


def _terminal_width() -> int:
    """Return the columns of the terminal; a pipe gets lines as long as they need to be."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


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
        ("", lambda spec: "default" if spec.default else ""),
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
