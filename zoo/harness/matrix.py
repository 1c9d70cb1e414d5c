"""Runs the cells of a plan that are not in the store yet, through a launcher, and gathers all results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.harness import store as result_store
from zoo.harness.cell import Cell
from zoo.harness.plan import resolve_device
from zoo.harness.progress import read_progress
from zoo.launch.base import Job, Launcher
from zoo.paths import make_dir
from zoo.specs import LauncherSpec

if TYPE_CHECKING:
    from zoo.host import Host

POLL_SECONDS = 0.2
_LOG_LINES = 12


@dataclass(frozen=True, kw_only=True)
class CellState:
    """How a cell stands.

    Args:
        cell: which.
        run_dir: where its files are.
        state: "stored", "waiting", "running" or "ended".
        progress: what it last said of itself; see `zoo.harness.progress`.
        result: once there is one.
    """

    cell: Cell
    run_dir: Path
    state: str
    progress: dict[str, Any] = field(default_factory=dict)
    result: result_store.Result | None = None


def run_matrix(
    host: Host,
    cells: Sequence[Cell],
    *,
    store: Path,
    device: str = "auto",
    launcher: str = "core/local",
    images: Path | None = None,
    force: bool = False,
    watch: Callable[[list[CellState]], None] | None = None,
) -> list[result_store.Result]:
    """Run what is not done and return the results of all cells, in their order.

    Args:
        host: the plugins.
        cells: the plan.
        store: folder of the results.
        device: "auto", "cpu", "cuda" or "mps".
        launcher: id or name.
        images: folder that holds the simulated images; default: the cache, which is filled.
        force: run cells again that are in the store.
        watch: called several times a second with the state of every cell.

    Raises:
        UsageError: the launcher is unknown.
        DataError: the store cannot be written.
        KeyboardInterrupt: after the running cells have been stopped.
    """
    launcher_spec = registry.find(host, LauncherSpec, launcher)
    stored = {cell.run_id: result_store.done(store, cell) for cell in cells} if not force else {}
    todo = [cell for cell in {cell.run_id: cell for cell in cells}.values() if not stored.get(cell.run_id)]
    handles: dict[str, str] = {}
    engine: Launcher | None = None
    if todo:
        make_dir(store)
        engine = registry.load_target(launcher_spec)()
        jobs = [
            _job(
                result_store.prepare_run(store, cell, force=force),
                device=resolve_device(device),
                images=images,
                force=force,
                files=[record.distribution for record in host.records.values() if record.version == "file"],
            )
            for cell in todo
        ]
        handles = dict(zip((cell.run_id for cell in todo), engine.submit(jobs), strict=True))
    try:
        while True:
            states = _states(cells, stored, handles, engine, store)
            if watch is not None:
                watch(states)
            if all(state.result is not None for state in states):
                return [state.result for state in states if state.result is not None]
            time.sleep(POLL_SECONDS)
    finally:
        if engine is not None:
            engine.cancel(list(handles.values()))


def _job(run_dir: Path, *, device: str, images: Path | None, force: bool, files: Sequence[str]) -> Job:
    plugins = [word for file in files for word in ("--plugin", str(Path(file).absolute()))]
    cell = str(run_dir / result_store.CELL)
    command = [sys.executable, "-m", "zoo", *plugins, "run-cell", cell, "--device", device]
    if images is not None:
        command += ["--images", str(images.absolute())]
    if force:
        command.append("--force")
    return Job(run_dir=run_dir, command=tuple(command))


def _states(
    cells: Sequence[Cell],
    stored: dict[str, result_store.Result | None],
    handles: dict[str, str],
    engine: Launcher | None,
    store: Path,
) -> list[CellState]:
    jobs: dict[str, str] = {}
    if engine is not None:
        jobs = dict(zip(handles, engine.poll(list(handles.values())), strict=True))
    states = []
    for cell in cells:
        result = stored.get(cell.run_id)
        state = jobs.get(cell.run_id, "stored")
        run_dir = store / cell.folder
        progress: dict[str, Any] = {}
        if state == "running":
            progress = read_progress(run_dir / result_store.PROGRESS)
        elif state == "ended":
            result = stored[cell.run_id] = result or result_store.read_result(run_dir) or _died(cell, run_dir)
        states.append(CellState(cell=cell, run_dir=run_dir, state=state, progress=progress, result=result))
    return states


def _died(cell: Cell, run_dir: Path) -> result_store.Result:
    """Return the result of a cell whose process ended without writing one."""
    log = run_dir / result_store.LOG
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    tail = "\n".join(lines[-_LOG_LINES:])
    return {
        "status": "failed",
        "cell": cell.to_json(),
        "run_id": cell.run_id,
        "error": f"Its process ended without a result; the end of {log}:\n{tail or '(empty)'}",
    }
