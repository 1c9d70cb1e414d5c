"""`zoo score`: scores of predictions that other programs made."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, print_json, warn_of_broken
from zoo.cli.export_data import SEED_FILE
from zoo.cli.options import PATH, options_of
from zoo.cli.score_table import print_scores
from zoo.isolation import printing_to_stderr
from zoo.paths import in_shell
from zoo.plan.overrides import parse_settings
from zoo.plan.request import Request
from zoo.plurals import counted


@click.command()
@click.argument("file", metavar="FILE", type=PATH, shell_complete=COMPLETE["file"])
@click.option(
    "--data", required=True, metavar="DATASET|DIR",
    help="Score on the test images of this data set, or of this folder made by zoo data export.",
    shell_complete=COMPLETE["datasets"],
)  # fmt: skip
@click.option(
    "--split", default="test", help="Score on this split; only test can be scored.", shell_complete=COMPLETE["splits"]
)
@click.option("--name", "method", default="", help="Name the method; default: the name of the file.")
@click.option("--author", default="", metavar="TEXT", help="Name the author of the predictions.")
@click.option("--cost-note", default="", metavar="TEXT", help="Store the author's statement on the method's cost.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True,
    help="Name the training: predictions of several seeds of a method are one network.",
)  # fmt: skip
@SEED_FILE
@options_of(Request, only=("budget", "task", "simulator", "settings", "device", "store"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def score(
    ctx: click.Context,
    file: Path,
    data: str,
    split: str,
    method: str,
    author: str,
    cost_note: str,
    seed: int,
    seed_file: Path | None,
    budget: str | None,
    task: str,
    simulator: str,
    settings: tuple[str, ...],
    device: str,
    store: Path,
    as_json: bool,
) -> None:
    """Score predictions that another program made.

    FILE is CSV, npz or parquet: a column id and a column for each class, named by it, with probabilities that sum to 1
    within 0.001; for the task anomaly, the column score, higher for an anomaly; for the task regress, the columns mean
    and sigma, or low, high and level. Each test image needs one row. The result is stored beside runs: scores,
    intervals and comparisons are those of runs with the same --budget and --set.
    """
    from zoo.cli.watch import CountBar
    from zoo.results.store import plain_result
    from zoo.run.scored import score_file

    host = host_of(ctx)
    warn_of_broken(host)
    with printing_to_stderr(), CountBar("simulate test") as bar:  # plugins may print
        found = score_file(
            host,
            file,
            data=data,
            split=split,
            budget=budget,
            task=task,
            simulator=simulator,
            settings=parse_settings(list(settings)),
            device=device,
            name=method,
            author=author,
            cost_note=cost_note,
            seed=seed,
            seed_file=seed_file,
            folder=Path(store),
            progress=lambda _, done, total: bar.show(done, total),
        )
    if as_json:
        print_json(plain_result(found) | {"run_dir": str(found.run_dir)})
        return
    cell = found.cell
    title = f"{cell.model} on {counted(found.test.images, 'image')} of {cell.data}, budget {cell.budget}"
    print_scores(found.test, title=title)
    echo(f"stored in {found.run_dir}; beside other results: zoo report --store {in_shell(store)}", err=True)
