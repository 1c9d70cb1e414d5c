"""`zoo status`, `zoo cancel` and `zoo logs`: cells and other jobs that were submitted, also by another command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json
from zoo.cli.options import RUNS_IN, STORE
from zoo.errors import UsageError
from zoo.paths import in_shell
from zoo.plurals import counted

if TYPE_CHECKING:
    from zoo.results.cell import Cell


@click.command()
@STORE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, store: Path, as_json: bool) -> None:
    """Show where the cells of a store run, and their progress.

    Jobs of zoo tune, zoo predict and zoo evaluate are listed as well while a launcher has them, and with --store
    DIR/parts the shares of zoo simulate --out DIR. Exit code 1: nothing was found.
    """
    from zoo.cli.plan import variant
    from zoo.cli.watch import describe
    from zoo.run.status import cell_states, job_states
    from zoo.schema import plain

    found = cell_states(host_of(ctx), _run_dirs(store))
    jobs = job_states(host_of(ctx), _job_dirs(store))
    if as_json:
        print_json(
            [
                {
                    "run_id": one.cell.run_id,
                    "run_dir": str(one.run_dir),
                    "model": one.cell.model,
                    "data": one.cell.data,
                    "seed": one.cell.seed,
                    "state": one.state,
                    "where": one.where,
                    "detail": one.detail,
                    "progress": None if one.progress is None else plain(one.progress),
                }
                for one in found
            ]
            + [
                {
                    "run_id": None,
                    "run_dir": str(job.run_dir),
                    "model": None,
                    "data": None,
                    "seed": None,
                    "state": job.state,
                    "where": job.where,
                    "detail": "",
                    "progress": None if job.progress is None else plain(job.progress),
                }
                for job in jobs
            ]
        )
        ctx.exit(0 if found or jobs else 1)
    alike: dict[tuple[str, str, int], list[Cell]] = {}
    for one in found:
        alike.setdefault((one.cell.model, one.cell.data, one.cell.seed), []).append(one.cell)
    rows = [
        (
            one.state,
            one.cell.run_id,
            one.cell.model,
            one.cell.data,
            f"seed {one.cell.seed}{variant(one.cell, alike[one.cell.model, one.cell.data, one.cell.seed])}",
            one.where or "-",
            describe(one.progress) if one.state == "running" else one.detail,
        )
        for one in found
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(6)]
    for row in rows:
        words = [word.ljust(width) for word, width in zip(row, widths, strict=False)]
        echo("  ".join([*words, row[-1]]).rstrip())
    for job in jobs:
        words = [job.state.ljust(7), str(job.run_dir.relative_to(store)), job.where or "-"]
        echo("  ".join([*words, *([describe(job.progress)] if job.progress else [])]))
    if found or not jobs:
        echo(_total("cell", [one.state for one in found], store), err=True)
    if jobs:
        echo(_total("other job" if found else "job", [job.state for job in jobs], store), err=True)
    ctx.exit(0 if found or jobs else 1)


def _total(noun: str, states: Sequence[str], store: Path) -> str:
    total = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{counted(len(states), noun)} in {store}{': ' if total else ''}{total}"


@click.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=COMPLETE["runs"])
@click.option("--all", "everything", is_flag=True, help="Cancel all cells and other jobs of the store.")
@RUNS_IN
@click.pass_context
def cancel(ctx: click.Context, runs: tuple[str, ...], everything: bool, store: Path) -> None:
    """Cancel cells that wait or run.

    A cell that runs writes a checkpoint, and the same zoo bench goes on with it. RUN is a folder, or the first digits
    of a run id. --all includes the jobs of zoo tune, zoo predict and zoo evaluate; shares of zoo simulate --out DIR are
    cancelled by --store DIR/parts --all.
    """
    from zoo.results.find import find_run
    from zoo.run.status import cancel_cells

    if bool(runs) == everything:
        raise UsageError("State either runs or --all.", hint=f"See: zoo status --store {in_shell(store)}")
    jobs = _job_dirs(store) if everything else []
    run_dirs = _run_dirs(store) if everything else [find_run(name, store=store) for name in runs]
    requested, alone = cancel_cells(host_of(ctx), [*run_dirs, *jobs])
    echo(f"{counted(len(requested), 'job' if jobs else 'cell')} cancelled", err=True)
    for run_dir in alone:
        echo(f"left alone, since no launcher runs it (Ctrl-C ends its command): {run_dir}", err=True)
    for run_dir in () if everything else run_dirs:
        if run_dir not in requested and run_dir not in alone:
            echo(f"left alone, since it neither waits nor runs: {run_dir}", err=True)
    ctx.exit(0 if requested or not run_dirs or everything else 1)


@click.command()
@click.argument("run", shell_complete=COMPLETE["runs"])
@click.option("--lines", "-n", default=50, show_default=True, type=click.IntRange(1), help="Print this many lines.")
@RUNS_IN
@click.pass_context
def logs(ctx: click.Context, run: str, lines: int, store: Path) -> None:
    """Print the end of a cell's log.

    What its launcher has written about the job follows, and why it ended where its process could not state that. RUN is
    a folder, or the first digits of a run id.
    """
    from zoo.paths import log_tail
    from zoo.results.find import find_run
    from zoo.results.schema import Failed
    from zoo.results.store import LOG, read_result
    from zoo.run.status import launcher_log

    run_dir = find_run(run, store=store)
    echo(log_tail(run_dir / LOG, lines))
    if text := launcher_log(host_of(ctx), run_dir):
        echo(f"\nLog of the launcher:\n{text}")
    result = read_result(run_dir)
    if isinstance(result, Failed) and result.environment is None:
        echo(f"\n{result.error}")


def _job_dirs(store: Path) -> list[Path]:
    """Return the folders of jobs that a launcher has been given, and that are not cells."""
    from zoo.results.store import CELL
    from zoo.run.submission import JOB

    return sorted(path.parent for path in store.glob(f"*/*/*/{JOB}") if not (path.parent / CELL).exists())


def _run_dirs(store: Path) -> list[Path]:
    from zoo.results.store import CELL

    return sorted(path.parent for path in store.glob(f"*/*/*/{CELL}"))
