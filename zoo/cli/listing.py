"""`zoo list-models` and its siblings, and the layout of their lines."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json, warn_of_broken
from zoo.errors import UsageError, nearest
from zoo.escaping import visible
from zoo.specs import (
    ChannelSpec,
    DatasetSpec,
    LauncherSpec,
    MetricSpec,
    ModelSpec,
    OptimizerSpec,
    SimulatorSpec,
    TaskSpec,
)

if TYPE_CHECKING:
    from zoo.specs import Spec

_Command = TypeVar("_Command", bound=Callable[..., Any])
_LEAST_WIDTH = 24
_SHOWN_CLASSES = 5


class Column(NamedTuple):
    """One column of a list.

    Args:
        heading: Text of the first line.
        value: Function from a spec to the text of its cell.
        right: Whether the cells are aligned at their right ends, as numbers are.
    """

    heading: str
    value: Callable[[Any], str]
    right: bool = False


def _print(
    ctx: click.Context,
    kind: type[Spec],
    pattern: str,
    columns: Sequence[Column],
    *,
    as_json: bool,
    sort: Callable[[Any], Any] | None = None,
    **filters: Any,
) -> None:
    """Print the specs of a kind that fit, in the order of their ids or of the key `sort`.

    Raises:
        UsageError: A pattern was given that nothing fits.
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
            hint=f"See: {registry.LIST_COMMANDS[kind]}{registry.disabled_note(host)}",
        )
    if sort:
        specs = sorted(specs, key=sort)
    if as_json:
        print_json([spec.to_json() for spec in specs])
        return
    if not specs:
        echo(f"No plugin offers a {kind.kind}.", err=True)
    rows = [[column.heading for column in columns], *([column.value(spec) for column in columns] for spec in specs)]
    print_aligned(rows, right={index for index, column in enumerate(columns) if column.right})


def print_aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> None:
    """Print rows as aligned columns that fit the terminal.

    Args:
        rows: Headings, then texts.
        right: Indices of the columns that are aligned at their right ends.
    """
    plain = [[visible(text) for text in row] for row in rows]
    for number, text in enumerate(_aligned(plain, width=_terminal_width(), right=right)):
        echo(text, bold=not number)


def _aligned(rows: Sequence[Sequence[str]], *, width: int, right: Collection[int] = ()) -> list[str]:
    """Return each row as lines with aligned columns, folded between words where they would exceed the width.

    Where less than `_LEAST_WIDTH` would remain for the last column, its text follows on lines of its own.
    rich has prettier tables, but importing it takes as long as all the rest of listing.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    floors = [max(len(word) for text in column for word in [*text.split(), ""]) for column in zip(*rows, strict=True)]
    floors[-1] = min(widths[-1], max(floors[-1], _LEAST_WIDTH))
    separate = sum(floors) + 2 * (len(floors) - 1) > width
    beside = len(widths) - separate
    widths, floors = widths[:beside], floors[:beside]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        shrinkable = [index for index in range(len(widths)) if widths[index] > floors[index]]
        if not shrinkable:
            break
        widths[max(shrinkable, key=lambda index: widths[index])] -= 1
    texts = []
    for row in rows:
        cells = [_folded(text, size) for text, size in zip(row, widths, strict=False)]
        lines = [
            "  ".join(
                f"{part:>{size}}" if index in right else f"{part:<{size}}"
                for index, (part, size) in enumerate(zip(parts, widths, strict=True))
            ).rstrip()
            for parts in zip_longest(*cells, fillvalue="")
        ]
        if separate and row[-1]:
            lines += [f"    {part}" for part in _folded(row[-1], max(width - 4, 1))]
        texts.append("\n".join(lines))
    return texts


def _few(names: Sequence[str]) -> str:
    """Return the names, or the number of them with the first and the last where there are many."""
    shown = names if len(names) <= _SHOWN_CLASSES else [f"{len(names)}: {names[0]}", "...", names[-1]]
    return ", ".join(shown)


def _folded(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _terminal_width() -> int:
    """Return the columns of the terminal; a pipe gets lines as long as they need to be."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def _pattern(kind: str) -> Callable[[_Command], _Command]:
    return click.argument("pattern", default="*", shell_complete=COMPLETE[kind])


