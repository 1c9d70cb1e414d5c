"""`zoo run-share`: what a launcher starts for each share of a split."""

from __future__ import annotations

import os
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
    watch_parent()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in `zoo simulate`
    from zoo.run.shares import make_share

    try:
        make_share(host_of(ctx), path)
    except Interrupted as stop:
        echo(f"Stopped by {stop}. Nothing is lost: make the share again to resume.", err=True)
        ctx.exit(STOPPED)
