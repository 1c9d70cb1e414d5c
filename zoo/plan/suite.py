"""From a suite to its cells, and from its results to whether they are as expected. The file: `zoo.plan.suite_file`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo import registry
from zoo.errors import MissingError, UsageError, ZooError
from zoo.plan.baselines import with_baselines
from zoo.plan.cells import make_plan
from zoo.plan.overrides import SHARED_OWNERS, matches
from zoo.plan.suite_file import Expected, Suite, place_of_setting
from zoo.results.cell import Cell
from zoo.results.schema import RunResult
from zoo.specs import DatasetSpec, ModelSpec, Spec

if TYPE_CHECKING:
    from zoo.host import Host


@dataclass(frozen=True, kw_only=True)
class SuitePlan:
    """The cells of a suite.

    Args:
        cells: Cells of the suite.
        problems: A sentence for each model or data set that cannot take part.
        minutes: Run id -> Minutes that the run takes, where the file states them.
    """

    cells: Sequence[Cell]
    problems: Sequence[str] = ()
    minutes: Mapping[str, float] = field(default_factory=dict)


def plan_suite(
    host: Host,
    suite: Suite,
    *,
    note: Callable[[str], None] = lambda sentence: None,
) -> SuitePlan:
    """Return the cells of a suite, in the order budget, settings, data set, model, seed.

    A model or data set that cannot take part costs its own cells only.

    Raises:
        UsageError: Nothing can take part, or a value is impossible for all.
        MissingError: The simulator is absent.
    """
    problems: list[str] = []
    models = _present(host, ModelSpec, suite.request.models, problems)
    data = _present(host, DatasetSpec, suite.request.data, problems)
    if not models or not data:
        raise MissingError(f"No model or data set of {suite.path} can run:\n" + "\n".join(problems))
    cells: dict[str, Cell] = {}
    budgets: Sequence[str | None] = suite.budgets or [None]
    for budget in budgets:
        for settings in suite.variants:
            request = replace(
                suite.request,
                models=models,
                data=data,
                budget=budget,
                settings=_settings_of(host, suite, models, settings),
            )
            try:
                planned = with_baselines(host, request, make_plan(host, request, note=note), note=note)
            except ZooError as error:
                where = place_of_setting(suite, error.args[0])
                raise type(error)(f"{where}: {error.args[0]}", hint=error.hint) from error
            cells |= {cell.run_id: cell for cell in planned}
    minutes: dict[str, float] = {}
    if suite.expected and _several(suite):
        note("the expected scores are not compared: the suite has several settings or budgets")
    for model, dataset, entry in _expectations(host, suite, note=note):
        minutes |= {
            run_id: entry.minutes
            for run_id, cell in cells.items()
            if entry.minutes and (cell.model, cell.data) == (model, dataset)
        }
    return SuitePlan(cells=list(cells.values()), problems=problems, minutes=minutes)


def _present(host: Host, kind: type[Spec], names: Iterable[str], problems: list[str]) -> list[str]:
    """Return the names that mean something installed; add a sentence for each of the others."""
    present = []
    for name in names:
        try:
            registry.match(host, kind, [name])
            present.append(name)
        except (UsageError, MissingError) as error:
            problems.append(f"{kind.kind} '{name}' is left out: {error}")
    return present


def _settings_of(host: Host, suite: Suite, models: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those of models that the file names and that do not take part.

    One that no model of the file has stays, and is refused.
    """

    def names(texts: Iterable[str]) -> list[str]:
        present = _present(host, ModelSpec, texts, [])
        specs = registry.match(host, ModelSpec, present) if present else []
        return [*texts, *(name for spec in specs for name in (spec.id, spec.name))]

    taking, listed = names(models), names(suite.listed)
    kept = {}
    for key, value in settings.items():
        owner = key.rpartition(".")[0].removesuffix(".model")
        if owner in SHARED_OWNERS or matches(owner, *taking) or not matches(owner, *listed):
            kept[key] = value
    return kept


def _expectations(
    host: Host, suite: Suite, *, note: Callable[[str], None] = lambda sentence: None
) -> Iterable[tuple[str, str, Expected]]:
    """Yield the ids of model and data set with what is expected, where they are installed; note the others."""
    for entry in suite.expected:
        try:
            model, dataset = registry.find(host, ModelSpec, entry.model), registry.find(host, DatasetSpec, entry.data)
        except (UsageError, MissingError) as error:
            note(f"the expected score of {entry.model} on {entry.data} is left out: {error.args[0]}")
            continue
        yield model.id, dataset.id, entry


class Comparison(NamedTuple):
    """A score beside the one that a suite expects: a sentence, and whether it is as expected."""

    sentence: str
    holds: bool


def compare_expected(host: Host, suite: Suite, results: Iterable[RunResult]) -> list[Comparison]:
    """Compare each expectation that these results concern.

    Args:
        host: The plugins.
        suite: Nothing is expected of one with several budgets or settings, which are several problems.
        results: Results of its cells.
    """
    if _several(suite):
        return []
    good = [result for result in results if result.status == "ok"]
    found = []
    for model, dataset, entry in _expectations(host, suite):
        areas = [
            result.test.headline.value for result in good if (result.cell.model, result.cell.data) == (model, dataset)
        ]
        if areas:
            mean, label = sum(areas) / len(areas), good[0].test.headline.label
            holds = abs(mean - entry.auc) <= entry.within
            sentence = (
                f"{model} on {dataset}: {label} {mean:.4f}, mean of {len(areas)}; {entry.auc:.4f} within "
                f"{entry.within:g} is expected: {'as expected' if holds else 'NOT as expected'}"
            )
            found.append(Comparison(sentence, holds))
    return found


def _several(suite: Suite) -> bool:
    return len(suite.variants) > 1 or len(suite.budgets) > 1
