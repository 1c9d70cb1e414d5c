"""Contents of a report, problem by problem: comparable results and their differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.data.recipe import short_hash
from zoo.errors import DataError
from zoo.results.baselines import Standing, find_standing
from zoo.results.cell import Cell
from zoo.results.comparison import (
    MACRO,
    Estimate,
    Variant,
    group_variants,
    learning_curves,
    problem_key,
)
from zoo.results.differences import compare_pairs
from zoo.results.digest import VERSION, keep, predictions_mark, read_kept
from zoo.results.metric_differences import compare_metrics
from zoo.results.schema import RunResult
from zoo.results.verdict import Comparison
from zoo.schema import Record
from zoo.specs import DatasetSpec
from zoo.tasks.find import CORE, Tasks

_CACHE = ".report"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Results that may stand in one table.

    Args:
        results: Results of the problem.
        variants: The good ones, grouped over seeds, best first.
        comparisons: Comparisons of every pair.
        notes: Notes on pairs that could not be compared.
        curves: Headline score against training size, with the results of other sizes; the same for all sizes.
    """

    results: Sequence[RunResult]
    variants: Sequence[Variant]
    comparisons: Sequence[Comparison]
    notes: Sequence[str]
    curves: Mapping[str, Sequence[Estimate]]

    def sentences(self, score: str = MACRO) -> list[str]:
        """Return the comparisons of one score as sentences, clearest differences first."""
        chosen = [comparison for comparison in self.comparisons if comparison.score == score]
        return [one.in_words() for one in sorted(chosen, key=lambda one: (not one.found, -abs(one.difference)))]

    @property
    def metrics(self) -> list[str]:
        """Names of the plugins' metrics that networks were compared by."""
        return list(dict.fromkeys(one.score for one in self.comparisons if one.better is not None))

    def standing(self, datasets: Mapping[str, DatasetSpec]) -> Standing:
        """Return the baselines, and the networks that do not beat them."""
        dataset = datasets.get(self.results[0].cell.data)
        return find_standing(self.variants, dataset=dataset, comparisons=self.comparisons)

    @property
    def caution(self) -> str:
        """A caution about the comparisons, or ""."""
        if self.comparisons and self.results[0].cell.budget == "smoke":
            return (
                "These are smoke runs: they show that everything runs, and no difference between them means anything."
            )
        if any(max(one.seeds) == 1 for one in self.comparisons):
            return "One training does not rank a network: with a single seed, two trainings are compared."
        if any(one.one_and_several for one in self.comparisons):
            return "One training does not rank a network: with a single seed, the spread of its trainings is unknown."
        return ""


class _Kept(Record):
    """Comparisons that a report keeps for the next one."""

    pairs: list[Comparison]


def find_problems(results: Iterable[RunResult], *, store: Path | None = None, tasks: Tasks = CORE) -> list[Problem]:
    """Return the problems in these results, in a fixed order.

    Args:
        results: Results of any kind, failed ones too.
        store: Folder of the store; comparisons are kept in it for the next report.
        tasks: Tasks that are installed; see `zoo.tasks.find.tasks_by_name`.
    """
    groups: dict[str, list[RunResult]] = {}
    families: dict[str, list[RunResult]] = {}
    for result in results:
        groups.setdefault(problem_key(result.cell), []).append(result)
        families.setdefault(problem_key(result.cell, any_train_size=True), []).append(result)
    curves = {key: learning_curves(family) for key, family in families.items()}
    problems = []
    for _, group in sorted(groups.items(), key=lambda item: (_place(item[1][0].cell), item[0])):
        variants = group_variants(group)
        comparisons, notes = _comparisons(variants, store, tasks)
        comparisons = [*comparisons, *compare_metrics(variants)]
        problems.append(
            Problem(
                results=group,
                variants=variants,
                comparisons=comparisons,
                notes=notes,
                curves=curves[problem_key(group[0].cell, any_train_size=True)],
            )
        )
    return problems


def _place(cell: Cell) -> tuple[str, str, str, int]:
    """Return where a problem stands in a report: by data set, budget and task, the largest training set first."""
    return cell.data, cell.budget, cell.task, -cell.sizes["train"]


def _comparisons(variants: Sequence[Variant], store: Path | None, tasks: Tasks) -> tuple[list[Comparison], list[str]]:
    """Return `compare_pairs`, from the store where the same predictions have been compared before."""
    if len(variants) < 2:
        return [], []
    marks: list[Any] = [VERSION]
    for variant in variants:
        for result in variant.results:
            marks.append([variant.name, result.run_id, predictions_mark(result)])
    kept = store / _CACHE / f"pairs-{short_hash(marks)}.json" if store is not None else None
    if kept is not None:
        try:
            return read_kept(kept, _Kept).pairs, []
        except DataError:
            pass
    comparisons, notes = compare_pairs(variants, tasks=tasks)
    if kept is not None and not notes:  # what a variant lacks, such as a plugin, may be there next time
        try:
            kept.parent.mkdir(exist_ok=True)
        except OSError:
            return comparisons, notes
        keep(kept, _Kept(pairs=comparisons))
    return comparisons, notes
