"""`zoo data probe`: separation of the classes of a data set by simple numbers of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.budgets import BUDGET_NAMES, find_budget
from zoo.cli.complete import COMPLETE
from zoo.cli.context import console, echo, host_of, print_json, warn_of_broken
from zoo.cli.options import DEVICE, SIMULATOR
from zoo.data.recipe import MOST_IMAGES
from zoo.devices import resolve_device
from zoo.errors import UsageError, nearest
from zoo.plan.overrides import data_params, parse_settings
from zoo.plan.recipes import make_recipe
from zoo.plurals import counted
from zoo.schema import plain
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.host import Host
    from zoo.scores.schema import Probe
    from zoo.specs import DatasetSpec


@click.command()
@click.argument("name", metavar="DATA", shell_complete=COMPLETE["datasets"])
@click.option(
    "--images",
    type=click.IntRange(1, MOST_IMAGES),
    default=2000,
    show_default=True,
    help="Use this many training images, and as many test images.",
)
@click.option(
    "--budget",
    help=f"Use the parameters that this budget of `zoo bench` sets: {BUDGET_NAMES}.",
    shell_complete=COMPLETE["budgets"],
)
@SIMULATOR
@DEVICE
@click.option("--set", "pairs", multiple=True, metavar="data.NAME=VALUE", help="Set a parameter of the data set.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def probe(
    ctx: click.Context,
    name: str,
    images: int,
    budget: str | None,
    simulator: str,
    device: str,
    pairs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure how well simple numbers separate the classes.

    Gradient-boosted trees and a logistic regression on 64 scalars of each image (flux, radius, azimuthal moments,
    asymmetry, ...) are fitted to training images and scored on test images. Where the data set declares a switch, each
    of its values is measured.
    """
    from zoo import registry
    from zoo.scores.probe import describe_probe

    host = host_of(ctx)
    warn_of_broken(host)
    spec = registry.find(host, DatasetSpec, name)
    params = _params(spec, budget, pairs)
    switch = spec.switch
    switched = f"data.{switch}" in {pair.partition("=")[0].strip() for pair in pairs}
    ways = [None] if switch is None else [params[switch]] if switched else list(spec.switch_values)
    found = {}
    for way in ways:
        changes = {} if switch is None else {switch: way}
        found[way] = _measure(host, spec, {**params, **changes}, images, simulator=simulator, device=device)
    if as_json:
        print_json(
            {
                "data": spec.id,
                "params": params,
                "probes": [
                    ({} if switch is None else {switch: way})
                    | {"default": switch is None or way == spec.params[switch], **plain(found[way] or {})}
                    for way in ways
                ],
            }
        )
        return
    out = console()
    out.print(_table(spec, ways, found))
    for way in ways:
        label = _label(spec, way)
        out.print((f"{label}: " if label else "") + describe_probe(found[way]), style="dim")


def _params(spec: DatasetSpec, budget: str | None, pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return a data set's parameters: its defaults, then the budget's, then the user's.

    Raises:
        UsageError: An unknown budget or parameter.
    """

    given = parse_settings(list(pairs))
    for name in given:
        if not name.startswith("data.") or name.removeprefix("data.") not in spec.params:
            known = [f"data.{param}" for param in spec.params]
            raise UsageError(
                f"--set {name}: it is not one of data.NAME of {spec.id}.{nearest(name, known)}",
                hint=f"See: zoo show {spec.id}",
            )
    return data_params(spec, None if budget is None else find_budget(budget), given)


def _measure(
    host: Host, spec: DatasetSpec, params: Mapping[str, Any], images: int, *, simulator: str, device: str
) -> Probe | None:
    from zoo.data.open import Dataset
    from zoo.scores.probe import probe_splits

    def report(split: str, done: int, total: int) -> None:
        if not done:
            echo(f"simulating {counted(total, 'image')} of the split {split}", err=True)

    recipe = make_recipe(host, spec, params=params, simulator=simulator, device=resolve_device(device))
    data = Dataset(host, recipe, {"train": images, "val": 1, "test": images}, progress=report)
    return probe_splits(data.split("train"), data.split("test"))


def _table(spec: DatasetSpec, ways: list[Any], found: Mapping[Any, Probe | None]) -> Any:
    from rich.table import Table

    from zoo.scores.probe import best_scalars

    table = Table(
        box=None, header_style="bold", pad_edge=False, title=f"{spec.id}: AUC of scalars", title_justify="left"
    )
    for heading in ("", "boosted trees", "95 %", "linear", "95 %", "best scalar", "labels shuffled"):
        table.add_column(heading, justify="left" if not heading else "right")
    for way in ways:
        result = found[way]
        label = _label(spec, way)
        if result is None:
            table.add_row(label, "a class is missing")
            continue
        name, area = best_scalars(result)[0]
        table.add_row(
            label,
            f"{result.boosted['macro']:.3f}",
            _range(result.boosted_interval),
            f"{result.auc['macro']:.3f}",
            _range(result.interval),
            f"{name} {area:.3f}",
            f"{result.boosted_shuffled:.3f}, {result.shuffled:.3f}",
        )
    return table


def _label(spec: DatasetSpec, way: Any) -> str:
    return "" if spec.switch is None else f"{spec.switch} {str(way).lower()}"


def _range(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
