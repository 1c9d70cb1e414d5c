"""Declarations of data sets for readers of a table or page, kept in results for readers without their plugins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from zoo.results.cell import Cell
from zoo.results.schema import Declared, RunResult
from zoo.schema import plain
from zoo.specs import DatasetSpec


def declared_of(dataset: DatasetSpec, *, budget: str) -> Declared:
    """Return what a table and the page of a run on this data set show of its spec.

    Args:
        dataset: Spec of the data set.
        budget: Budget of the run.
    """
    return Declared(
        summary=dataset.summary,
        classes=dataset.classes,
        params=plain(dict(dataset.params)),
        required=dataset.required,
        shown=dataset.shown,
        tags=dataset.tags,
        baselines=dataset.baselines,
        slices=dict(dataset.slices),
        image_groups=dataset.image_groups,
        budget_values=plain(dict(dataset.budgets.get(budget, {}))),
        budget_note=dataset.budget_notes.get(budget, ""),
    )


def with_declared(installed: Mapping[str, DatasetSpec], results: Iterable[RunResult]) -> dict[str, DatasetSpec]:
    """Return id -> spec of the data sets of some results: the installed one, or what the results hold of it.

    Args:
        installed: Id -> spec of the data sets that are installed.
        results: Results of any kind.
    """
    absent: dict[str, DatasetSpec] = {}
    budgets: dict[str, dict[str, Declared]] = {}
    for result in results:
        if result.status == "ok" and result.data.declared is not None and result.cell.data not in installed:
            of_budgets = budgets.setdefault(result.cell.data, {})
            of_budgets[result.cell.budget] = result.data.declared
            with contextlib.suppress(ValueError):  # versions of a data set, or of zoo, that do not fit together
                absent[result.cell.data] = _spec(result.cell, result.data.declared, of_budgets)
    return {**absent, **installed}


def _spec(cell: Cell, declared: Declared, budgets: Mapping[str, Declared]) -> DatasetSpec:
    return DatasetSpec(
        id=cell.data,
        target="absent:absent",
        version=cell.recipe.dataset_version,
        summary=declared.summary,
        tags=declared.tags,
        classes=declared.classes,
        params=declared.params,
        required=declared.required,
        shown=declared.shown,
        baselines=declared.baselines,
        slices=declared.slices,
        image_groups=declared.image_groups,
        budgets={name: one.budget_values for name, one in budgets.items()},
        budget_notes={name: one.budget_note for name, one in budgets.items()},
    )
