"""`zoo run-share`, `predict-share`, `evaluate-share`: what a launcher starts for each share of images or files."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from zoo.cli.context import echo, host_of
from zoo.cli.options import PATH
from zoo.errors import Interrupted
from zoo.stopping import STOPPED, watch_parent


@click.command("run-share", hidden=True)
@click.argument("path", metavar="share.json", type=PATH)
@click.pass_context
def run_share(ctx: click.Context, path: Path) -> None:
    """Make one share of a split in this process; its part of the manifest goes beside its file."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in `zoo simulate`
    from zoo.run.shares import make_share

    _run(ctx, partial(make_share, host_of(ctx), path))


@click.command("predict-share", hidden=True)
@click.argument("path", metavar="share.json", type=PATH)
@click.pass_context
def predict_share(ctx: click.Context, path: Path) -> None:
    """Classify one share of many files in this process; its answers go beside its file."""
    from zoo.inference.predict_shares import predict_share as classify

    _run(ctx, partial(classify, host_of(ctx), path))


@click.command("evaluate-share", hidden=True)
@click.argument("path", metavar="share.json", type=PATH)
@click.pass_context
def evaluate_share(ctx: click.Context, path: Path) -> None:
    """Answer one share of test images in this process; the answers go beside its file."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in `zoo simulate`
    from zoo.inference.evaluate_shares import evaluate_share as answer

    _run(ctx, partial(answer, host_of(ctx), path))


def _run(ctx: click.Context, work: Callable[[], None]) -> None:
    watch_parent()
    try:
        work()
    except Interrupted as stop:
        echo(f"Stopped by {stop}. Everything finished is kept: run the share again to resume.", err=True)
        ctx.exit(STOPPED)
