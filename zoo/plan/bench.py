"""The plan of a benchmark: the cells of a request, of a suite or of a study's best trial.

`zoo bench` and the functions in `zoo.benching` call `plan_bench`, so a suite or a study means the same to both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import UsageError
from zoo.paths import user_path
from zoo.plan.baselines import with_baselines
from zoo.plan.cells import make_plan
from zoo.plan.overrides import SIZE_SETTINGS
from zoo.plan.request import Request, is_place
from zoo.plan.study import Best, read_best, request_of, settings_beyond_search
from zoo.plan.suite import plan_suite
from zoo.plan.suite_file import Suite, changed, read_suite
from zoo.results.cell import Cell
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from zoo.host import Host


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Cells of a benchmark.

    Args:
        cells: Cells to run.
        problems: A sentence for each model or data set of a suite that cannot take part.
        minutes: Run id -> minutes that the run takes, where a suite states them.
        suite: The suite, if the cells come from one.
        best: The best trial of the study, if the cells come from one.
    """

    cells: Sequence[Cell]
    problems: Sequence[str] = ()
    minutes: Mapping[str, float] = field(default_factory=dict)
    suite: Suite | None = None
    best: Best | None = None


def plan_bench(
    host: Host,
    request: Request,
    *,
    suite: Path | None = None,
    study: str | None = None,
    given: Collection[str] = (),
    note: Callable[[str], None] = lambda sentence: None,
) -> Plan:
    """Return the cells of a request.

    Args:
        host: Plugins.
        request: Values of the command line or of a function's arguments.
        suite: File of a suite, whose values the given fields override.
        study: Name of a study in the request's store, whose best trial the given fields override.
        given: Fields of the request that were stated, as opposed to defaults.
        note: Function called with each note on the plan.

    Raises:
        UsageError: A name is unknown or a value is impossible.
        MissingError: A plugin or library is absent.
        DataError: The file of the study is damaged.
    """
    note = _once(note)
    if suite is not None and study is not None:
        raise UsageError("A suite and --from-study exclude each other.")
    if suite is not None:
        if request.images is not None:
            raise UsageError("A suite does not take --images.", hint="Its cells read the cache; see ZOO_CACHE.")
        written = read_suite(suite)
        read = _override(written, request, given)
        if written.expected and not read.expected:
            note("the expected scores are not compared: options of the command line change the scores")
        planned = plan_suite(host, read, note=note)
        return Plan(cells=planned.cells, problems=planned.problems, minutes=planned.minutes, suite=read)
    if study is not None:
        best = read_best(user_path(request.store), study)
        if "models" in given:
            _require_its_model(host, best, request.models)
        stated, request = request, request_of(best, request, given=given)
        cells = make_plan(host, request, note=note)
        own = _not_as_found(host, best, stated, cells, given=given)
        if own:
            note(
                f"the search of {study} is not recorded with these runs, since {', '.join(own)} "
                f"{'differs' if len(own) == 1 else 'differ'} from what it found"
            )
        search = None if own else best.search
        cells = [replace(cell, search=search) for cell in cells]
        return Plan(cells=with_baselines(host, request, cells, note=note), best=best)
    return Plan(cells=with_baselines(host, request, make_plan(host, request, note=note), note=note))


def _not_as_found(
    host: Host, best: Best, request: Request, cells: Sequence[Cell], *, given: Collection[str]
) -> list[str]:
    """Return the names of what planned cells do not have as the search found it; other data and precision are none.

    Args:
        host: The plugins.
        best: Best trial of the study.
        request: What was stated beside the study.
        cells: The cells that follow.
        given: Fields of the request that were stated.
    """
    rule = ["rule"] if "rule" in given and request.rule != best.request.rule else []
    of_data = {
        name: value for name, value in request.settings.items() if name.startswith("data.") or name in SIZE_SETTINGS
    }
    if len(of_data) == len(request.settings):
        return rule
    try:
        found = make_plan(host, request_of(best, replace(request, settings=of_data), given=given))
    except UsageError:  # these data were possible with the stated settings only
        return sorted([*rule, *(name for name in request.settings if name not in of_data)])
    return sorted([*rule, *settings_beyond_search(cells, found)])


def _require_its_model(host: Host, best: Best, names: Sequence[str]) -> None:
    """Refuse other models than the one that a study has searched: its settings are not those of another network."""
    [searched] = registry.match(host, ModelSpec, best.request.models)
    if others := [spec.id for spec in registry.match(host, ModelSpec, names) if spec.id != searched.id]:
        raise UsageError(
            f"The study {best.study} searched settings of {searched.id}, not of {', '.join(others)}.",
            hint=f"Search them: zoo tune --model {others[0]} --data {best.request.data[0]}",
        )


def _once(note: Callable[[str], None]) -> Callable[[str], None]:
    """Return the function with a memory: the plans of models and of their baselines make the same notes."""
    made: set[str] = set()

    def new(text: str) -> None:
        if text not in made:
            made.add(text)
            note(text)

    return new


def _override(suite: Suite, request: Request, given: Collection[str]) -> Suite:
    """Return a suite with the stated values of a request in place of the file's; its settings are added."""
    changes: dict[str, Any] = {
        one.name: getattr(request, one.name)
        for one in fields(Request)
        if one.name in given and one.name != "settings" and not is_place(one)
    }
    if "budget" in changes:
        changes["budgets"] = [changes.pop("budget")]
    if request.settings:
        changes["variants"] = [{**variant, **request.settings} for variant in suite.variants]
        changes["overridden"] = tuple(request.settings)
    return changed(suite, device=request.device, store=request.store, **changes)
