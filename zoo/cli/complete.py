"""Shell completion: names of what is installed, and ids of stored runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from zoo.budgets import BUDGETS
from zoo.cli.context import host_of
from zoo.escaping import one_line
from zoo.specs import DatasetSpec, LauncherSpec, ModelSpec, SimulatorSpec, Spec

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _items(incomplete: str, names: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    """Return the names that continue what was typed; of a comma-separated list, its last entry is continued."""
    before, comma, last = incomplete.rpartition(",")
    return [
        CompletionItem(one_line(f"{before}{comma}{name}"), help=one_line(text) or None)
        for name, text in names
        if name.startswith(last)
    ]


def _specs(kind: type[Spec]) -> Complete:
    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        specs = host_of(ctx).specs_of(kind)
        names = {name: spec.summary for spec in specs for name in (spec.name, spec.id)}
        return _items(incomplete, sorted(names.items()))

    return complete


def _budgets(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _items(incomplete, ((name, budget.note) for name, budget in BUDGETS.items()))


def complete_runs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids of the runs in the store that the command reads, or folders where no id begins so."""
    store = Path(ctx.params.get("source") or ctx.params.get("store") or "results")
    runs = [(path.parent.name, f"{path.parts[-3]} on {path.parts[-4]}") for path in store.glob("*/*/*/cell.json")]
    return _items(incomplete, sorted(runs)) or [CompletionItem(incomplete, type="dir")]


COMPLETE: dict[str, Complete] = {
    "models": _specs(ModelSpec),
    "datasets": _specs(DatasetSpec),
    "simulators": _specs(SimulatorSpec),
    "launchers": _specs(LauncherSpec),
    "budgets": _budgets,
}
