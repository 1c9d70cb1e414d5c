"""Runs a cell by several processes: those that zoo starts on this machine, or those of torchrun or Slurm."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.devices import resolve_device
from zoo.environment import describe
from zoo.errors import Interrupted
from zoo.paths import log_tail
from zoo.plurals import counted
from zoo.results import store as result_store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.schema import Failed, RunResult
from zoo.run.together import SHARED_ERROR, run_together
from zoo.run.where import Where
from zoo.stopping import STOPPED
from zoo.train.team import Team

if TYPE_CHECKING:
    from zoo.host import Host

_LOG_LINES = 20


def run_by_team(cell: Cell, run_dir: Path, command: Sequence[str], *, team: Team, force: bool = False) -> RunResult:
    """Start the processes that train a cell, and make sure that a result records how they ended.

    The caller holds the lock of the cell's folder, for all of them.

    Args:
        cell: Cell that they train.
        run_dir: Folder of the run.
        command: Command of each process.
        team: Number of processes.
        force: Although there is a result.

    Raises:
        KeyboardInterrupt: The run was interrupted, or a process of it was stopped; all processes have been ended.
    """
    stored = result_store.read_result(run_dir)
    if stored is not None and not force:
        return stored
    (run_dir / result_store.RESULT).unlink(missing_ok=True)
    started = time.perf_counter()
    first = run_together(command, processes=team.size)
    if first is not None and first.code == STOPPED:
        raise Interrupted(f"the end of process {first.rank}")
    result = result_store.read_result(run_dir)
    # What the first process wrote is only the echo of another's death if that other one ended before.
    if result is not None and (result.status == "ok" or first is None or first.rank == 0 or first.code == SHARED_ERROR):
        return result
    log = run_dir / result_store.LOG
    ending = f"of {counted(team.size, 'process')}, {first or 'none'} before the others; all have been ended"
    failed = Failed(
        schema=SCHEMA,
        status="failed",
        run_id=cell.run_id,
        cell=cell,
        run_dir=run_dir,
        error=f"{ending[0].upper()}{ending[1:]}. The end of {log}:\n{log_tail(log, _LOG_LINES)}",
        seconds=time.perf_counter() - started,
        environment=describe(accelerator=False),
    )
    result_store.write_result(failed)
    return failed


def run_as_member(
    host: Host,
    cells: Sequence[Cell],
    *,
    store: Path,
    where: Where,
    team: Team,
) -> tuple[list[RunResult], bool]:
    """Run cells one after the other in this process, which is one of a team started elsewhere.

    Args:
        host: The plugins.
        cells: The plan; that of the first process holds.
        store: Folder of the results; only the first process reads and writes it.
        where: Device and images.
        team: Place of this process.

    Returns:
        The results (other processes than the first see stored ones only), and whether all cells ended well.
        They end with the first cell that failed: from there on the processes may not agree on what comes next.
    """
    import torch

    from zoo.run.cell import run_cell
    from zoo.train.fabric import make_fabric
    from zoo.train.help import help_fit

    results: list[RunResult] = []
    status = "ok"
    device, images, force = resolve_device(where.device), where.images, where.force
    # All processes take the plan of the first one: widths that were matched by time differ from one plan to the next.
    plan = make_fabric(torch.device(device), cells[0].precision, team).broadcast([cell.to_json() for cell in cells])
    for cell in map(Cell.from_json, plan):
        stored = result_store.done(store, cell) if team.first and not force else None
        stored = make_fabric(torch.device(device), cell.precision, team).broadcast(stored)
        if stored is not None:
            results.append(stored)
            status = stored.status
        elif team.first:
            run_dir = result_store.prepare_run(store, cell, force=force)
            results.append(run_cell(host, cell, run_dir, device=device, images=images, force=force, team=team))
            status = results[-1].status
        else:
            folder = store / cell.folder
            status = help_fit(host, cell, folder, device=torch.device(device), images=images, team=team).status
        if status != "ok":
            break
    return results, status == "ok"
