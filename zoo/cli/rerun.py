"""`zoo rerun` and `zoo verify`: is a stored result reproducible, and does it agree with its files?"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import console, echo, host_of, print_json, warn_of_broken
from zoo.cli.options import DEVICE, PATH
from zoo.errors import UsageError
from zoo.paths import user_path

if TYPE_CHECKING:
    from zoo.results.verify import Verification


@click.command()
@click.argument("run", shell_complete=COMPLETE["runs"])
@click.option("--from", "source", default="results", show_default=True, type=PATH, help="Search the run in this store.")
@click.option(
    "--store",
    metavar="DIR",
    type=PATH,
    help="Keep the new run in this store; default: delete it.",
    shell_complete=COMPLETE["folder"],
)
@click.option(
    "--tolerance", type=float, default=1e-3, show_default=True, help="Allow this difference of scores without a unit."
)
@DEVICE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def rerun(
    ctx: click.Context, run: str, source: Path, store: Path | None, tolerance: float, device: str, as_json: bool
) -> None:
    """Run a stored cell again elsewhere and compare the scores.

    RUN is a folder, or the first digits of a run id. Exit 1: a score differs by more than the tolerance.
    """
    from zoo.cli.watch import Watcher
    from zoo.results.find import find_run
    from zoo.run.rerun import rerun as run_again

    if not tolerance >= 0:  # nor is nan
        raise UsageError(f"--tolerance {tolerance:g} must be 0 or more.")
    host = host_of(ctx)
    warn_of_broken(host)
    run_dir = find_run(run, store=source)
    with ExitStack() as stack:
        place = store if store else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-rerun-")))
        with Watcher() as watcher:
            found = run_again(host, run_dir, store=place, device=device, watch=watcher.watch)
    agrees = found.largest <= tolerance
    if as_json:
        content = asdict(found) | {"cell": found.cell.to_json(), "run_dir": str(found.run_dir), "agrees": agrees}
        print_json(content)
    else:
        from rich.table import Table

        table = Table(title=f"{found.cell.model} on {found.cell.data}", box=None, header_style="bold", pad_edge=False)
        for heading in ("score", "stored", "again", "difference"):
            table.add_column(heading, justify="left" if heading == "score" else "right")
        for name, value in found.stored.items():
            table.add_row(name, f"{value:.5f}", f"{found.again[name]:.5f}", f"{found.again[name] - value:+.1e}")
        console().print(table)
        echo("The test logits are equal bit by bit." if found.same_bits else "The test logits differ.")
    for change in found.changes:
        echo(f"note: {change}", err=True)
    if store:
        echo(f"kept in {found.run_dir}", err=True)
    if not agrees:
        echo(f"A score differs by {found.largest:.1e}; allowed are {tolerance:g} (--tolerance).", err=True)
        ctx.exit(1)


@click.command()
@click.argument("target", metavar="RUN|STORE", default="results", shell_complete=COMPLETE["runs"])
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(ctx: click.Context, target: str, as_json: bool) -> None:
    """Recompute stored scores and check the hashes of files.

    Scores are computed again from the stored predictions. RUN is a folder, or the first digits of a run id in
    ./results; STORE is a folder of runs. Exit code 1: at least one check failed.
    """
    from zoo.results.find import find_run
    from zoo.results.store import CELL, RESULT
    from zoo.results.verify import verify_run
    from zoo.tasks.find import tasks_by_name

    tasks = tasks_by_name(host_of(ctx))
    folder = user_path(target)
    run_dirs = sorted({path.parent for name in (CELL, RESULT) for path in folder.glob(f"*/*/*/{name}")})
    if not run_dirs and (folder / RESULT).exists():
        run_dirs = [folder]
    if not run_dirs:
        if os.path.isdir(folder) and not os.path.isfile(folder / CELL):
            raise UsageError(f"No runs were found in {folder}.", hint="See: zoo report --store DIR")
        run_dirs = [find_run(target, store=Path("results"))]
    found = [_with_checkpoint(verify_run(run_dir, tasks=tasks)) for run_dir in run_dirs]
    if as_json:
        print_json([asdict(one) | {"run_dir": str(one.run_dir)} for one in found])
    else:
        for one in found:
            echo(f"{one.state:9}  {one.run_dir}" + "".join(f"  ({note})" for note in one.notes))
            for problem in one.problems:
                echo(f"           {problem}")
    false = sum(one.state == "false" for one in found)
    true = sum(one.state == "true" for one in found)
    echo(f"{true} true, {false} false, {len(found) - true - false} without a result", err=True)
    if false:
        ctx.exit(1)


def _with_checkpoint(one: Verification) -> Verification:
    """Return the findings with what is wrong with the checkpoint of a training that has not ended."""
    from zoo.train.checkpoint import check_checkpoint

    problem = check_checkpoint(one.run_dir)
    return replace(one, state="false", problems=[*one.problems, problem]) if problem else one