_SUMMARY = (Column("id", lambda spec: spec.id), Column("summary", lambda spec: spec.summary))
_tag = click.option("--tag", shell_complete=COMPLETE["tags"], help="List only entries with this tag.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("list-models")
@_pattern("models")
@_tag
@click.option(
    "--group", shell_complete=COMPLETE["groups"], help="List only networks of this symmetry group, such as p4m."
)
@click.option(
    "--sort",
    type=click.Choice(["name", "parameters", "group"]),
    default="name",
    show_default=True,
    help="Sort by this column.",
)
@_json
@click.pass_context
def list_models(ctx: click.Context, pattern: str, tag: str | None, group: str | None, sort: str, as_json: bool) -> None:
    """List networks."""

    columns = [
        Column("id", lambda spec: spec.id),
        Column("group", lambda spec: spec.group or "-"),
        Column("equivariance", lambda spec: spec.equivariance or "-"),
        Column("parameters", lambda spec: "-" if spec.parameters is None else f"{spec.parameters:,}", right=True),
        Column("bundled weights", _weights),
        Column("summary", lambda spec: spec.summary),
    ]
    _print(ctx, ModelSpec, pattern, columns, as_json=as_json, sort=_ORDERS.get(sort), tag=tag, group=group)


def _weights(spec: ModelSpec) -> str:
    """Return the names of a model's weights, as many as there is room for, and the number of the others."""
    shown = ""
    for number, name in enumerate(spec.weights):
        longer = f"{shown}, {name}" if shown else name
        if shown and len(longer) > _ROOM:
            return f"{shown}, +{len(spec.weights) - number}"
        shown = longer
    return shown or "-"


_ROOM = 18
"""Letters of the names of weights in a list, unless one name is longer."""
# Models without the value come last; sorting is stable, so equal ones stay in the order of their ids.
_ORDERS: dict[str, Callable[[ModelSpec], tuple[bool, Any]]] = {
    "parameters": lambda spec: (spec.parameters is None, spec.parameters or 0),
    "group": lambda spec: (spec.group is None, spec.group or ""),
}


@click.command("list-datasets")
@_pattern("datasets")
@_tag
@_json
@click.pass_context
def list_datasets(ctx: click.Context, pattern: str, tag: str | None, as_json: bool) -> None:
    """List data sets."""

    columns = [
        Column("id", lambda spec: spec.id),
        Column("classes", lambda spec: _few(spec.classes)),
        Column("summary", lambda spec: spec.summary),
    ]
    _print(ctx, DatasetSpec, pattern, columns, as_json=as_json, tag=tag)


@click.command("list-simulators")
@_pattern("simulators")
@_tag
@_json
@click.pass_context
def list_simulators(ctx: click.Context, pattern: str, tag: str | None, as_json: bool) -> None:
    """List lens simulators."""

    columns = [
        Column("id", lambda spec: spec.id),
        Column("device", lambda spec: spec.device),
        Column("", lambda spec: "default" if spec.default else ""),
        Column("summary", lambda spec: spec.summary),
    ]
    _print(ctx, SimulatorSpec, pattern, columns, as_json=as_json, tag=tag)


@click.command("list-launchers")
@_pattern("launchers")
@_tag
@_json
@click.pass_context
def list_launchers(ctx: click.Context, pattern: str, tag: str | None, as_json: bool) -> None:
    """List ways to run cells."""

    _print(ctx, LauncherSpec, pattern, _SUMMARY, as_json=as_json, tag=tag)


@click.command("list-channels")
@_pattern("channels")
@_tag
@_json
@click.pass_context
def list_channels(ctx: click.Context, pattern: str, tag: str | None, as_json: bool) -> None:
    """List channels that are computed from each image."""

    _print(ctx, ChannelSpec, pattern, _SUMMARY, as_json=as_json, tag=tag)


@click.command("list-metrics")
@_pattern("metrics")
@_tag
@_json
@click.pass_context
def list_metrics(ctx: click.Context, pattern: str, tag: str | None, as_json: bool) -> None:
    """List scores that plugins add."""

    columns = [
        Column("id", lambda spec: spec.id),
        Column("tasks", lambda spec: ", ".join(spec.tasks)),
        Column("summary", lambda spec: spec.summary),
    ]
    _print(ctx, MetricSpec, pattern, columns, as_json=as_json, tag=tag)


@click.command("list-optimizers")
@_pattern("optimizers")
@_tag
@_json
@click.pass_context
def list_optimizers(ctx: click.Context, pattern: str, tag: str | None, as_json: bool) -> None:
    """List the optimisers of plugins; adamw is built in.

    \b
    zoo bench --model p4m --data modelB --set optimizer=timm/muon
    """

    _print(ctx, OptimizerSpec, pattern, _SUMMARY, as_json=as_json, tag=tag)


@click.command("list-tasks")
@_pattern("tasks")
@_tag
@_json
@click.pass_context
def list_tasks(ctx: click.Context, pattern: str, tag: str | None, as_json: bool) -> None:
    """List what can be asked about the images of a data set."""

    _print(ctx, TaskSpec, pattern, _SUMMARY, as_json=as_json, tag=tag)
