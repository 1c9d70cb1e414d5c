"""`zoo tune`, which searches hyper-parameters on the validation split, and `zoo run-trials`, its worker process."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json, warn_of_broken
from zoo.cli.options import PATH, READABLE, options_of, value_of
from zoo.cli.shares import print_failed
from zoo.errors import Interrupted, UsageError
from zoo.plan.request import Request
from zoo.plurals import counted
from zoo.run.launch import LOCAL, Launch
from zoo.stopping import STOPPED, watch_parent

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo_optuna.summary import Summary

SHARED_OPTIONS = (
    "settings", "budget", "simulator", "device", "render_on", "precision", "rule", "task", "images", "store",
)  # fmt: skip
"""Options of `zoo bench` that a study has as well."""
_WITH_SHOW = {"show", "store", "as_json"}


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
@click.option(
    "--launcher",
    metavar="NAME",
    shell_complete=COMPLETE["launchers"],
    help="Run the workers as jobs of this launcher; see zoo list-launchers.",
)
@options_of(Launch, only=("launcher_settings", "retries"))
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
    launcher: str | None,
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
        for parameter in ctx.params:
            if parameter not in _WITH_SHOW and ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE:
                flag = next(option.opts[0] for option in ctx.command.params if option.name == parameter)
                raise UsageError(f"--show runs nothing, so {flag} has no effect.", hint="Leave out one of the two.")
        _finish(host, store, show, as_json=as_json)
        return
    if not model or not data or not study:
        missing = "--study" if model and data else "--data" if model else "--model"
        raise click.MissingParameter(ctx=ctx, param_hint=f"'{missing}'", param_type="option")
    if prune_after < 0:
        raise UsageError(f"--prune-after {prune_after} must be 0 or more.")

    from zoo.devices import note_on_auto, resolve_device
    from zoo.plan.overrides import parse_settings
    from zoo_optuna.search import check_numbers, make_study, run_study
    from zoo_optuna.show import StudyWatcher, print_plan
    from zoo_optuna.workers import WorkerEnd, resolved_launch, run_on_launcher

    check_numbers(trials=trials, workers=workers)
    resolved = None
    if launcher is not None:
        launch: Launch = value_of(Launch, {**values, "launcher": launcher})
        values["device"] = launch.device(host, values["device"])
        resolved, device = resolved_launch(host, launch, device=values["device"], workers=workers)
        if resolved.spec.id != LOCAL and (note := note_on_auto(values["device"])):
            echo(f"note: {note}", err=True)
    elif values["launcher_settings"]:
        raise UsageError(
            "--launcher-set is an option of a launcher, and no --launcher is given.",
            hint=f"For example: zoo tune --launcher {LOCAL} --workers 4; see zoo list-launchers",
        )
    settings = parse_settings(list(values["settings"]))
    request: Request = value_of(Request, {**values, "models": [model], "data": [data], "settings": settings})
    names = [name.strip() for name in (searched or "").split(",") if name.strip()]
    if searched is not None and not names:
        raise UsageError("--search names nothing.", hint="Leave it out to search everything that the network offers")
    with contextlib.redirect_stdout(sys.stderr):  # plugins may print
        definition, folder = make_study(host, request, name=study, searched=names, prune_after=prune_after)
    print_plan(host, definition, folder)
    failed: list[WorkerEnd] = []
    with StudyWatcher() as watcher:
        if resolved is None:
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
        else:
            failed = run_on_launcher(
                host,
                definition,
                folder,
                trials=trials,
                workers=workers,
                launch=resolved,
                device=device,
                images=request.images,
                watch=watcher.watch,
            )
    summary = _finish(host, store, study, as_json=as_json)
    print_failed([(f"worker {one.worker}", one.error) for one in failed])
    ended = sum(trial.state != "unfinished" for trial in summary.trials)
    if ended < trials:
        echo(f"{ended:,} of {counted(trials, 'trial')} ended; the same command goes on", err=True)
    if ended < trials or summary.best is None:
        ctx.exit(1)


def _finish(host: Host, store: Path, name: str, *, as_json: bool) -> Summary:
    """Show a study, draw its plots, and return its summary."""
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
    return summary


@click.command("run-trials", hidden=True)
@click.argument("folder", type=PATH)
@click.option("--trials", required=True, type=int, help="Run until the study has this many trials in total.")
@click.option("--device", required=True, help="Train on this device: cpu, cuda or mps.")
@click.option("--images", type=READABLE, help="Read images made by zoo simulate.")
@click.option("--worker", type=click.IntRange(0), help="Run them as this worker of a launcher.")
@click.pass_context
def run_trials(
    ctx: click.Context, folder: Path, trials: int, device: str, images: Path | None, worker: int | None
) -> None:
    """Run trials in this process until the study has the requested number."""
    from zoo_optuna.trials import run_trials as run_them
    from zoo_optuna.workers import run_worker

    watch_parent()
    host = host_of(ctx)
    try:
        if worker is None:
            ended = run_them(host, folder, trials=trials, device=device, images=images)
        else:
            ended = run_worker(host, folder, worker, trials=trials, device=device, images=images)
    except Interrupted as stop:
        echo(f"Stopped by {stop}. Everything finished is kept: run the trials again to resume.", err=True)
        ctx.exit(STOPPED)
    if not ended:
        ctx.exit(STOPPED)  # another process goes on
