"""Shell completion: names of what is installed, ids of stored runs and names of studies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from zoo.budgets import BUDGETS
from zoo.cli.context import host_of
from zoo.collected import COLLECTED
from zoo.escaping import one_line
from zoo.specs import (
    ChannelSpec,
    DatasetSpec,
    LauncherSpec,
    MetricSpec,
    ModelSpec,
    OptimizerSpec,
    SimulatorSpec,
    Spec,
    TaskSpec,
)
from zoo.tasks.find import task_name

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
    return _items(incomplete, ((name, budget.note or budget.size_note) for name, budget in BUDGETS.items()))


def complete_runs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids of the runs in the store that the command reads, or folders where no id begins so."""
    store = Path(ctx.params.get("source") or ctx.params.get("store") or "results")
    runs = [(path.parent.name, f"{path.parts[-3]} on {path.parts[-4]}") for path in store.glob("*/*/*/cell.json")]
    return _items(incomplete, sorted(runs)) or [CompletionItem(incomplete, type="dir")]


def _weights(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return names of bundled weights and ids of runs, or files where no name begins so."""
    models = (spec for spec in host_of(ctx).specs_of(ModelSpec) if isinstance(spec, ModelSpec))
    bundled = [(f"{spec.name}.{key}", spec.summary) for spec in models for key in spec.weights]
    runs = [item for item in complete_runs(ctx, parameter, incomplete) if item.type == "plain"]
    return [*_items(incomplete, bundled), *runs] or [CompletionItem(incomplete, type="file")]


def _networks(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return names of models and weights."""
    return [*_specs(ModelSpec)(ctx, parameter, incomplete), *_weights(ctx, parameter, incomplete)]


def _studies(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the studies in the store that the command reads."""
    store = Path(ctx.params.get("store") or "results")
    return _items(incomplete, ((path.name, "") for path in sorted((store / "studies").glob("*/"))))


def _any(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return names and ids of everything that is registered, and ids of runs."""
    specs = (spec for kind in COLLECTED.values() for spec in host_of(ctx).specs_of(kind))
    names = {name: spec.summary for spec in specs for name in (spec.name, spec.id)}
    runs = [item for item in complete_runs(ctx, parameter, incomplete) if item.type == "plain"]
    return [*_items(incomplete, sorted(names.items())), *runs]


def _groups(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    models = (spec for spec in host_of(ctx).specs_of(ModelSpec) if isinstance(spec, ModelSpec))
    return _items(incomplete, ((group, "") for group in sorted({spec.group for spec in models if spec.group})))


def _tags(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the tags of what the command lists, such as `zoo list-models`."""
    kinds = {hook.removeprefix("zoo_"): kind for hook, kind in COLLECTED.items()}
    specs = host_of(ctx).specs_of(kinds[str(ctx.info_name).removeprefix("list-")])
    return _items(
        incomplete, ((tag, "") for tag in sorted({tag for spec in specs for tag in getattr(spec, "tags", ())}))
    )


def _tasks(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of tasks, and the groupings of classes that data sets declare."""
    host = host_of(ctx)
    names = {task_name(spec): spec.summary for spec in host.specs_of(TaskSpec) if isinstance(spec, TaskSpec)}
    for spec in host.specs_of(DatasetSpec):
        names |= dict.fromkeys(getattr(spec, "tasks", {}), "classes taken together")
    return _items(incomplete, sorted(names.items()))


def _plugins(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _items(incomplete, sorted((one.name, one.distribution) for one in host_of(ctx).records.values()))


def _words(*words: str) -> Complete:
    return lambda ctx, parameter, incomplete: _items(incomplete, ((word, "") for word in words))


def _path(kind: str) -> Complete:
    return lambda ctx, parameter, incomplete: [CompletionItem(incomplete, type=kind)]


COMPLETE: dict[str, Complete] = {
    "models": _specs(ModelSpec),
    "datasets": _specs(DatasetSpec),
    "simulators": _specs(SimulatorSpec),
    "launchers": _specs(LauncherSpec),
    "channels": _specs(ChannelSpec),
    "metrics": _specs(MetricSpec),
    "optimizers": _specs(OptimizerSpec),
    "ids": _any,
    "groups": _groups,
    "tags": _tags,
    "plugins": _plugins,
    "budgets": _budgets,
    "runs": complete_runs,
    "studies": _studies,
    "weights": _weights,
    "networks": _networks,
    "devices": _words("auto", "cpu", "cuda", "mps"),
    "rendering": _words("auto", "cpu"),
    "precisions": _words("auto", "fp32", "tf32", "bf16"),
    "tasks": _tasks,
    "rules": _words("val_auc", "val_loss", "last"),
    "splits": _words("train", "val", "test"),
    "matches": _words("params", "macs", "time"),
    "averages": _words("none", "p4", "d4"),
    "formats": _words("onnx", "torch-export"),
    "folder": _path("dir"),
    "file": _path("file"),
}
"""Completions of each parameter of a command."""
