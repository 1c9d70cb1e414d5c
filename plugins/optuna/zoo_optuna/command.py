"""`zoo tune`, which searches hyper-parameters on the validation split, and `zoo run-trials`, its worker process."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json, warn_of_broken
from zoo.cli.options import PATH, READABLE, options_of, value_of
from zoo.errors import UsageError
from zoo.plan.request import Request
from zoo.stopping import watch_parent

if TYPE_CHECKING:
    from zoo.host import Host

SHARED_OPTIONS = ("settings", "budget", "simulator", "device", "precision", "rule", "task", "images", "store")
"""Options of `zoo bench` that a study has as well."""


@click.command()
@click.option("--model", help="Search the settings of this model (id or name).", shell_complete=COMPLETE["models"])
@click.option("--data", help="Train on this data set (id or name).", shell_complete=COMPLETE["datasets"])
@click.option(
    "--study",
    metavar="NAME",
    shell_complete=COMPLETE["studies"],
    help="Name the study; repeat the command to resume it.",
)
@click.option("--trials", default=20, show_default=True, help="Run until the study has this many trials in total.")
@click.option("--search", "searched", metavar="NAMES", help="Search only these settings (comma-separated).")
@click.option("--workers", default=1, show_default=True, help="Run this many trials in parallel.")
@click.option("--prune-after", default=5, show_default=True, help="Prune only after this many completed trials.")
@options_of(Request, only=SHARED_OPTIONS)
@click.option(
    "--show", metavar="NAME", shell_complete=COMPLETE["studies"], help="Show an existing study without running trials."
)
@click.option("--json", "as_json", is_flag=True, help="Print the trials as JSON.")
@click.pass_context
def tune(
    ctx: click.Context,
    /,
    model: str | None,
    data: str | None,
    study: str | None,
    trials: int,
    searched: str | None,
    workers: int,
    prune_after: int,
    show: str | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Search settings for the highest validation AUC.

    Settings are those of a model and of its training. Commands that run at the same time can share a study. Tuning
    never opens the test split: run zoo bench --from-study NAME for test scores.
    """
    from zoo.registry import require

    require("zoo tune", ["optuna"])
    host, store = host_of(ctx), values["store"]
    warn_of_broken(host)
    if show is not None:
        _finish(host, store, show, as_json=as_json)
        return
    if not model or not data or not study:
        missing = "--study" if model and data else "--data" if model else "--model"
        raise click.MissingParameter(ctx=ctx, param_hint=f"'{missing}'", param_type="option")
    if prune_after < 0:
        raise UsageError(f"--prune-after {prune_after} must be 0 or more.")

    from zoo.devices import resolve_device
    from zoo.plan.overrides import parse_settings
    from zoo_optuna.search import check_numbers, make_study, run_study
    from zoo_optuna.show import StudyWatcher, print_plan

    check_numbers(trials=trials, workers=workers)
    settings = parse_settings(list(values["settings"]))
    request: Request = value_of(Request, {**values, "models": [model], "data": [data], "settings": settings})
    names = [name.strip() for name in (searched or "").split(",") if name.strip()]
    with contextlib.redirect_stdout(sys.stderr):  # plugins may print
        definition, folder = make_study(host, request, name=study, searched=names, prune_after=prune_after)
    print_plan(host, definition, folder)
    with StudyWatcher() as watcher:
        run_study(
            host,
            definition,
            folder,
            trials=trials,
            workers=workers,
            device=resolve_device(request.device),
            images=request.images,
            watch=watcher.watch,
        )
    if not _finish(host, store, study, as_json=as_json):
        ctx.exit(1)


def _finish(host: Host, store: Path, name: str, *, as_json: bool) -> bool:
    """Show a study and draw its plots; return whether at least one trial has completed."""
    from zoo.schema import plain
    from zoo_optuna.search import find_study
    from zoo_optuna.show import print_summary
    from zoo_optuna.summary import draw, summarise

    definition, folder, journal = find_study(store, name)
    summary = summarise(journal, definition)
    if as_json:
        print_json(plain(summary))
    else:
        print_summary(summary, store=store, files=host.files)
    for path in draw(summary, folder):
        echo(f"plot: {path}", err=True)
    if summary.best is None:
        failed = [trial.error for trial in summary.trials if trial.error]
        echo("No trial has completed." + (f" The first error: {failed[0]}" if failed else ""), err=True)
    return summary.best is not None


@click.command("run-trials", hidden=True)
@click.argument("folder", type=PATH)
@click.option("--trials", required=True, type=int, help="Run until the study has this many trials in total.")
@click.option("--device", required=True, help="Train on this device: cpu, cuda or mps.")
@click.option("--images", type=READABLE, help="Read images made by zoo simulate.")
@click.pass_context
def run_trials(ctx: click.Context, folder: Path, trials: int, device: str, images: Path | None) -> None:
    """Run trials in this process until the study has the requested number."""
    from zoo_optuna.trials import run_trials as run_them

    watch_parent()
    run_them(host_of(ctx), folder, trials=trials, device=device, images=images)
