"""Results as CSV, and tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoo.data.recipe import short_hash
from zoo.escaping import csv_line, markdown_cell
from zoo.report.notes import search_trials
from zoo.report.tables import ResultTable
from zoo.results.baselines import NO_BASELINES, Standing
from zoo.results.cell import Cell
from zoo.results.comparison import problem_key
from zoo.results.schema import RunResult
from zoo.schema import plain


def to_csv(results: Iterable[RunResult], *, standing: Standing = NO_BASELINES) -> str:
    """Return every number of every result, unrounded, one line a run; a column for each name that occurs.

    The column "problem" is the same for runs whose scores may stand in one table.

    Args:
        results: Results of any kind.
        standing: Baselines, and networks that do not beat them.
    """
    rows = []
    for result in results:
        cell = result.cell
        leading = {
            "data": cell.data,
            "task": cell.task,
            "budget": cell.budget,
            "model": cell.model,
            "seed": cell.seed,
            "status": result.status,
            "run_id": result.run_id,
            "problem": short_hash(problem_key(cell)),
            "baseline": result.run_id in standing.baselines,
            "trained_on": cell.trained_on,
            "does_not_beat": "; ".join(standing.unbeaten.get(result.run_id, ())),
            "search_trials": search_trials(cell),
        }
        content = plain(result)
        scores = {name: content[name] for name in _SCORES if name in content}
        inputs = {name: content["cell"][name] for name in ("sizes", "training", "hparams", "rule", "precision")}
        images = _images(cell)
        rows.append({**leading, **_flat(scores), **_flat(inputs), **images, "error": content.get("error", "")})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return "".join(map(csv_line, [columns, *([row.get(name, "") for name in columns] for row in rows)]))


def _images(cell: Cell) -> dict[str, Any]:
    """Return what decides the images of a cell; the seed is blank where only a commitment to it is public."""
    recipe = cell.recipe
    return {
        "dataset_version": recipe.dataset_version,
        "simulator": recipe.simulator,
        "simulator_version": recipe.simulator_version,
        "images_seed": None if recipe.commitment else recipe.seed,
        "train_seed": cell.train_seed,
        "recipe_hash": recipe.hash,
        "channels": " ".join(recipe.channels),
        **_flat(dict(recipe.params), "data."),
        **_flat(recipe.content, "content."),
        **_flat(cell.images, "images."),
        **({"commitment": recipe.commitment} if recipe.commitment else {}),
    }


_SCORES = ("scored", "test", "calibration", "fresh", "val", "equivariance", "cost", "seconds")


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted name; a list becomes one text, an interval two columns."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif "intervals." in prefix:
            flat |= {f"{prefix}{key}.low": value[0], f"{prefix}{key}.high": value[1]}
        else:
            flat[f"{prefix}{key}"] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def to_markdown(table: ResultTable) -> str:
    """Return the table as Markdown."""
    lines = ["### " + " · ".join(map(markdown_cell, table.title.split("\n"))), ""]
    lines.append(_markdown_row(table.columns))
    lines.append("|" + "|".join(" --- " if index == 0 else " ---: " for index in range(len(table.columns))) + "|")
    lines += map(_markdown_row, table.rows)
    lines += ["", *(f"*{' '.join(note.split())}*" for note in table.notes)]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown_cell, cells))} |"
