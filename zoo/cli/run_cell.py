"""`zoo run-cell`: what a launcher starts for each cell."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from zoo.cli.context import echo, host_of
from zoo.cli.options import PATH, options_of, value_of
from zoo.devices import resolve_device
from zoo.errors import Interrupted
from zoo.processor import has_fast_bf16
from zoo.results.cell import Cell
from zoo.run.where import Where
from zoo.stopping import STOPPED, watch_parent
from zoo.train.team import check_devices

logger = logging.getLogger(__name__)
# torch and numpy are imported inside the function: they are not needed to refuse a wrong command.


@click.command("run-cell", hidden=True)
@click.argument("path", metavar="CELL.json", type=PATH)
@options_of(Where)
@click.pass_context
def run_cell(ctx: click.Context, /, path: Path, **values: Any) -> None:
    """Run one cell in this process, or in some that it starts; the result goes beside its file."""
    watch_parent()
    try:
        status = _run(ctx, path, value_of(Where, values))
    except Interrupted as stop:
        echo(f"Stopped by {stop}. Everything finished is kept: run the cell again to resume.", err=True)
        ctx.exit(STOPPED)
    if status != "ok":
        ctx.exit(1)


def _run(ctx: click.Context, path: Path, where: Where) -> str:
    """Run a cell and return its status: "ok", "failed" or "oom"."""
    cell, device = Cell.read(path), resolve_device(where.device)
    where = replace(where, device=device)
    team = where.team()
    if device == "cpu" and cell.precision == "bf16" and not has_fast_bf16():
        logger.warning("%s is trained in bf16, which is slow on this processor; faster: --precision fp32", cell.model)
    # torch takes seconds to import: first check that the cell is valid and not locked by another process.
    if team.size > 1 and not team.started_by:
        check_devices(team, device)
        from zoo.results.store import claim
        from zoo.run.teamwork import run_by_team

        with claim(path.parent):
            return run_by_team(cell, path.parent, where.command(path), team=team, force=where.force).status
    if not team.first:
        import torch

        from zoo.train.help import help_fit

        where_to = torch.device(device)
        return help_fit(host_of(ctx), cell, path.parent, device=where_to, images=where.images, team=team).status
    from zoo.results.store import claim

    with contextlib.nullcontext() if team.started_by == "zoo" else claim(path.parent):
        from zoo.run import cell as run

        result = run.run_cell(
            host_of(ctx), cell, path.parent, device=device, images=where.images, force=where.force, team=team
        )
        return result.status
