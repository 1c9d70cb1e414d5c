"""Runs a stored cell again elsewhere and compares the scores: does this machine, with these versions, agree?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.environment import describe
from zoo.errors import DataError, UsageError
from zoo.plan.cells import installed_versions
from zoo.results import store as result_store
from zoo.results.cell import Cell
from zoo.results.find import good_result
from zoo.results.verify import flatten
from zoo.run.matrix import CellState, run_matrix
from zoo.run.where import Where

if TYPE_CHECKING:
    from zoo.host import Host


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A stored run beside the same cell run again.

    Args:
        cell: of both.
        stored, again: name -> score: "auc.macro", "accuracy", "log_loss" and so on.
        largest: the largest difference of an AUC or the accuracy.
        same_bits: whether the test logits are equal bit by bit.
        changes: what differs between then and now: versions, device.
        run_dir: of the new run.
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
    launcher: str = "core/local",
    watch: Callable[[list[CellState]], None] | None = None,
) -> Comparison:
    """Run a stored cell into another store.

    Args:
        host: the plugins.
        run_dir: folder of a run that ended well.
        store: another store than the one it lies in.
        device: "auto", "cpu", "cuda" or "mps".
        launcher: id or name.
        watch: see `run_matrix`.

    Raises:
        UsageError: it is the same store.
        DataError: the stored run did not end well, or running it again failed.
    """
    stored = good_result(run_dir)
    cell = Cell.read(run_dir / result_store.CELL)
    new_dir = store / cell.folder
    if new_dir.resolve() == run_dir.resolve():
        raise UsageError(
            f"The run lies in the store {store}: running it again would replace what it is compared with.",
            hint="Choose another folder with --store, or leave it out for one that is thrown away.",
        )
    [again] = run_matrix(
        host, [cell], store=store, where=Where(device=device, force=True), launcher=launcher, watch=watch
    )
    if again["status"] != "ok":
        raise DataError(f"Run again, the cell {cell.run_id} ended as {again['status']}: {again.get('error', '')}")
    scores = [flatten({key: result["test"][key] for key in _COMPARED}) for result in (stored, again)]
    shared = [name for name in scores[0] if name in scores[1]]
    bounded = [name for name in shared if name != "log_loss"]
    return Comparison(
        cell=cell,
        stored={name: scores[0][name] for name in shared},
        again={name: scores[1][name] for name in shared},
        largest=max(_difference(scores[0][name], scores[1][name]) for name in bounded),
        same_bits=_same_logits(run_dir, new_dir),
        changes=_changes(host, cell, stored, again),
        run_dir=new_dir,
    )


_COMPARED = ("auc", "accuracy", "log_loss", "ece")


def _difference(first: float, second: float) -> float:
    """Return how far two scores are apart; a number and NaN are infinitely far, as max() would drop a NaN."""
    if math.isnan(first) or math.isnan(second):
        return 0.0 if math.isnan(first) and math.isnan(second) else math.inf
    return abs(first - second)


def _same_logits(first: Path, second: Path) -> bool:
    old, new = (result_store.read_arrays(each / result_store.PREDICTIONS)[0]["test.logits"] for each in (first, second))
    return bool(np.array_equal(old, new))


def _changes(host: Host, cell: Cell, stored: result_store.Result, again: result_store.Result) -> list[str]:
    """Return in words what differs between the two runs beside the clock."""
    installed = installed_versions(host, cell.model, cell.data, cell.open_recipe().simulator)
    changes = [
        f"{name} was {version}, is {installed.get(name, 'absent')}"
        for name, version in cell.versions.items()
        if installed.get(name) != version
    ]
    then, now = stored.get("environment", {}), again.get("environment", describe(accelerator=False))
    libraries: list[dict[str, Any]] = [each.get("libraries", {}) for each in (then, now)]
    changes += [
        f"{name} was {version}, is {libraries[1][name]}"
        for name, version in libraries[0].items()
        if name in libraries[1] and libraries[1][name] != version
    ]
    changes += [
        f"{label} was {then.get(key)}, is {now.get(key)}"
        for key, label in (
            ("python", "Python"),
            ("processor", "the processor"),
            ("gpu", "the GPU"),
            ("threads", "threads"),
        )
        if then.get(key) != now.get(key)
    ]
    if stored.get("device") != again.get("device"):
        changes.append(f"the device was {stored.get('device')}, is {again.get('device')}")
    return changes
