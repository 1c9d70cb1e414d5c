"""`zoo bench`: plan, run, show. `zoo run-cell`: what a launcher starts for each cell."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zoo.cli.context import console, host_of, print_json, warn_of_broken
from zoo.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.data.recipe import Recipe
    from zoo.host import Host
    from zoo.plan.request import Request
    from zoo.plan.suite import Suite
    from zoo.results.cell import Cell
    from zoo.results.schema import RunResult

_MOST_SEEDS = 10_000


@click.command()
@click.argument("suite_path", metavar="[SUITE.toml]", required=False, type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, help="Ids, names or wildcards, by commas.")
@click.option("--data", "data", multiple=True, help="Ids, names or wildcards, by commas.")
@click.option("--seeds", default="0", show_default=True, help="Whole numbers by commas, or a range such as 0-4.")
@click.option("--budget", help="smoke (seconds), laptop (minutes) or paper; default: laptop, on a GPU paper.")
@click.option("--simulator", default="", help="Simulator of the images.  [default: see zoo list-simulators]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--precision", default="auto", show_default=True, help="auto, fp32, tf32 or bf16.")
@click.option("--rule", default="val_auc", show_default=True, help="Which epoch is kept: val_auc or last.")
@click.option("--task", default="", metavar="NAME", help="substructure: none against any; default: every class.")
@click.option("--match", default="", metavar="BY", help="Widths so that all cost as the first: params, macs, time.")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="lr=3e-4, model.width=8, data.snr=50, ...")
@click.option("--launcher", default="core/local", show_default=True, help="What runs the cells.")
@click.option("--devices", default=1, show_default=True, help="GPUs (or CPU processes) of a node for one network.")
@click.option("--num-nodes", default=1, show_default=True, help="Nodes for one network, under srun or torchrun.")
@click.option("--stream", is_flag=True, help="Train on images rendered as they are needed, every epoch new ones.")
@click.option("--images", type=click.Path(path_type=Path), metavar="DIR", help="Read images that zoo simulate made.")
@click.option("--from-study", "study", metavar="NAME", help="The best trial of zoo tune, unless options say otherwise.")
@click.option("--store", default="results", show_default=True, help="Folder of the results.")
@click.option("--force", is_flag=True, help="Run again what is in the store.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the results (or the plan) as JSON.")
@click.pass_context
def bench(
    ctx: click.Context,
    suite_path: Path | None,
    models: tuple[str, ...],
    data: tuple[str, ...],
    seeds: str,
    budget: str | None,
    simulator: str,
    device: str,
    precision: str,
    rule: str,
    task: str,
    match: str,
    pairs: tuple[str, ...],
    launcher: str,
    devices: int,
    num_nodes: int,
    stream: bool,
    images: Path | None,
    study: str | None,
    store: str,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train and score every model on every data set.

    What is in the store already is shown at once; running the same command again goes on where it stopped.
    A suite is a TOML file that states all of this; options that are given as well hold instead of it.
    """
    from zoo import registry
    from zoo.devices import resolve_device
    from zoo.plan.cells import make_plan
    from zoo.plan.overrides import parse_settings
    from zoo.plan.request import Request
    from zoo.plan.suite import SuitePlan, compare_expected, plan_suite
    from zoo.run.teamwork import run_as_member
    from zoo.specs import LauncherSpec
    from zoo.train.team import check_batch, check_devices, find_team

    host = host_of(ctx)
    warn_of_broken(host)
    launcher = registry.find(host, LauncherSpec, launcher).id
    team = find_team(devices=devices, num_nodes=num_nodes)
    settings = parse_settings(list(pairs))
    if stream and settings.setdefault("stream", True) is not True:
        raise UsageError(f"--stream and --set stream={settings['stream']} exclude each other.")
    suite = None
    if suite_path is not None and study is not None:
        raise UsageError("A suite and --from-study exclude each other.")
    if suite_path is not None:
        if stream or images is not None:
            raise UsageError("--stream and --images do not go with a suite.", hint="In its [settings]: stream = true")
        suite = _read_suite(ctx, suite_path, settings)
    elif study is None and (not models or not data):
        missing = "--data" if models else "--model"
        raise click.MissingParameter(ctx=ctx, param_hint=f"'{missing}'", param_type="option")
    request = Request(
        models=models,
        data=data,
        seeds=_seeds(seeds),
        budget=budget,
        simulator=simulator,
        device=device,
        precision=precision,
        rule=rule,
        task=task,
        match=match,
        settings=settings,
        store=store,
        images=images,
    )
    tell = partial(click.echo, err=True)
    if study is not None:
        request = _of_study(ctx, study, request)
    with contextlib.redirect_stdout(sys.stderr):  # plugins may print
        if suite is None:
            plan = SuitePlan(cells=make_plan(host, request, tell=tell))
        else:
            plan = plan_suite(host, suite, device=device, store=store, tell=tell)
    cells = list(plan.cells)
    run_here = partial(
        run_as_member, host, cells, store=Path(store), device=resolve_device(device), images=images, force=force,
        team=team,
    )  # fmt: skip
    for cell in cells:
        check_batch(team.size, min(cell.training["batch_size"], cell.sizes["train"]))
    if not team.first:
        # What is planned, shown and written is the first process's business.
        ctx.exit(0 if dry_run or run_here()[1] else 1)
    if suite is not None and suite.title:
        click.echo(click.style(suite.title, bold=True), err=True)
    stored = _print_plan(host, cells, Path(store), force=force, minutes=plan.minutes)
    for problem in plan.problems:
        click.echo(f"note: {problem}", err=True)
    if dry_run:
        if as_json:
            print_json([cell.to_json() for cell in cells])
        ctx.exit(1 if plan.problems else 0)

    from zoo.cli.watch import Watcher
    from zoo.run.matrix import run_matrix

    if launcher == "core/local":
        check_devices(team, resolve_device(device))
    if team.started_by:
        with contextlib.redirect_stdout(sys.stderr):
            found, _ = run_here()
        if len(found) < len(cells):
            click.echo(f"{len(cells) - len(found)} cells are not run, since one failed: type it again", err=True)
            cells = cells[: len(found)]
    else:
        with contextlib.redirect_stdout(sys.stderr), Watcher() as watcher:
            found = run_matrix(
                host,
                cells,
                store=Path(store),
                device=device,
                launcher=launcher,
                images=images,
                force=force,
                team=team,
                watch=watcher.watch,
            )
    _finish(host, found, Path(store), as_json=as_json, ran=force or stored < len(cells))
    if suite is not None:
        for sentence in compare_expected(host, suite, found):
            click.echo(sentence, err=True)
    for problem in plan.problems:
        click.echo(f"not run: {problem}", err=True)
    if plan.problems or any(result.status != "ok" for result in found):
        ctx.exit(1)


