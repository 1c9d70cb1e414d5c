"""`zoo bench`: plan, run, show."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zoo import registry
from zoo.cli.complete import COMPLETE
from zoo.cli.context import console, echo, host_of, print_json, warn_of_broken
from zoo.cli.detach import detach as start_detached
from zoo.cli.detach import say_ready
from zoo.cli.options import PATH, options_of, read_seeds, value_of
from zoo.cli.plan import print_plan
from zoo.devices import device_here, resolve_device
from zoo.errors import DataError, UsageError
from zoo.isolation import printing_to_stderr
from zoo.paths import in_shell, user_path
from zoo.plan.overrides import parse_settings
from zoo.plan.request import Request
from zoo.plurals import counted
from zoo.processor import note_on_busy_cores
from zoo.registry import datasets_by_id, twins_by_id
from zoo.run.launch import LOCAL, Launch
from zoo.run.where import Where
from zoo.specs import LauncherSpec
from zoo.train.team import check_batches, check_devices

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.results.schema import RunResult


@click.command()
@click.argument("suite_path", metavar="[SUITE.toml]", required=False, type=PATH)
@options_of(Request, Where, Launch)
@click.option("--stream", is_flag=True, help="Train on new images in every epoch, rendered on demand.")
@click.option(
    "--from-study",
    "study",
    metavar="NAME",
    shell_complete=COMPLETE["studies"],
    help="Train the best trial of this study; options override it.",
)
@click.option(
    "--fresh-test",
    type=click.IntRange(0),
    metavar="SEED",
    help="Score the weights also on fresh test images that are simulated with this seed.",
)
@click.option("--detach", is_flag=True, help="Run in the background; zoo status shows the cells.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the results (or the plan) as JSON.")
@click.pass_context
def bench(
    ctx: click.Context,
    /,
    suite_path: Path | None,
    stream: bool,
    study: str | None,
    fresh_test: int | None,
    detach: bool,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Train and score every model on every data set.

    Stored results are shown at once; the same command resumes an interrupted one.
    A suite is a TOML file with these options; command-line options override the file.
    """
    from zoo.cli.watch import Watcher
    from zoo.plan.bench import plan_bench
    from zoo.plan.built import check_turns
    from zoo.plan.suite import compare_expected
    from zoo.run.matrix import run_matrix
    from zoo.run.teamwork import run_as_member

    host = host_of(ctx)
    warn_of_broken(host)
    launch: Launch = value_of(Launch, values)
    launcher = registry.find(host, LauncherSpec, launch.launcher)
    values["device"] = launch.device(host, values["device"])
    where: Where = value_of(Where, values)
    team = where.team()
    settings = parse_settings(list(values["settings"]))
    if stream and settings.setdefault("stream", True) is not True:
        raise UsageError(f"--stream and --set stream={settings['stream']} exclude each other.")
    if suite_path is not None:
        if stream:
            raise UsageError("--stream does not go with a suite.", hint="In its [settings]: stream = true")
    elif study is None and not (values["models"] and values["data"]):
        missing = "--data" if values["models"] else "--model"
        raise click.MissingParameter(ctx=ctx, param_hint=f"'{missing}'", param_type="option")
    request: Request = value_of(Request, {**values, "seeds": read_seeds(values["seeds"]), "settings": settings})
    store = user_path(request.store)
    note = partial(echo, err=True)
    with printing_to_stderr():  # plugins may print
        plan = plan_bench(host, request, suite=suite_path, study=study, given=_given(ctx), note=note)
    suite, best = plan.suite, plan.best
    if best is not None:
        of = "" if best.trials is None else f" of {best.trials}"
        echo(f"study {best.study}: trial {best.trial}{of}, validation AUC {best.val_auc:.4f}", err=True)
    cells = list(plan.cells)
    if fresh_test is not None:
        from zoo.inference.fresh import check_fresh_test

        check_fresh_test(cells, seed=fresh_test)
    run_here = partial(run_as_member, host, cells, store=store, where=where, team=team)
    check_batches(team.size, cells)
    check_turns(host, cells, team.size)
    launch.resolved(host, cells)  # unknown options are found before anything is shown
    if not team.first:
        # The first process of a team plans, shows and writes.
        ctx.exit(0 if dry_run or run_here()[1] else 1)
    if suite is not None and suite.title:
        echo(suite.title, err=True, bold=True)
    stored = print_plan(host, cells, store, force=where.force, minutes=plan.minutes)
    if about_team := where.note_on_team(cells):
        echo(f"note: {about_team}", err=True)
    for problem in plan.problems:
        echo(f"note: {problem}", err=True)
    if dry_run:
        for about in where.notes(cells):
            echo(f"note: {about}", err=True)
        if as_json:
            print_json([cell.to_json() for cell in cells])
        ctx.exit(1 if plan.problems else 0)

    if detach:
        if team.started_by or fresh_test is not None or as_json:
            raise UsageError("--detach does not go with torchrun, srun, --fresh-test and --json.")
        if launcher.outlives:
            with printing_to_stderr():
                run_matrix(host, cells, store=store, where=where, launch=launch, submitted=lambda: True)
            echo(
                f"detached: zoo status --store {in_shell(store)} shows the cells; the same command waits for them",
                err=True,
            )
            ctx.exit(0)
        ctx.exit(start_detached(ctx, store, what="cells"))
    if team.started_by:
        check_devices(team, resolve_device(where.device))
        with printing_to_stderr():
            found, _ = run_here()
        if len(found) < len(cells):
            left = counted(len(cells) - len(found), "cell")
            echo(f"{left} not run, since one failed: run the command again", err=True)
            cells = cells[: len(found)]
    else:
        alone = launcher.id == LOCAL and launch.jobs in (None, 1) and team.size == 1
        if alone and stored < len(cells) and device_here(where.device) == "cpu" and (about := note_on_busy_cores()):
            echo(f"note: {about}", err=True)
        with printing_to_stderr(), Watcher() as watcher:
            found = run_matrix(
                host, cells, store=store, where=where, launch=launch, watch=watcher.watch, submitted=say_ready
            )
    unscored: list[str] = []
    if fresh_test is not None:
        found, unscored = _add_fresh_tests(host, found, seed=fresh_test, device=device_here(where.device))
    _finish(host, found, store, as_json=as_json, ran=where.force or stored < len(cells))
    unexpected = False
    if suite is not None:
        for comparison in compare_expected(host, suite, found):
            echo(comparison.sentence, err=True)
            unexpected |= not comparison.holds
    for problem in plan.problems:
        echo(f"not run: {problem}", err=True)
    for problem in unscored:
        echo(problem, err=True)
    if plan.problems or unscored or unexpected or any(result.status != "ok" for result in found):
        ctx.exit(1)


