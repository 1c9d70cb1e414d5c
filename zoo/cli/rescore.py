"""`zoo rescore`: metrics of plugins for stored runs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json, warn_of_broken
from zoo.errors import UsageError, ZooError
from zoo.isolation import printing_to_stderr
from zoo.paths import user_path
from zoo.plurals import counted
from zoo.registry import match
from zoo.schema import plain
from zoo.specs import MetricSpec


@click.command()
@click.argument("target", metavar="RUN|STORE", default="results", shell_complete=COMPLETE["runs"])
@click.option(
    "--metric", "metrics", multiple=True, metavar="ID",
    help="Compute only these metrics: comma-separated ids, names or wildcards.", shell_complete=COMPLETE["ids"],
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def rescore(ctx: click.Context, target: str, metrics: tuple[str, ...], as_json: bool) -> None:
    """Compute metrics of plugins for stored runs.

    They are computed from the stored predictions; nothing is trained. RUN is a folder, or the first digits of a run
    id in ./results; STORE is a folder of runs. Exit code 1: a run could not be scored; it stays as it was.
    """
    from zoo.results.find import find_run
    from zoo.results.store import CELL, read_result, scan
    from zoo.run.rescore import OtherTaskError
    from zoo.run.rescore import rescore as rescore_run

    host = host_of(ctx)
    warn_of_broken(host)
    chosen = match(host, MetricSpec, metrics or ("*/*",))
    folder = user_path(target)
    if os.path.isdir(folder) and not os.path.isfile(folder / CELL):
        run_dirs = [result.run_dir for result in scan(folder)[0] if result.status == "ok"]
        if not run_dirs:
            raise UsageError(f"No runs that ended well were found in {folder}.", hint="See: zoo report --store DIR")
    else:
        try:
            run_dirs = [find_run(target, store=Path("results"))]
        except UsageError as error:
            raise UsageError(str(error.args[0]), hint="Or give a store, which is a folder of runs.") from error
    rows, problems, others, changed = [], [], [], 0
    for run_dir in run_dirs:
        try:
            before = read_result(run_dir)
            with printing_to_stderr():  # metrics may print
                result = rescore_run(host, run_dir, only=[spec.id for spec in chosen])
        except OtherTaskError as error:
            others.append(f"{run_dir}: {error}")
            continue
        except ZooError as error:
            problems.append(f"{run_dir}: {error}")
            continue
        changed += before is None or before.status != "ok" or before.test.extra != result.test.extra
        rows.append({"run_dir": str(run_dir), "run_id": result.run_id, "extra": plain(result.test.extra)})
        if not as_json:
            values = (
                f"{spec.id} {name} {value:.6g}" for spec in chosen if spec.id in result.test.extra
                for name, value in result.test.extra[spec.id].items()
            )  # fmt: skip
            echo(f"{result.run_id[:8]}  {result.cell.model}, seed {result.cell.seed}: {'; '.join(values)}")
    if others and not rows and not problems:
        raise UsageError(f"Nothing was computed: {others[0]}", hint="See: zoo list-metrics")
    if as_json:
        print_json(rows)
    for problem in problems:
        echo(f"left as it was: {problem}", err=True)
    echo(
        f"{counted(len(rows), 'run')} rescored ({changed} with new values), {len(problems)} left as they were"
        + (f", {len(others)} of other tasks" if others else ""),
        err=True,
    )
    if problems:
        ctx.exit(1)