def _read_suite(ctx: click.Context, path: Path, settings: Mapping[str, Any]) -> Suite:
    """Return a suite with what the command line says instead of the file."""
    from zoo.plan.suite import changed, read_suite

    told: dict[str, Any] = {}
    for option in ("models", "data", "seeds", "budget", "simulator", "precision", "rule", "task", "match"):
        if ctx.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            told[option] = ctx.params[option]
    if "seeds" in told:
        told["seeds"] = _seeds(told["seeds"])
    if "budget" in told:
        told["budgets"] = [told.pop("budget")]
    suite = read_suite(path)
    if settings:
        told["settings"] = [{**variant, **settings} for variant in suite.settings]
    return changed(suite, **told)


def _of_study(ctx: click.Context, name: str, request: Request) -> Request:
    """Return the request of a study's best trial, with what the command line says instead, and name the trial."""
    from zoo.plan.study import read_best, request_of

    best = read_best(Path(request.store), name)
    told = [option for option in ctx.params if ctx.get_parameter_source(option) is ParameterSource.COMMANDLINE]
    click.echo(f"study {name}: trial {best.trial}, validation AUC {best.val_auc:.4f}", err=True)
    return request_of(best, request, told=told)


def _finish(host: Host, found: list[RunResult], store: Path, *, as_json: bool, ran: bool) -> None:
    """Print the table or JSON, and draw the pictures."""
    from zoo.registry import datasets_by_id
    from zoo.report.plots import draw_all
    from zoo.report.tables import make_tables, to_rich
    from zoo.results.store import plain_result

    if as_json:
        print_json([plain_result(result) | {"run_dir": str(result.run_dir)} for result in found])
    else:
        out = console()
        for table in make_tables(found, datasets=datasets_by_id(host)):
            out.print(to_rich(table, width=out.width))
            for note in table.notes:
                out.print(note, style="dim", markup=False)
    for result in found:
        if result.status != "ok":
            click.echo(f"\n{result.cell.model} {result.status}: {result.error}", err=True)
    for path in draw_all(found, store / "figures", again=ran):
        click.echo(f"picture: {path}", err=True)


def _print_plan(
    host: Host, cells: list[Cell], store: Path, *, force: bool, minutes: Mapping[str, float] | None = None
) -> int:
    """Say on stderr what will be done; return how many cells are stored already.

    Args:
        host: the plugins.
        cells: the plan.
        store: folder of the results.
        force: run again what is stored.
        minutes: run id -> what a run is said to take.
    """
    from rich.markup import escape

    from zoo.data.about import budget_note
    from zoo.registry import datasets_by_id
    from zoo.results.store import done

    budgets = ", ".join(dict.fromkeys(cell.budget for cell in cells))
    there = set() if force else {cell.run_id for cell in cells if done(store, cell) is not None}
    stored = sum(cell.run_id in there for cell in cells)
    out = console(stderr=True)
    first = cells[0]
    out.print(
        f"[bold]{len(cells)} cell{'s' if len(cells) != 1 else ''}[/bold], {stored} of them in {escape(str(store))} "
        f"already · budget {budgets} · {first.precision} · images on {first.recipe.device_type}"
    )
    lines = (f"  {cell.data} with {', '.join(_changed_params(host, cell.recipe))}" for cell in cells)
    for line in dict.fromkeys(line for line in lines if not line.endswith(" with ")):
        out.print(line, markup=False)
    for cell in cells if len(cells) <= 24 else []:
        state = "  [green]stored[/green]" if cell.run_id in there else ""
        variant = escape(_variant(cell, cells))
        out.print(f"  {cell.model} on {cell.data}, seed {cell.seed}{variant}  [dim]{cell.run_id}[/dim]{state}")
    if minutes and (left := sum(minutes.get(cell.run_id, 0.0) for cell in cells if cell.run_id not in there)):
        out.print(f"about {left:,.0f} minutes for the cells of which the file says how long they take")
    if first.budget == "smoke" or any(cell.recipe.simulator is not None for cell in cells):
        out.print(f"[dim]{budget_note(first.budget, datasets_by_id(host).get(first.data))}[/dim]")
    if note := _stream_note(cells):
        out.print(f"[dim]{note}[/dim]")
    return stored


