"""`zoo show` and `zoo env`: details of one item, environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import console, echo, host_of, print_json
from zoo.cli.options import RUNS_IN
from zoo.collected import COLLECTED
from zoo.environment import describe
from zoo.errors import MissingError, UsageError, closest
from zoo.escaping import visible
from zoo.paths import cache_dir
from zoo.registry import require
from zoo.schema import plain

if TYPE_CHECKING:
    from rich.table import Table

    from zoo.host import Host
    from zoo.specs import Spec


_EXPLAINED = ("params", "options")
"""Fields of specs that map a name to its default, and have meanings beside them."""


@click.command()
@click.argument("name", metavar="ID", shell_complete=COMPLETE["ids"])
@RUNS_IN
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show(ctx: click.Context, name: str, store: Path, as_json: bool) -> None:
    """Show the details of one thing, such as a model or a run.

    ID is the id or the name of a model, data set, simulator, channel, launcher, metric, task, augmentation, loss or
    optimiser; of a run, it is the folder or the first digits of the run id.
    """
    try:
        spec = _find_any(host_of(ctx), name, store=store)
    except (UsageError, MissingError):
        from zoo.cli.show_run import show_run
        from zoo.results.find import find_run, means_run

        if not means_run(name, store=store):
            raise
        show_run(find_run(name, store=store), as_json=as_json)
        return
    if as_json:
        print_json({"kind": spec.kind, **spec.to_json()})
        return
    from rich.markdown import Markdown

    from zoo.cli.terminal import styled
    from zoo.specs import ModelSpec
    from zoo.tasks.find import answers, tasks_by_name

    out = console()
    out.print(styled(spec.id, "bold"), f"  {spec.kind}\n{spec.summary}\n", sep="")
    if spec.card:
        out.print(Markdown(visible(spec.card)))
        out.print()
    content = spec.to_json()
    meanings = content.pop("meanings", {})
    if content.get("switch") is None:
        content.pop("switch_values", None)
    if isinstance(spec, ModelSpec):
        content["tasks"] = [name for name, task in tasks_by_name(host_of(ctx)).items() if answers(spec, task)]
    table = _table()
    for key, value in content.items():
        if key in ("id", "summary", "card") or value in (None, [], {}, ""):
            continue
        if not isinstance(value, dict):
            table.add_row(styled(key, "bold"), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            continue
        if key in _EXPLAINED:  # in a table of their own: their meanings take room from the values
            out.print(table)
            table = _table()
        table.add_row(styled("fixed arguments" if key == "arguments" else key, "bold"))
        for inner, inner_value in value.items():
            meaning = [styled(meanings.get(inner, ""), "dim")] if key in _EXPLAINED else []
            table.add_row(f"  {inner}", "''" if inner_value == "" else str(inner_value), *meaning)
        if key in _EXPLAINED:
            out.print(table)
            table = _table()
    out.print(table)
    try:
        require(f"{spec.kind} {spec.id}", spec.requires)
    except MissingError as error:
        echo(f"note: {error.args[0]} {error.hint}", err=True)


def _table() -> Table:
    """Return a table for names, values and meanings in which a narrow terminal folds no name."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _find_any(host: Host, name: str, *, store: Path) -> Spec:
    """Return the spec of any kind that a name means.

    Raises:
        UsageError: The name is unknown, or means weights.
        MissingError: The plugin is absent.
    """
    from zoo import registry

    wanted = name.strip().lower()

    def lists_it(kind: type[Spec]) -> bool:
        return any(wanted in (spec.id.lower(), spec.name.lower()) for spec in host.specs_of(kind))

    errors: list[UsageError | MissingError] = []
    known: dict[str, UsageError | MissingError] = {}  # name of something -> error of its kind
    # Kinds that list the name come first: plugins that resolve names of networks may import a library for it.
    for kind in sorted(filter(host.specs_of, COLLECTED.values()), key=lists_it, reverse=True):
        try:
            return registry.find(host, kind, name, usable=False)
        except (UsageError, MissingError) as error:
            errors.append(error)
            for spec in host.specs_of(kind):
                known.setdefault(spec.name, error)
                known.setdefault(spec.id, error)
    from zoo.weights.find import packaged_as, shipped_card, unknown_weights, weights_names  # which imports torch

    if packaged_as(host, name):
        card = shipped_card(host, name)
        hint = f"Their card, with scores and limits: zoo card {name}" if card else "See: zoo weights list"
        raise UsageError(f"'{name}' names weights.", hint=hint)
    # The kind of a name whose plugin is absent is unknown.
    if absent := registry.absent_plugin(host, name, what=f"'{name}'"):
        raise absent
    for telling in errors:
        if isinstance(telling, MissingError) or "ambiguous" in str(telling):
            raise telling
    unknown = unknown_weights(host, name, store=store, files=False)
    for each in weights_names(host, store=store):
        known.setdefault(each, unknown)
    nothing = UsageError(f"Nothing is named '{name}'.", hint=errors[0].hint if errors else "See: zoo plugins")
    raise next((known[near] for near in closest(name, known)), nothing)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def env(ctx: click.Context, as_json: bool) -> None:
    """Show machine, versions and plugins, for bug reports."""
    import zoo

    content = {
        "zoo": zoo.__version__,
        **plain(describe()),
        "cache": str(cache_dir()),
        "plugins": {name: f"{record.version} {record.state}" for name, record in host_of(ctx).records.items()},
    }
    if as_json:
        print_json(content)
        return
    for key, value in content.items():
        if isinstance(value, dict):
            echo(f"{key}:")
            for inner, inner_value in value.items():
                echo(f"  {inner:18} {inner_value}")
        else:
            echo(f"{key:20} {value}")
