"""Runs the cells of a plan that are not in the store yet, through a launcher, and gathers all results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo.devices import resolve_device
from zoo.errors import UsageError
from zoo.paths import absolute_variables, make_dir
from zoo.plan.built import check_turns
from zoo.plurals import counted
from zoo.progress import Progress, read_progress
from zoo.results import store as result_store
from zoo.results.cell import Cell
from zoo.results.schema import RunResult
from zoo.run.job_queue import Entry
from zoo.run.launch import LOCAL, Launch
from zoo.run.launcher import Job, Resources
from zoo.run.queued import make_job, make_queue, wait_for
from zoo.run.where import Where
from zoo.run.work import CellWork, mark_of
from zoo.train.team import Team, check_batches, check_devices

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)

State = Literal["stored", "waiting", "running", "elsewhere", "ended"]


@dataclass(frozen=True, kw_only=True)
class CellState:
    """State of a cell.

    Args:
        cell: Cell of this state.
        run_dir: Folder of its files.
        state: "stored", "waiting", "running", "elsewhere" (another process runs it) or "ended".
        progress: Last progress report of the cell, if any.
        result: Once there is one.
    """

    cell: Cell
    run_dir: Path
    state: State
    progress: Progress | None = None
    result: RunResult | None = None


def run_matrix(
    host: Host,
    cells: Sequence[Cell],
    *,
    store: Path,
    where: Where = Where(),
    launch: Launch = Launch(),
    watch: Callable[[list[CellState]], None] | None = None,
    submitted: Callable[[], bool | None] = lambda: False,
) -> list[RunResult]:
    """Run what is not done and return the results of all cells, in their order.

    A job that an earlier command has submitted and that still waits or runs is not submitted again. Jobs of a launcher
    that outlives this process (`LauncherSpec.outlives`) are cancelled by Ctrl-C only, not by a closed terminal.

    Args:
        host: The plugins.
        cells: The plan.
        store: Folder of the results.
        where: Device, images and processes of each cell.
        launch: Launcher, its options, and the resources of cells.
        watch: Function called several times a second with the state of every cell.
        submitted: Function called when all cells have been given to the launcher; if it returns True, this function
            returns the results that there are, and the jobs go on.

    Raises:
        UsageError: The launcher or an option is unknown, a cell needs what the launcher does not have, or the cells
            cannot be shared by that number of processes.
        MissingError: This machine has fewer GPUs than the processes of a cell, or lacks what the launcher needs.
        LauncherError: The launcher cannot be started, or does not know whether jobs submitted earlier still wait.
        DataError: The store cannot be written.
        KeyboardInterrupt: After the running cells have been stopped.
    """
    # The environment is left out: a script that srun or torchrun starts is not a member of the team of a cell.
    team = where.team(environment={})
    gpus = 0 if where.device == "cpu" else team.devices if team.size > 1 or where.device == "cuda" else 0
    resolved = launch.resolved(host, cells, gpus=gpus, team=team)
    for cell in cells:
        _check_processes(resolved.resources(cell), team)
    here = resolved.spec.id == LOCAL
    if here:
        check_devices(team, resolve_device(where.device))
    check_batches(team.size, cells)
    check_turns(host, cells, team.size)
    stored: dict[str, RunResult | None] = {}
    if not where.force:
        for cell in cells:
            found = result_store.done(store, cell)
            stored[cell.run_id] = found and result_store.record_search(found, cell.search)
    todo = [cell for cell in {cell.run_id: cell for cell in cells}.values() if not stored.get(cell.run_id)]
    manner = where.resolved(host, here=here)
    if here and manner.device == "cuda":
        resolved = resolved.on_all_gpus()
    for note in where.notes(todo) if todo and not here else ():
        logger.warning("%s", note)
    folders = {cell.run_id: store / cell.folder for cell in cells}
    works = {
        cell.run_id: CellWork(
            cell=cell,
            run_dir=folders[cell.run_id],
            replaces=mark_of(folders[cell.run_id]) if where.force else None,
        )
        for cell in cells
    }
    entries: dict[str, Entry[RunResult]] = {
        run_id: Entry(work=work, result=stored.get(run_id)) for run_id, work in works.items()
    }
    mine = {cell.run_id for cell in todo}

    def look() -> None:
        if watch is not None:
            watch([_state(works[cell.run_id], entries[cell.run_id], queued=cell.run_id in mine) for cell in cells])

    if not todo:
        look()
        return _results(entries, cells)
    absolute_variables()
    make_dir(store)

    def job_of(entry: Entry[RunResult]) -> Job:
        cell = works[entry.run_dir.name].cell
        # A later attempt goes on with the checkpoint, unless the first one has not even begun.
        anew = where.force and (entry.attempt <= 1 or mark_of(entry.run_dir) is not None)
        return _job(
            entry.run_dir,
            files=host.files,
            where=replace(manner, force=anew),
            resources=resolved.resources(cell),
            label=entry.work.label,
        )

    queue = make_queue(resolved, [entries[cell.run_id] for cell in todo], job=job_of)
    for cell in todo:
        result_store.prepare_run(store, cell)
    wait_for(queue, look=look, submitted=submitted)
    return _results(entries, cells)


def _check_processes(resources: Resources, team: Team) -> None:
    """Refuse resources for other processes than those of the team.

    Raises:
        UsageError: Their numbers differ.
    """
    nodes, tasks = resources.nodes, resources.tasks_per_node
    if nodes != team.num_nodes:
        raise UsageError(
            f"--launcher-set nodes={nodes}: each network is trained on {counted(team.num_nodes, 'node')}.",
            hint=f"Add: --num-nodes {nodes}",
        )
    if tasks != team.devices and (tasks > 1 or nodes > 1):  # on one node, zoo may start them itself
        raise UsageError(
            f"--launcher-set tasks_per_node={tasks}: each network is trained by {counted(team.devices, 'process')} "
            "on a node.",
            hint=f"Add: --devices {tasks}",
        )


def _results(entries: Mapping[str, Entry[RunResult]], cells: Sequence[Cell]) -> list[RunResult]:
    results = [entries[cell.run_id].result for cell in cells]
    return [result for result in results if result is not None]


def _state(work: CellWork, entry: Entry[RunResult], *, queued: bool) -> CellState:
    state: State = entry.state if queued else "stored"
    at_work = state in ("running", "elsewhere")
    return CellState(
        cell=work.cell,
        run_dir=work.run_dir,
        state=state,
        progress=read_progress(work.run_dir / result_store.PROGRESS) if at_work else None,
        result=entry.result,
    )


def _job(
    run_dir: Path,
    *,
    where: Where,
    files: Sequence[str] = (),
    resources: Resources = Resources(),
    label: str = "",
) -> Job:
    command = where.command(run_dir / result_store.CELL)
    return make_job(run_dir, command, files=files, resources=resources, label=label)
