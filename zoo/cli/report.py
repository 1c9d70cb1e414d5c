"""`zoo report`: tables, pictures and a page of everything in a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import console, echo, host_of, print_json
from zoo.cli.options import PATH, STORE
from zoo.errors import UsageError
from zoo.paths import in_shell
from zoo.plurals import counted
from zoo.provenance import stale_metrics
from zoo.registry import datasets_by_id, twins_by_id

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.report.problems import Problem
    from zoo.results.schema import RunResult
    from zoo.results.store import Unreadable
    from zoo.specs import DatasetSpec

_MOST_SENTENCES = 15
_MOST_ROWS = 100
"""Rows of a table on a terminal, which takes a millisecond for each."""


@click.command()
@STORE
@click.option("--md", "as_markdown", is_flag=True, help="Print Markdown.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with all numbers, one line per run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--html",
    metavar="FILE",
    type=PATH,
    help="Write a page as well: one self-contained file.",
    shell_complete=COMPLETE["file"],
)
@click.option(
    "--figures",
    metavar="DIR",
    type=PATH,
    help="Draw ROC curves and examples into this folder, too.",
    shell_complete=COMPLETE["folder"],
)
@click.option(
    "--bundle",
    metavar="FILE",
    type=PATH,
    help="Write a ZIP file for an archive such as Zenodo: runs, cards, table, checksums.",
    shell_complete=COMPLETE["file"],
)
@click.option("--licence", default="", help="Set the licence of the weights in the bundle.  [default: mit]")
@click.pass_context
def report(
    ctx: click.Context,
    store: Path,
    as_markdown: bool,
    as_csv: bool,
    as_json: bool,
    html: Path | None,
    figures: Path | None,
    bundle: Path | None,
    licence: str,
) -> None:
    """Show the results in a store, best first.

    There is one table for each data set, budget and task, with paired differences below it.
    """
    if as_markdown + as_csv + as_json > 1:
        raise UsageError("--md, --csv and --json exclude each other.")
    if licence and bundle is None:
        raise UsageError("--licence is for the weights in a bundle: add --bundle FILE.")
    from zoo.results.declared import with_declared
    from zoo.results.store import plain_result, scan

    found, rest = scan(store)
    datasets, twins = with_declared(datasets_by_id(host_of(ctx)), found), twins_by_id(host_of(ctx))
    _name(rest)
    if not found and not (as_json and store.is_dir()):
        raise UsageError(
            f"No results were found in {store}.",
            hint="Make some: zoo bench --model p4m --data modelB --budget smoke",
        )
    from zoo.report.problems import find_problems
    from zoo.results.baselines import merged
    from zoo.tasks.find import tasks_by_name

    problems = find_problems(found, store=store, tasks=tasks_by_name(host_of(ctx)))
    standing = merged([problem.standing(datasets) for problem in problems])
    stale = name_stale_metrics(host_of(ctx), found)
    if as_json:
        print_json(
            [
                plain_result(result)
                | {
                    "run_dir": str(result.run_dir),
                    "baseline": result.run_id in standing.baselines,
                    "does_not_beat": list(standing.unbeaten.get(result.run_id, ())),
                    "stale_metrics": stale.get(result.run_id, []),
                }
                for result in found
            ]
        )
    elif as_csv:
        from zoo.report.text import to_csv

        echo(to_csv(found, standing=standing), nl=False)
    if html is not None or not (as_json or as_csv):
        if not (as_json or as_csv):
            print_problems(problems, datasets, twins, as_markdown=as_markdown)
        if html is not None:
            from zoo.report.page import write_page

            write_page(problems, rest, html, datasets=datasets, twins=twins, tasks=tasks_by_name(host_of(ctx)))
            echo(f"wrote {html}", err=True)
    if figures is not None:
        from zoo.report.plots import draw_all

        paths, left_out = draw_all(found, figures, tasks=tasks_by_name(host_of(ctx)))
        for path in paths:
            echo(f"wrote {path}", err=True)
        for sentence in left_out:
            echo(f"note: {sentence}", err=True)
    if bundle is not None:
        from zoo.report.bundle import write_bundle

        written = write_bundle(
            host_of(ctx),
            found,
            rest,
            bundle,
            licence=licence or "mit",
            standing=standing,
            datasets=datasets,
            tasks=tasks_by_name(host_of(ctx)),
        )
        _name([entry for entry in written.left_out if entry not in rest])  # the rest was named at the beginning
        echo(f"wrote {bundle}: {counted(len(written.runs), 'run')}", err=True)


def name_stale_metrics(host: Host, results: Sequence[RunResult]) -> dict[str, list[str]]:
    """Return run id -> metrics that other code computed than that of the loaded plugins; name them on stderr."""
    found = {
        result.run_id: names
        for result in results
        if result.status == "ok" and (names := stale_metrics(host, result.metric_code))
    }
    stores = {result.run_dir.parents[2]: None for result in results if result.run_id in found}
    for store in stores:
        mine = [found[one.run_id] for one in results if one.run_id in found and one.run_dir.parents[2] == store]
        metrics = ", ".join(sorted({name for names in mine for name in names}))
        echo(
            f"note: other code than that of the installed plugins computed {metrics} of {counted(len(mine), 'run')}; "
            f"to compute them again: zoo rescore {in_shell(store)}",
            err=True,
        )
    return found


def print_problems(
    problems: Sequence[Problem],
    datasets: Mapping[str, DatasetSpec],
    twins: Mapping[str, Sequence[str]],
    *,
    as_markdown: bool = False,
) -> None:
    """Print tables, what there is over seeds, and the comparisons in words."""
    from zoo.report.narrow import notes_for, to_rich
    from zoo.report.tables import make_tables, seed_table
    from zoo.report.text import to_markdown
    from zoo.results.comparison import MACRO

    out = console()
    for problem in problems:
        tables = make_tables(problem.results, datasets=datasets, twins=twins, comparisons=problem.comparisons)
        over_seeds = seed_table(problem.variants, standing=problem.standing(datasets))
        sentences = [sentence for score in (MACRO, *problem.metrics) for sentence in problem.sentences(score)]
        if len(sentences) > _MOST_SENTENCES:
            more = counted(len(sentences) - _MOST_SENTENCES, "more pair")
            sentences = [*sentences[:_MOST_SENTENCES], f"... and {more}; see them all with --html FILE"]
        for table in [*tables, *([over_seeds] if over_seeds else [])]:
            if as_markdown:
                echo(to_markdown(table) + "\n")
                continue
            if len(table.rows) > _MOST_ROWS:
                more = f"... and {counted(len(table.rows) - _MOST_ROWS, 'more row')}; see them all with --csv"
                table = replace(table, rows=table.rows[:_MOST_ROWS], notes=[*table.notes, more])
            out.print(to_rich(table, width=out.width))
            for note in notes_for(table, width=out.width):
                out.print(note, style="dim")
        for sentence in [*filter(None, [problem.caution]), *sentences, *problem.notes]:
            if as_markdown:
                echo(f"- {sentence}")
            else:
                out.print(f"  {sentence}", soft_wrap=not out.is_terminal)
        if sentences or problem.notes:
            echo("")


def _name(rest: Sequence[Unreadable]) -> None:
    """Print on stderr which cells have no result that can be shown."""
    for entry in [entry for entry in rest if not entry.unfinished]:
        echo(f"note: {entry.run_dir} is left out: {entry.cause}", err=True)
    unfinished = sum(entry.unfinished for entry in rest)
    if unfinished:
        cells = "cells have" if unfinished > 1 else "cell has"
        echo(f"note: {unfinished} {cells} not ended; see: zoo status", err=True)
