"""`zoo report`: tables and pictures of everything in a store."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.context import console, print_json
from zoo.errors import UsageError


@click.command()
@click.option("--store", default="results", show_default=True, help="Folder of the results.")
@click.option("--md", "as_markdown", is_flag=True, help="Print Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--figures", metavar="DIR", help="Also draw ROC curves and examples into this folder.")
def report(store: str, as_markdown: bool, as_json: bool, figures: str | None) -> None:
    """Show the results in a store, best first, one table for each data set and size."""
    if as_markdown and as_json:
        raise UsageError("--md and --json exclude each other.")
    from zoo.harness.store import results
    from zoo.report.tables import make_tables, to_markdown, to_rich

    found = list(results(Path(store)))
    if as_json:
        print_json(found)
    elif not found:
        raise UsageError(
            f"There are no results in {store}.",
            hint="Make some: zoo bench --model p4m --data modelB --budget smoke",
        )
    else:
        for table in make_tables(found):
            if as_markdown:
                click.echo(to_markdown(table) + "\n")
                continue
            out = console()
            out.print(to_rich(table, width=out.width))
            for note in table.notes:
                out.print(note, style="dim", markup=False)
    if figures is not None:
        from zoo.report.plots import draw_all

        for path in draw_all(found, Path(figures)):
            click.echo(f"wrote {path}", err=True)