def _add_fresh_tests(
    host: Host, found: list[RunResult], *, seed: int, device: str
) -> tuple[list[RunResult], list[str]]:
    """Return the results with their scores on fresh test images, and sentences on those that have none."""
    from zoo.cli.watch import CountBar
    from zoo.inference.fresh import with_fresh_tests

    with printing_to_stderr(), CountBar("simulate fresh test images") as bar:  # plugins may print
        return with_fresh_tests(
            host, found, seed=seed, device=device, progress=lambda split, done, total: bar.show(done, total)
        )


def _given(ctx: click.Context) -> set[str]:
    """Return the names of the options that the command line states."""
    return {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}


def _finish(host: Host, found: list[RunResult], store: Path, *, as_json: bool, ran: bool) -> None:
    """Print the table or JSON, and draw the pictures."""
    from zoo.cli.report import name_stale_metrics
    from zoo.report.narrow import notes_for, to_rich
    from zoo.report.notes import failures
    from zoo.report.plots import draw_all
    from zoo.report.tables import make_tables
    from zoo.results.store import LOG, plain_result
    from zoo.tasks.find import tasks_by_name

    stale = name_stale_metrics(host, found)
    if as_json:
        print_json(
            [
                plain_result(result) | {"run_dir": str(result.run_dir), "stale_metrics": stale.get(result.run_id, [])}
                for result in found
            ]
        )
    else:
        out = console()
        for table in make_tables(found, datasets=datasets_by_id(host), twins=twins_by_id(host)):
            out.print(to_rich(table, width=out.width))
            for note in notes_for(table, width=out.width):
                out.print(note, style="dim")
    for group in failures(found):
        first, names = group[0], ", ".join(dict.fromkeys(result.cell.model for result in group))
        echo(f"\n{names} {first.status}: {first.error}", err=True)
        if (log := first.run_dir / LOG).is_file():
            whose = "Its log" if len(group) == 1 else f"Log of the first of {counted(len(group), 'cell')}"
            echo(f"{whose}, with the traceback of an error of a plugin: {log}", err=True)
    try:
        paths, left_out = draw_all(found, store / "figures", again=ran, tasks=tasks_by_name(host))
    except DataError as error:  # the results are there, as in a store that is read only
        paths, left_out = [], [f"no picture was drawn: {error.args[0]}"]
    for path in paths:
        echo(f"picture: {path}", err=True)
    for sentence in left_out:
        echo(f"note: {sentence}", err=True)
