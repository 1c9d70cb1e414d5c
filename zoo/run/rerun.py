"""Runs a stored cell again elsewhere and compares the scores: does this machine, with these versions, agree?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo import provenance, registry
from zoo.data.channels import read_channels
from zoo.data.content import pin_paths
from zoo.errors import DataError, UsageError
from zoo.plan.parts import ids_of
from zoo.results import store as result_store
from zoo.results.cell import Cell
from zoo.results.files import read_file
from zoo.results.find import trained_result
from zoo.results.schema import Finished
from zoo.results.verify import flatten
from zoo.run.launch import Launch
from zoo.run.matrix import CellState, run_matrix
from zoo.run.where import Where
from zoo.scores.schema import AnyScores, Measures
from zoo.specs import DatasetSpec, ModelSpec, SimulatorSpec
from zoo.tasks.find import read_task, tasks_by_name

if TYPE_CHECKING:
    from zoo.host import Host


UNBOUNDED = ("log_loss", "mae", "rmse", "crps", "significance")
"""Scores that may be of any size, or are in units of a truth."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A stored run beside the same cell run again.

    Args:
        cell: Cell of both runs.
        stored, again: Name -> score: "auc.macro", "accuracy", "log_loss" and so on.
        largest: The largest difference of a score that has no unit and ends at 1, as AUCs, accuracy and Brier do.
        same_bits: Whether the test logits are equal bit by bit.
        changes: Differences between then and now: versions, device.
        run_dir: Folder of the new run.
    """

    cell: Cell
    stored: dict[str, float]
    again: dict[str, float]
    largest: float
    same_bits: bool
    changes: list[str]
    run_dir: Path


def rerun(
    host: Host,
    run_dir: Path,
    *,
    store: Path,
    device: str = "auto",
    watch: Callable[[list[CellState]], None] | None = None,
) -> Agreement:
    """Run a stored cell into another store.

    Args:
        host: The plugins.
        run_dir: Folder of a run that ended well.
        store: Another store than the one it lies in.
        device: "auto", "cpu", "cuda" or "mps".
        watch: Function called with the states of the cells, as for `run_matrix`.

    Raises:
        UsageError: Both stores are the same.
        DataError: The stored run did not succeed, or the new run failed.
    """
    stored = trained_result(run_dir)
    cell = _as_installed(host, Cell.read(run_dir / result_store.CELL))
    new_dir = store / cell.folder
    if new_dir.resolve() == run_dir.resolve():
        raise UsageError(
            f"The run lies in the store {store}: running it again would replace what it is compared with.",
            hint="Choose another folder with --store, or leave it out for one that is thrown away.",
        )
    [again] = run_matrix(
        host, [cell], store=store, where=Where(device=device, force=True), launch=Launch(), watch=watch
    )
    if again.status != "ok":
        raise DataError(f"Run again, the cell {cell.run_id} ended as {again.status}: {again.error}")
    scores = [_compared(result.test) for result in (stored, again)]
    shared = [name for name in scores[0] if name in scores[1]]
    bounded = [name for name in shared if name.partition(".")[0] not in UNBOUNDED]
    return Agreement(
        cell=cell,
        stored={name: scores[0][name] for name in shared},
        again={name: scores[1][name] for name in shared},
        largest=max((_difference(scores[0][name], scores[1][name]) for name in bounded), default=0.0),
        same_bits=_same_logits(stored, again),
        changes=_changes(host, stored, again),
        run_dir=new_dir,
    )


def _as_installed(host: Host, cell: Cell) -> Cell:
    """Return a cell for the plugins that are loaded: the same one where they and their specs have the same versions.

    Files at paths must still be those of the stored run, except where it does not state what they were. Images from
    a folder are made anew.
    """
    dataset, model = registry.find(host, DatasetSpec, cell.data), registry.find(host, ModelSpec, cell.model)
    asked = read_task(cell.task, tasks=tasks_by_name(host), groupings=tuple(dataset.tasks))
    simulator = None if cell.recipe.simulator is None else registry.find(host, SimulatorSpec, cell.recipe.simulator)
    recipe = replace(
        cell.recipe,
        dataset_version=dataset.version,
        simulator_version=None if simulator is None else simulator.version,
        channels=read_channels(host, ["image", *cell.recipe.channels]),
        code=provenance.image_code(host, cell.data, cell.recipe.simulator),
        content=cell.recipe.content or pin_paths(cell.recipe.params, dataset.paths)[1],
    )
    return replace(
        cell,
        model_version=model.version,
        task_version=asked.version,
        recipe=recipe,
        content=cell.content or pin_paths(cell.hparams, model.paths)[1],
        images={},
        versions=provenance.installed_versions(host, *ids_of(cell)),
    )


def _compared(scores: AnyScores) -> dict[str, float]:
    if isinstance(scores, Measures):
        return {name: one.value for name, one in scores.in_order.items()}
    names = ("auc", "accuracy", "log_loss", "brier", "ece")
    return flatten({name: getattr(scores, name) for name in names})


def _difference(first: float, second: float) -> float:
    """Return how far two scores are apart; a number and NaN are infinitely far, as max() would drop a NaN."""
    if math.isnan(first) or math.isnan(second):
        return 0.0 if math.isnan(first) and math.isnan(second) else math.inf
    return abs(first - second)


def _same_logits(first: Finished, second: Finished) -> bool:
    old, new = (read_file(each, result_store.PREDICTIONS)[0]["test.logits"] for each in (first, second))
    return bool(np.array_equal(old, new))


def _changes(host: Host, stored: Finished, again: Finished) -> list[str]:
    """Return in words what differs between the two runs beside the clock."""
    cell, now_cell = stored.cell, again.cell
    specs = [
        (cell.model, cell.model_version, now_cell.model_version),
        (cell.data, cell.recipe.dataset_version, now_cell.recipe.dataset_version),
        (cell.recipe.simulator, cell.recipe.simulator_version, now_cell.recipe.simulator_version),
        (f"the task {cell.task}", cell.task_version or 1, now_cell.task_version or 1),
        *((name, text, now_cell.recipe.channels.get(name)) for name, text in cell.recipe.channels.items()),
    ]
    installed = provenance.installed_versions(host, *ids_of(cell))
    changes = [f"{name} was of version {then}, is of version {now}" for name, then, now in specs if then != now]
    changes += [
        f"{name} was {version}, is {installed.get(name, 'absent')}"
        for name, version in cell.versions.items()
        if installed.get(name) != version
    ]
    then, now = stored.environment, again.environment
    changes += [
        f"{name} was {version}, is {now.libraries[name]}"
        for name, version in then.libraries.items()
        if name in now.libraries and now.libraries[name] != version
    ]
    changes += [
        f"{label} was {before}, is {after}"
        for label, before, after in (
            ("Python", then.python, now.python),
            ("the processor", then.processor, now.processor),
            ("the GPU", then.gpu, now.gpu),
            ("threads", then.threads, now.threads),
            ("the device", stored.device, again.device),
        )
        if before != after
    ]
    return changes
