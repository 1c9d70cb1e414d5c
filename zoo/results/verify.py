"""Checks that a stored result is true: files unaltered, scores as the stored predictions give them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zoo.errors import DataError, ZooError
from zoo.models.weights_file import read_header
from zoo.paths import parse_json
from zoo.results import store
from zoo.results.cell import Cell
from zoo.results.files import checked_file, groups_in, predictions_digest, read_file, read_history
from zoo.results.schema import Finished
from zoo.results.tasks import task_of_result
from zoo.schema import plain
from zoo.tasks.find import CORE, Tasks
from zoo.tasks.task import Task

TOLERANCE = 1e-6
"""Largest difference of a score computed again: another numpy or torch sums in another order."""
AUC_TOLERANCE = 1e-3
"""Largest difference of a validation AUC from that at the end of its epoch: logits of a GPU differ a little."""
TEMPERATURE_TOLERANCE = 1e-3
"""Largest relative difference of a temperature fitted again: its minimum is flat."""
FILES = (store.WEIGHTS, store.PREDICTIONS)
"""Files whose SHA-256 every result states; results of older versions of zoo do not state that of the others."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Findings of a check of one run.

    Args:
        run_dir: Folder of the run.
        state: "true", "false", or "no result" (failed, or not done: nothing to check).
        problems: Statements of the result that are false.
        notes: Notes on what could not be checked.
    """

    run_dir: Path
    state: Literal["true", "false", "no result"]
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


def verify_run(run_dir: Path, *, tasks: Tasks = CORE) -> Verification:
    """Compare a run's result with its folder, its cell, the hashes of its files, and the scores of its predictions.

    Args:
        run_dir: Folder of the run.
        tasks: Tasks that are installed.
    """
    problems: list[str] = []
    cell = result = None
    try:
        cell = Cell.read(run_dir / store.CELL)
        if cell.run_id != run_dir.absolute().name:
            problems.append(f"{store.CELL} is of the run {cell.run_id}; its folder is {run_dir.absolute().name}")
    except ZooError as error:
        problems.append(error.args[0])
    try:
        result, untrue = store.examine_result(run_dir)
        problems += untrue
    except FileNotFoundError:
        pass
    except (OSError, DataError) as error:
        problems.append(str(error))
    if result is None or result.status != "ok":
        notes = ["not done" if result is None else result.status]
        if problems:
            return Verification(run_dir=run_dir, state="false", problems=problems)
        return Verification(run_dir=run_dir, state="no result", notes=notes)
    if cell is not None and result.cell != cell:
        problems.append(f"{store.RESULT} belongs to the cell {result.run_id}, {store.CELL} is {cell.run_id}")
    needed = (store.PREDICTIONS,) if result.scored else FILES
    if missing := set(needed) - result.files.keys():
        problems.append(f"{store.RESULT} holds no hash of {', '.join(sorted(missing))}")
    for name in sorted({*result.files, *(() if result.scored else store.HASHED)}):
        try:
            checked_file(result, name)
            _read(result, name)
        except DataError as error:
            problems.append(error.args[0].replace(str(run_dir / name), name).removesuffix("."))
    try:
        if not problems:  # of a file that is lost or altered, nothing is compared
            problems += _compare_statements(result, task_of_result(result, tasks=tasks))
        problems += _compare_scores(run_dir, result, tasks)
    except (ZooError, LookupError, TypeError, ValueError, RuntimeError) as error:
        problems.append(f"{store.PREDICTIONS} cannot be scored: {error}")
    return Verification(run_dir=run_dir, state="false" if problems else "true", problems=problems)


def _read(result: Finished, name: str) -> None:
    """Read a file that belongs to a result; its SHA-256 fits.

    Raises:
        DataError: The file is damaged.
    """
    if name == store.HISTORY:
        read_history(result)
    elif name in (store.EXAMPLES, store.MISTAKES):
        arrays, _ = read_file(result, name)
        if not {"images", "labels"} <= arrays.keys():
            raise DataError(f"{result.run_dir / name} is damaged: it lacks images or labels.")
    elif name == store.WEIGHTS:
        about = read_header(result.run_dir / name).about
        if about.run_id != result.run_id:
            raise DataError(f"{result.run_dir / name} holds weights of the run {about.run_id}.")
        stated = None if result.calibration is None else result.calibration.temperature
        if about.temperature != stated:
            raise DataError(f"{result.run_dir / name} states the temperature {about.temperature}, the result {stated}.")


def _compare_scores(run_dir: Path, result: Finished, tasks: Tasks) -> list[str]:
    import torch

    from zoo.scores.calibration import calibrated_scores, fit_temperature

    task = task_of_result(result, tasks=tasks)
    problems = []
    arrays, metadata = store.read_arrays(run_dir / store.PREDICTIONS)
    if result.scored and result.cell.predictions != (
        found := predictions_digest(arrays["test.logits"], parse_json(metadata["test.ids"]), result.classes)
    ):
        return [f"the cell states predictions {result.cell.predictions[:16]}..., stored are {found[:16]}..."]
    logits, labels = (torch.from_numpy(arrays[f"test.{name}"]) for name in ("logits", "labels"))
    again = flatten(plain(task.score(logits, labels, groups_in(metadata, "test", images=len(labels)))))
    stored = flatten(plain(result.test))
    if (stated := result.calibration) is not None:
        again |= flatten(
            plain(calibrated_scores(logits, labels, result.classes, temperature=stated.temperature)),
            prefix="calibration",
        )
        stored |= flatten(plain(stated), prefix="calibration")
        fitted = fit_temperature(*(torch.from_numpy(arrays[f"val.{name}"]) for name in ("logits", "labels")))
        if abs(fitted / stated.temperature - 1) > TEMPERATURE_TOLERANCE:
            problems.append(
                f"calibration.temperature is {fitted:.6g} by the stored predictions, {stated.temperature:.6g} in the "
                "result"
            )
    if result.fresh is not None:
        arrays, metadata = store.read_arrays(run_dir / store.FRESH)
        logits, labels = (torch.from_numpy(arrays[f"fresh.{name}"]) for name in ("logits", "labels"))
        groups = groups_in(metadata, "fresh", images=len(labels))
        again |= flatten(plain(task.score(logits, labels, groups)), prefix="fresh")
        stored |= flatten(plain(result.fresh.scores), prefix="fresh")
    # Only what both hold: a newer zoo may compute more, and plugins' metrics are their own.
    wrong = [name for name in again if name in stored and not close(again[name], stored[name], TOLERANCE)]
    return problems + [
        f"{name} is {again[name]:.6g} by the stored predictions, {stored[name]:.6g} in the result" for name in wrong
    ]


def _compare_statements(result: Finished, task: Task) -> list[str]:
    """Compare what a result states of its images and its validation with predictions, history and weights.

    Predictions that were copied from another run do not give the validation score of the epoch that was kept.
    """
    import numpy as np
    import torch

    arrays, _ = store.read_arrays(result.run_dir / store.PREDICTIONS)
    pairs: dict[str, tuple[Any, Any, float]] = {}  # name -> stated, found, tolerance
    for split in ("val", "test"):
        # Where truths take the place of labels, these are called classes.
        labels_in = f"{split}.classes" if f"{split}.classes" in arrays else f"{split}.labels"
        labels_of = arrays.get(labels_in)
        if labels_of is not None and labels_of.ndim == 1 and split in result.data.counts:  # targets have two
            found = np.bincount(labels_of, minlength=len(result.classes)).tolist()
            pairs |= {
                f"data.counts.{split}.{k}": (stated, found[k], 0) for k, stated in enumerate(result.data.counts[split])
            }
    if result.scored is None and result.val is not None and "val.logits" in arrays:
        logits, labels = (torch.from_numpy(arrays[f"val.{name}"]) for name in ("logits", "labels"))
        history = read_history(result)
        kept = history[result.val.epoch - 1]
        rule = result.cell.rule
        best = history[-1] if rule == "last" else max(history, key=lambda entry: entry.rank(rule))
        pairs["val.epoch"] = result.val.epoch, best.epoch, 0
        if kept.val_auc is not None:
            pairs["val.auc"] = result.val.auc, kept.val_auc, TOLERANCE
            pairs["val_auc of the history"] = kept.val_auc, task.validate(logits, labels)["val_auc"], AUC_TOLERANCE
        if result.val.loss is not None:
            pairs["val.loss"] = result.val.loss, kept.val_loss, TOLERANCE * abs(kept.val_loss)
        about = read_header(result.run_dir / store.WEIGHTS).about
        shapes = zip(result.data.image_shape, about.image_shape, strict=True)
        pairs |= {f"data.image_shape.{k}": (stated, found, 0) for k, (stated, found) in enumerate(shapes)}
        again = task.reference(logits.double().numpy())
        pairs |= {
            f"quantile {k} of the weights": (stated, found, TOLERANCE * abs(found))
            for k, (stated, found) in enumerate(zip(about.reference, again, strict=False))
        }
    return [
        f"{name} is {found:.6g} by the stored files, {stated} in the result"
        for name, (stated, found, tolerance) in pairs.items()
        if stated is None or not close(stated, found, tolerance)
    ]


def close(first: float, second: float, tolerance: float) -> bool:
    """Whether two numbers are equal within a tolerance; NaN equals NaN."""
    return (math.isnan(first) and math.isnan(second)) or abs(first - second) <= tolerance


def flatten(scores: Any, *, prefix: str = "") -> dict[str, float]:
    """Return every number in nested dictionaries and lists under a name such as "auc.macro" or "confusion.0.1"."""
    if isinstance(scores, Mapping):
        pairs = [(str(key), value) for key, value in scores.items()]
    elif isinstance(scores, (list, tuple)):
        pairs = [(str(index), value) for index, value in enumerate(scores)]
    else:
        is_number = isinstance(scores, (int, float)) and not isinstance(scores, bool)
        return {prefix: float(scores)} if is_number else {}
    numbers: dict[str, float] = {}
    for key, value in pairs:
        numbers |= flatten(value, prefix=f"{prefix}.{key}" if prefix else key)
    return numbers
