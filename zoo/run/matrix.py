"""Runs the cells of a plan that are not in the store yet, through a launcher, and gathers all results."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo import registry
from zoo.devices import note_on_auto, note_on_precision, resolve_device
from zoo.errors import Interrupted
from zoo.paths import absolute_variables, make_dir
from zoo.processor import ALLOCATOR
from zoo.progress import Progress, read_progress
from zoo.results import store as result_store
from zoo.results.cell import Cell
from zoo.results.schema import RunResult
from zoo.run.checked import CALL_SECONDS, CheckedLauncher
from zoo.run.job_queue import Entry, Queue
from zoo.run.launch import LOCAL, Launch, Resolved
from zoo.run.launcher import Job, Resources
from zoo.run.where import Where
from zoo.train.team import check_batches, check_devices

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
CELLS_PER_TICK = 25
"""With more cells the files of all of them are looked at less often, so that a shared disk is not kept busy."""
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
    resolved = launch.resolved(host, cells, gpus=gpus, nodes=team.num_nodes)
    here = resolved.spec.id == LOCAL
    if here:
        check_devices(team, resolve_device(where.device))
    check_batches(team.size, cells)
    stored: dict[str, RunResult | None] = {}
    if not where.force:
        stored = {cell.run_id: result_store.done(store, cell) for cell in cells}
    todo = [cell for cell in {cell.run_id: cell for cell in cells}.values() if not stored.get(cell.run_id)]
    manner = where.resolved(host, here=here)
    if here and manner.device == "cuda":
        resolved = _with_all_gpus(resolved)
    precisions = {cell.precision for cell in todo}
    for note in (note_on_auto(where.device), note_on_precision(where.device, precisions)) if todo and not here else ():
        if note:
            logger.warning("%s", note)
    entries = {
        cell.run_id: Entry(cell=cell, run_dir=store / cell.folder, result=stored.get(cell.run_id)) for cell in cells
    }
    queue = None
    if todo:
        absolute_variables()
        make_dir(store)
        make = partial(registry.load_target(resolved.spec), **resolved.options)
        # The core's own launcher needs no thread that watches it.
        engine = CheckedLauncher(resolved.spec.id, make, limit=None if here else CALL_SECONDS)

        def job_of(entry: Entry) -> Job:
            return _job(
                entry.run_dir,
                files=host.files,
                where=manner,
                resources=resolved.resources(entry.cell),
                label=f"{entry.cell.model} on {entry.cell.data}, seed {entry.cell.seed}",
            )

        mine = [entries[cell.run_id] for cell in todo]
        engine.check([job_of(entry) for entry in mine])
        for cell in todo:
            result_store.prepare_run(store, cell, force=where.force)
        queue = Queue(
            engine=engine,
            launch=resolved,
            entries=mine,
            job=job_of,
            poll_seconds=engine.poll_seconds or POLL_SECONDS,
        )
    cancel = True
    try:
        if queue is not None:
            queue.attach()
        first = True
        while True:
            if queue is not None:
                queue.advance()
            states = [_state(entries[cell.run_id], queue) for cell in cells]
            if watch is not None:
                watch(states)
            results = [state.result for state in states if state.result is not None]
            if len(results) == len(states):
                return results
            if first and submitted():
                cancel = False
                return results
            first = False
            time.sleep(POLL_SECONDS * max(1.0, len(todo) / CELLS_PER_TICK))
    except Interrupted:
        cancel = not resolved.spec.outlives
        raise
    finally:
        if queue is not None and cancel:
            queue.cancel()


def _state(entry: Entry, queue: Queue | None) -> CellState:
    state: State = entry.state if queue is not None and entry in queue.entries else "stored"
    at_work = state in ("running", "elsewhere")
    return CellState(
        cell=entry.cell,
        run_dir=entry.run_dir,
        state=state,
        progress=read_progress(entry.run_dir / result_store.PROGRESS) if at_work else None,
        result=entry.result,
    )


def _with_all_gpus(launch: Resolved) -> Resolved:
    """Return the local launcher with all GPUs of this machine where several cells share it and none are named."""
    import torch

    if launch.options["jobs"] < 2 or launch.options["gpu_ids"] or torch.cuda.device_count() < 2:
        return launch
    numbers = ",".join(map(str, range(torch.cuda.device_count())))
    return replace(launch, options={**launch.options, "gpu_ids": numbers})


def _job(
    run_dir: Path,
    *,
    where: Where,
    files: Sequence[str] = (),
    resources: Resources = Resources(),
    label: str = "",
) -> Job:
    run_dir = run_dir.absolute()  # a launcher may start it in another folder
    env = {name: value for name, value in os.environ.items() if name.startswith("ZOO_")}
    if files:
        env["ZOO_PLUGIN_FILES"] = os.pathsep.join(files)
    return Job(
        run_dir=run_dir,
        command=where.command(run_dir / result_store.CELL),
        cwd=Path.cwd(),
        env={**ALLOCATOR, **env},
        resources=resources,
        label=label,
    )
