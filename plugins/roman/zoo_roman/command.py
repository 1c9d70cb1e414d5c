"""`zoo roman-submit`: trained weights and an unlabelled file in, the table for the challenge out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from zoo.api import load
from zoo.cli.complete import COMPLETE
from zoo.cli.context import echo, host_of, rewrite_line
from zoo.errors import UsageError
from zoo.paths import make_dir, user_path
from zoo.remote import readable_path

_PROGRESS_SECONDS = 0.5


@click.command("roman-submit")
@click.argument("weights", metavar="WEIGHTS", shell_complete=COMPLETE["weights"])
@click.argument("file", metavar="FILE")
@click.option("--out", required=True, metavar="TABLE.csv", help="Write the table to this file.")
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True,
    help="Write 1 at this probability of substructure and above.",
)  # fmt: skip
@click.option(
    "--average", type=click.Choice(["none", "p4", "d4"]), default="none", show_default=True,
    help="Average over rotated and mirrored images.",
)  # fmt: skip
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
    help="Compute on this device.",
)  # fmt: skip
@click.option(
    "--store", default="results", show_default=True, shell_complete=COMPLETE["folder"],
    help="Search run ids in this folder.",
)  # fmt: skip
@click.pass_context
def roman_submit(
    ctx: click.Context, /, weights: str, file: str, out: str, threshold: float, average: str, device: str, store: str
) -> None:
    """Classify a file of the Roman challenge.

    WEIGHTS is a run on the data set roman/challenge, or its weights file; FILE an HDF5 file of Rung 1, without labels.
    The table has the columns ID and has_substructure, in the order of the file's uids, with 0 or 1 as the challenge
    requires: it reads every probability above 0 as 1. The probabilities are written beside it, to
    TABLE.probabilities.csv. Both are written when all lenses are classified.
    """
    path, table = readable_path(file), user_path(out).absolute()
    if table.suffix != ".csv":  # also where FILE was written a second time, which would be lost
        raise UsageError(f"--out {out} must end with .csv.", hint="Write, for example: --out submission.csv")
    make_dir(table.parent)
    import torch

    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise UsageError("--device cuda: torch finds no GPU.", hint="Write: --device cpu")
    from zoo_roman.submission import bands_of, classify, write_submission

    trained = load(weights, store=store, host=host_of(ctx))
    bands = bands_of(trained)
    chosen = ("cuda" if has_gpu else "cpu") if device == "auto" else device
    started = time.perf_counter()
    uids, probabilities = classify(trained.to(chosen), path, bands=bands, average=average, report=_progress())
    written = write_submission(table, uids, probabilities, threshold=threshold)
    seconds = time.perf_counter() - started
    share = (probabilities >= threshold).mean()
    echo(f"{len(uids):,} x {'+'.join(bands)} in {seconds:.0f} s; {share:.1%} with substructure", err=True)
    for one in written:
        echo(f"written: {one}", err=True)


def _progress() -> Callable[[int, int], None]:
    """Return a function that shows the progress on a terminal, and nothing elsewhere."""
    started = last = time.perf_counter()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if sys.stderr.isatty() and (done == total or now - last > _PROGRESS_SECONDS):
            last = now
            rewrite_line(f"{done:,} of {total:,}, {done / (now - started):,.0f}/s")
            if done == total:
                echo("", err=True)

    return report
