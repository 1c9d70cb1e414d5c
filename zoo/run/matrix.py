"""Runs the cells of a plan that are not in the store yet, through a launcher, and gathers all results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo import registry
from zoo.devices import note_on_auto, note_on_precision, resolve_device
from zoo.paths import absolute_variables, log_tail, make_dir
from zoo.progress import Progress, read_progress
from zoo.results import store as result_store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.schema import Failed, RunResult
from zoo.run.launcher import CheckedLauncher, Job, JobState, Launcher
from zoo.run.where import Where
from zoo.specs import LauncherSpec
from zoo.train.team import check_batches, check_devices

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)

LOCAL = "core/local"
"""Launcher that runs cells on this machine."""
POLL_SECONDS = 0.2
_LOG_LINES = 12
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
    launcher: str = "core/local",
    watch: Callable[[list[CellState]], None] | None = None,
) -> list[RunResult]:
    """Run what is not done and return the results of all cells, in their order.

    Args:
        host: The plugins.
        cells: The plan.
        store: Folder of the results.
        where: Device, images and processes of each cell.
        launcher: Id or name.
        watch: Function called several times a second with the state of every cell.

    Raises:
        UsageError: The launcher is unknown, or the cells cannot be shared by that number of processes.
        MissingError: This machine has fewer GPUs than the processes of a cell.
        DataError: The store cannot be written.
        KeyboardInterrupt: After the running cells have been stopped.
    """
    launcher_spec = registry.find(host, LauncherSpec, launcher)
    # The environment is left out: a script that srun or torchrun starts is not a member of the team of a cell.
    team = where.team(environment={})
    here = launcher_spec.id == LOCAL
    if here:
        check_devices(team, resolve_device(where.device))
    check_batches(team.size, cells)
    stored: dict[str, RunResult | None] = {}
    if not where.force:
        stored = {cell.run_id: result_store.done(store, cell) for cell in cells}
    todo = [cell for cell in {cell.run_id: cell for cell in cells}.values() if not stored.get(cell.run_id)]
    resolved = where.resolved(host, here=here)
    precisions = {cell.precision for cell in todo}
    for note in (note_on_auto(where.device), note_on_precision(where.device, precisions)) if todo and not here else ():
        if note:
            logger.warning("%s", note)
    matrix = _Matrix(
        store=store,
        stored=stored,
        start=lambda run_dir: _job(run_dir, where=resolved),
        force=where.force,
    )
    if todo:
        absolute_variables()
        make_dir(store)
        matrix.engine = CheckedLauncher(launcher_spec.id, registry.load_target(launcher_spec))
        matrix.submit(todo)
    try:
        while True:
            states = matrix.states(cells)
            if watch is not None:
                watch(states)
            if all(state.result is not None for state in states):
                return [state.result for state in states if state.result is not None]
            time.sleep(POLL_SECONDS)
    finally:
        if matrix.engine is not None:
            matrix.engine.cancel(list(matrix.handles.values()))


@dataclass(kw_only=True)
class _Matrix:
    """States of the cells while they run.

    Another process may run the same cells from the same store. A cell belongs to the process that holds the lock of its
    folder; it is left to them, and taken back when they let go of it without a result.
    """

    store: Path
    stored: dict[str, RunResult | None]
    start: Callable[[Path], Job]
    force: bool
    engine: Launcher | None = None
    handles: dict[str, str] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)

    def submit(self, cells: Sequence[Cell]) -> None:
        """Give cells to the launcher, but for those that another process runs."""
        assert self.engine is not None
        mine = []
        for cell in cells:
            run_dir = result_store.prepare_run(self.store, cell, force=self.force)
            if result_store.locked(run_dir):
                self.elsewhere.add(cell.run_id)
            else:
                self.elsewhere.discard(cell.run_id)
                mine.append((cell, run_dir))
        handles = self.engine.submit([self.start(run_dir) for _, run_dir in mine])
        self.handles |= dict(zip((cell.run_id for cell, _ in mine), handles, strict=True))

    def states(self, cells: Sequence[Cell]) -> list[CellState]:
        """Return the state of every cell."""
        jobs: dict[str, JobState] = {}
        if self.engine is not None:
            jobs = dict(zip(self.handles, self.engine.poll(list(self.handles.values())), strict=True))
        return [self._state(cell, jobs) for cell in cells]

    def _state(self, cell: Cell, jobs: dict[str, JobState]) -> CellState:
        run_dir, run_id = self.store / cell.folder, cell.run_id
        state: State = "elsewhere" if run_id in self.elsewhere else jobs.get(run_id, "stored")
        result = self.stored.get(run_id)
        if state == "ended" and result is None:
            result = result_store.read_result(run_dir)
            if result is None and result_store.locked(run_dir):
                # Our process found another one at work, and left.
                self.elsewhere.add(run_id)
                state = "elsewhere"
            else:
                result = result or _died(cell, run_dir)
        elif state == "elsewhere" and not result_store.locked(run_dir):
            result = result_store.read_result(run_dir)
            if result is None:
                self.submit([cell])
                state = "elsewhere" if run_id in self.elsewhere else "waiting"
            else:
                self.elsewhere.discard(run_id)
                self.handles.pop(run_id, None)
                state = "ended"
        elif state == "waiting" and (run_dir / result_store.RESULT).exists():
            # Another process has run it meanwhile: planning had removed what was there before.
            result = result_store.read_result(run_dir)
            if result is not None and self.engine is not None:
                self.engine.cancel([self.handles.pop(run_id)])
                state = "ended"
        self.stored[run_id] = result
        progress = read_progress(run_dir / result_store.PROGRESS) if state in ("running", "elsewhere") else None
        return CellState(cell=cell, run_dir=run_dir, state=state, progress=progress, result=result)


def _job(run_dir: Path, *, where: Where) -> Job:
    run_dir = run_dir.absolute()  # a launcher may start it in another folder
    return Job(run_dir=run_dir, command=where.command(run_dir / result_store.CELL))


def _died(cell: Cell, run_dir: Path) -> Failed:
    """Return the result of a cell whose process ended without writing one."""
    log = run_dir / result_store.LOG
    return Failed(
        schema=SCHEMA,
        status="failed",
        run_id=cell.run_id,
        cell=cell,
        run_dir=run_dir,
        error=f"Its process ended without a result; the end of {log}:\n{log_tail(log, _LOG_LINES)}",
    )
