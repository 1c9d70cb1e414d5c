"""Everything that a report says about a store, problem by problem: what may be compared, and how it compares."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.data.recipe import short_hash
from zoo.report.digest import VERSION, keep
from zoo.results.comparison import (
    MACRO,
    Comparison,
    Estimate,
    Variant,
    compare_pairs,
    group_variants,
    learning_curves,
    problem_key,
)
from zoo.results.store import PREDICTIONS

Result = Mapping[str, Any]

_CACHE = ".report"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Results that may stand in one table.

    Args:
        results: all of them.
        variants: the good ones, grouped over seeds, best first.
        comparisons: of every pair.
        notes: on what could not be compared.
        curves: macro AUC against training size, with the results of other sizes; the same for all sizes.
    """

    results: Sequence[Result]
    variants: Sequence[Variant]
    comparisons: Sequence[Comparison]
    notes: Sequence[str]
    curves: Mapping[str, Sequence[Estimate]]

    def sentences(self, score: str = MACRO) -> list[str]:
        """Return what the comparisons of one score say, clearest differences first."""
        chosen = [comparison for comparison in self.comparisons if comparison.score == score]
        return [one.in_words() for one in sorted(chosen, key=lambda one: (not one.found, -one.difference))]

    @property
    def caution(self) -> str:
        """What a reader of the comparisons must know first, or ""."""
        if self.comparisons and self.results[0]["cell"]["budget"] == "smoke":
            return (
                "These are smoke runs: they show that everything runs, and no difference between them means anything."
            )
        if any(min(one.seeds) == 1 for one in self.comparisons):
            return "Where a network was trained with one seed, the luck of that training is in none of these numbers."
        return ""


def find_problems(results: Iterable[Result], *, store: Path | None = None) -> list[Problem]:
    """Return the problems in these results, in a fixed order.

    Args:
        results: each with "run_dir".
        store: its folder, where comparisons are kept so that the next report need not make them again.
    """
    groups: dict[str, list[Result]] = {}
    families: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(problem_key(result["cell"]), []).append(result)
        families.setdefault(problem_key(result["cell"], any_train_size=True), []).append(result)
    curves = {key: learning_curves(family) for key, family in families.items()}
    problems = []
    for _, group in sorted(groups.items(), key=lambda item: (_place(item[1][0]["cell"]), item[0])):
        variants = group_variants(group)
        comparisons, notes = _comparisons(variants, store)
        problems.append(
            Problem(
                results=group,
                variants=variants,
                comparisons=comparisons,
                notes=notes,
                curves=curves[problem_key(group[0]["cell"], any_train_size=True)],
            )
        )
    return problems


def _place(cell: Mapping[str, Any]) -> tuple[str, str, str, int]:
    """Return where a problem stands in a report: by data set, budget and task, the largest training set first."""
    return cell["recipe"]["dataset"], cell["budget"], cell.get("task", ""), -cell["sizes"]["train"]


def _comparisons(variants: Sequence[Variant], store: Path | None) -> tuple[list[Comparison], list[str]]:
    """Return `compare_pairs`, from the store where the same predictions have been compared before."""
    if len(variants) < 2:
        return [], []
    marks: list[Any] = [VERSION]
    for variant in variants:
        for result in variant.results:
            path = Path(result["run_dir"]) / PREDICTIONS
            marks.append([variant.name, result["run_id"], path.stat().st_mtime_ns if path.exists() else 0])
    kept = store / _CACHE / f"pairs-{short_hash(marks)}.json" if store is not None else None
    if kept is not None:
        try:
            content = json.loads(kept.read_text(encoding="utf-8"))
            return [Comparison(**{**one, "seeds": tuple(one["seeds"])}) for one in content["pairs"]], content["notes"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
    comparisons, notes = compare_pairs(variants)
    if kept is not None:
        try:
            kept.parent.mkdir(exist_ok=True)
        except OSError:
            return comparisons, notes
        keep(kept, {"pairs": [asdict(one) for one in comparisons], "notes": notes})
    return comparisons, notes
