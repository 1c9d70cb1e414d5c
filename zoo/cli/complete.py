"""Shell completion: names of installed plugins' specs and weights, ids of stored runs and names of studies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from zoo.budgets import BUDGETS
from zoo.cli.context import host_of
from zoo.escaping import one_line
from zoo.specs import DatasetSpec, LauncherSpec, MetricSpec, ModelSpec, SimulatorSpec, Spec

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _items(incomplete: str, names: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    """Return the names that continue what was typed; of a comma-separated list, its last entry is continued."""
    before, comma, last = incomplete.rpartition(",")
    return [
        CompletionItem(one_line(f"{before}{comma}{name}"), help=one_line(text) or None)
        for name, text in names
        if name.startswith(last)
    ]


def _specs(*kinds: type[Spec]) -> Complete:
    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        specs = [spec for kind in kinds for spec in host_of(ctx).specs_of(kind)]
        names = {name: spec.summary for spec in specs for name in (spec.name, spec.id)}
        return _items(incomplete, sorted(names.items()))

    return complete


def _budgets(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _items(incomplete, ((name, budget.note) for name, budget in BUDGETS.items()))


def _store(ctx: click.Context) -> Path:
    """Return the store that the command reads."""
    return Path(ctx.params.get("source") or ctx.params.get("store") or "results")


def _or_paths(items: list[CompletionItem], incomplete: str, kind: str) -> list[CompletionItem]:
    """Return the items, or a request for the shell to complete paths ("file" or "dir") where there are none."""
    return items or [CompletionItem(incomplete, type=kind)]


def _run_names(store: Path) -> list[tuple[str, str]]:
    return sorted((path.parent.name, f"{path.parts[-3]} on {path.parts[-4]}") for path in store.glob("*/*/*/cell.json"))


def _runs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _or_paths(_items(incomplete, _run_names(_store(ctx))), incomplete, "dir")


def _weights(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return names of bundled weights and ids of runs, or files."""
    from zoo.weights.find import packaged_weights  # imports numpy

    names = [
        (name, "bundled weights")
        for entry in packaged_weights(host_of(ctx))
        for name in (entry.name.partition("/")[2], entry.name)
    ]
    return _or_paths(_items(incomplete, sorted(names) + _run_names(_store(ctx))), incomplete, "file")


def _datasets_or_folders(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _or_paths(_specs(DatasetSpec)(ctx, parameter, incomplete), incomplete, "dir")


def _studies(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    studies = sorted(path.name for path in (_store(ctx) / "studies").glob("*") if path.is_dir())
    return _items(incomplete, ((name, "") for name in studies))


COMPLETE: dict[str, Complete] = {
    "models": _specs(ModelSpec),
    "datasets": _specs(DatasetSpec),
    "datasets or folders": _datasets_or_folders,
    "simulators": _specs(SimulatorSpec),
    "launchers": _specs(LauncherSpec),
    "specs": _specs(ModelSpec, DatasetSpec, SimulatorSpec, LauncherSpec, MetricSpec),
    "budgets": _budgets,
    "runs": _runs,
    "weights": _weights,
    "studies": _studies,
}
"""What the shell completes -> Function that returns the names."""