def _variant(cell: Cell, cells: list[Cell]) -> str:
    """Return ", NAME VALUE ..." of what most others of the same model, data set and seed have not."""

    def decided(one: Cell) -> dict[str, Any]:
        return {**one.sizes, **one.training, **one.hparams, **one.recipe.params}

    same = [decided(one) for one in cells if (one.model, one.data, one.seed) == (cell.model, cell.data, cell.seed)]
    own = decided(cell)
    rare = (name for name in own if 2 * sum(other.get(name) == own[name] for other in same) <= len(same))
    return "".join(f", {name} {own[name]}" for name in rare)


def _stream_note(cells: list[Cell]) -> str:
    """Return what a stream does for these cells, or would do."""
    first = cells[0]
    if first.training["stream"]:
        return (
            f"streamed: {first.sizes['train']:,} new training images an epoch, rendered as they are needed and not "
            "kept; validation and test images are the same as without --stream"
        )
    if first.budget == "paper" and all(cell.recipe.simulator is not None for cell in cells):
        return "with --stream, no training image is shown twice and none is kept on disk"
    return ""


def _changed_params(host: Host, recipe: Recipe) -> list[str]:
    """Return "name=value" of the parameters that differ from the data set's own, by the budget or by --set."""
    from zoo import registry
    from zoo.specs import DatasetSpec

    defaults = registry.find(host, DatasetSpec, recipe.dataset).params
    return [f"{name}={value}" for name, value in recipe.params.items() if value != defaults.get(name)]


def _seeds(text: str) -> list[int]:
    """Read "0,1,2" or "0-4".

    Raises:
        UsageError: neither.
    """
    ranges: list[range] = []
    try:
        for part in text.split(","):
            low, dash, high = part.partition("-")
            ranges.append(range(int(low), int(high if dash else low) + 1))
    except ValueError:
        ranges = []
    if not ranges or not all(ranges):
        raise UsageError(f"--seeds {text!r} is not a list of whole numbers.", hint="For example: --seeds 0,1,2 or 0-4")
    # By stop - start: len() of a range beyond 2**63 raises.
    if sum(seeds.stop - seeds.start for seeds in ranges) > _MOST_SEEDS:
        raise UsageError(f"--seeds {text!r} are more than {_MOST_SEEDS:,} seeds.")
    return [seed for seeds in ranges for seed in seeds]


@click.command("run-cell", hidden=True)
@click.argument("path", metavar="CELL.json", type=click.Path(path_type=Path))
@click.option("--device", default="auto", help="auto, cpu, cuda or mps.")
@click.option("--images", type=click.Path(path_type=Path), help="Read images that zoo simulate made.")
@click.option("--force", is_flag=True, help="Run again although there is a result.")
@click.option("--devices", default=1, help="Processes on each node.")
@click.option("--num-nodes", default=1, help="Nodes.")
@click.pass_context
def run_cell(
    ctx: click.Context, path: Path, device: str, images: Path | None, force: bool, devices: int, num_nodes: int
) -> None:
    """Run one cell in this process, or in some that it starts; the result goes beside its file."""

    from zoo.devices import resolve_device
    from zoo.results.cell import Cell
    from zoo.results.store import claim
    from zoo.train.team import check_devices, find_team

    cell, device = Cell.read(path), resolve_device(device)
    team = find_team(devices=devices, num_nodes=num_nodes)
    # torch takes seconds to import: not before the cell is known to be one, and nobody else's.
    if team.size > 1 and not team.started_by:
        check_devices(team, device)
        from zoo.run.teamwork import run_by_team

        command = [sys.executable, "-m", "zoo", "run-cell", str(path), "--device", device, *team.options()]
        command += ["--images", str(images)] if images else []
        command += ["--force"] if force else []
        with claim(path.parent):
            status = run_by_team(cell, path.parent, command, team=team, force=force).status
    elif not team.first:
        import torch

        from zoo.train.fit import help_fit

        where = torch.device(device)
        status = help_fit(host_of(ctx), cell, path.parent, device=where, images=images, team=team).status
    else:
        with contextlib.nullcontext() if team.started_by == "zoo" else claim(path.parent):
            from zoo.run import cell as run

            result = run.run_cell(host_of(ctx), cell, path.parent, device=device, images=images, force=force, team=team)
            status = result.status
    if status != "ok":
        ctx.exit(1)
