"""Suites: a TOML file that states models, data, seeds, budgets and settings, and what they are expected to score.

title = "Who tells the substructures of Model A and Model B apart?"
models = ["p4m", "timm/resnet18"]
data = ["modelA", "modelB"]
seeds = [0, 1, 2]
budget = "laptop"                # or several: ["smoke", "laptop"]

[settings]                       # as --set; [[settings]], several times, makes a variant of each
"data.snr" = 30

[[expected]]
model = "p4m"
data = "modelB"
auc = 0.988                      # macro, mean over the seeds
within = 0.01
minutes = 6                      # a run
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import MissingError, UsageError, ZooError, nearest
from zoo.plan.cells import make_plan
from zoo.plan.overrides import matches
from zoo.plan.request import DEFAULT_SIMULATOR, Request
from zoo.results.cell import Cell
from zoo.specs import DatasetSpec, ModelSpec, Spec

if TYPE_CHECKING:
    from zoo.host import Host


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a suite's author measured.

    Args:
        model, data: names.
        auc: macro AUC, mean over seeds.
        within: how far from it is as expected.
        minutes: of a run, on the machine that the file names.
    """

    model: str
    data: str
    auc: float
    within: float
    minutes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The content of a suite's file, and what of it the command line has replaced.

    Args:
        path: of the file.
        models, data, seeds: the matrix.
        budgets: empty for the one that suits the device.
        settings: one variant each.
        expected: in the order of the file.
        title: for people.
        simulator, precision, rule, task, match: as in `zoo.plan.request.Request`.
        listed: the models that the file names, whichever of them take part.
    """

    path: Path
    models: Sequence[str]
    data: Sequence[str]
    seeds: Sequence[int] = (0,)
    budgets: Sequence[str] = ()
    settings: Sequence[Mapping[str, Any]] = ({},)
    expected: Sequence[Expected] = ()
    title: str = ""
    simulator: str = DEFAULT_SIMULATOR
    precision: str = "auto"
    rule: str = "val_auc"
    task: str = ""
    match: str = ""
    listed: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class SuitePlan:
    """The cells of a suite.

    Args:
        cells: to run.
        problems: a sentence for each model or data set that cannot take part.
        minutes: run id -> what the file says a run takes, where it says so.
    """

    cells: Sequence[Cell]
    problems: Sequence[str] = ()
    minutes: Mapping[str, float] = field(default_factory=dict)


_TEXTS = ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(entry, str) for entry in value))
_TEXT = ("a text", lambda value: isinstance(value, str))
_NUMBER = ("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool))
_KEYS: dict[str, tuple[str, Any]] = {
    "title": _TEXT,
    "models": _TEXTS,
    "data": _TEXTS,
    "seeds": ("a list of whole numbers", lambda value: isinstance(value, list) and all(type(n) is int for n in value)),
    "budget": ("a text or a list of texts", lambda value: isinstance(value, str) or _TEXTS[1](value)),
    "simulator": _TEXT,
    "precision": _TEXT,
    "rule": _TEXT,
    "task": _TEXT,
    "match": _TEXT,
    "settings": (
        "a table [settings], or several [[settings]]",
        lambda value: isinstance(value, dict) or (isinstance(value, list) and all(isinstance(v, dict) for v in value)),
    ),
    "expected": (
        "tables [[expected]]",
        lambda value: isinstance(value, list) and all(isinstance(entry, dict) for entry in value),
    ),
}
_EXPECTED_KEYS = {"model": _TEXT, "data": _TEXT, "auc": _NUMBER, "within": _NUMBER, "minutes": _NUMBER}


def read_suite(path: Path) -> Suite:
    """Return the suite in a TOML file.

    Raises:
        UsageError: there is no such file, or something in it cannot be meant; names line and key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"There is no suite {path}: {getattr(error, 'strerror', None) or error}.",
            hint="A suite is a TOML file, as benchmarks/classify_ab.toml is; without one: zoo bench --model M --data D",
        ) from error
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"line (\d+)", str(error))
        number = int(found.group(1)) if found else text.count("\n") + 1
        lines = text.splitlines()
        shown = lines[number - 1].strip() if number <= len(lines) else "the end of the file"
        key = shown.partition("=")[0].strip()
        raise UsageError(f"{path}, line {number}, key '{key}': not TOML: {error}: {shown!r}.") from error
    _check(path, text, content, _KEYS)
    for name in ("models", "data"):
        if not content.get(name):
            raise UsageError(f"{path} names no {name}.", hint=f'Write: {name} = ["..."]')
    for index, entry in enumerate(content.get("expected", [])):
        _check(path, text, entry, _EXPECTED_KEYS, table="expected", index=index)
        for name in ("model", "data", "auc", "within"):
            if name not in entry:
                line = _line_of(text, "", table="expected", index=index)
                raise UsageError(f"{path}, line {line}, key 'expected': it lacks '{name}'.")
    budget, settings = content.get("budget", []), content.get("settings") or {}
    return Suite(
        path=path,
        models=content["models"],
        data=content["data"],
        seeds=content.get("seeds", [0]),
        budgets=[budget] if isinstance(budget, str) else budget,
        settings=[_dotted(variant) for variant in (settings if isinstance(settings, list) else [settings])],
        expected=[Expected(**entry) for entry in content.get("expected", [])],
        title=content.get("title", ""),
        simulator=content.get("simulator", DEFAULT_SIMULATOR),
        precision=content.get("precision", "auto"),
        rule=content.get("rule", "val_auc"),
        task=content.get("task", ""),
        match=content.get("match", ""),
        listed=content["models"],
    )


def _dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a table's values by dotted name: `data.snr = 30` is a table inside of one to TOML."""
    values: dict[str, Any] = {}
    for name, value in table.items():
        values |= _dotted(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return values


def _check(
    path: Path, text: str, content: Mapping[str, Any], keys: Mapping[str, Any], *, table: str = "", index: int = 0
) -> None:
    """Refuse unknown keys and values of the wrong type.

    Raises:
        UsageError: with line and key.
    """
    for name, value in content.items():
        where = f"{path}, line {_line_of(text, name, table=table, index=index)}, key '{name}'"
        if name not in keys:
            raise UsageError(f"{where}: there is no such key.{nearest(name, keys)}", hint=f"Known: {', '.join(keys)}")
        allowed, valid = keys[name]
        if not valid(value):
            raise UsageError(f"{where}: {value!r} must be {allowed}.")


def _line_of(text: str, key: str, *, table: str = "", index: int = 0) -> int:
    """Return the line of a key, or of the table's header where the key is not found in it.

    Args:
        text: of the file.
        key: its last name.
        table: the table that it stands in; "" for the top of the file, where a table is a key too.
        index: which of the tables of this name.
    """
    current, seen, header = "", -1, 1
    for number, line in enumerate(text.splitlines(), start=1):
        heading = re.match(r"\s*\[{1,2}\s*\"?([^\]\"]+?)\"?\s*\]", line)
        if heading:
            current = heading.group(1)
            seen += current == table
            if not table and current.partition(".")[0] == key:
                return number
            if current == table and seen == index:
                header = number
        elif (current == table and (not table or seen == index)) and re.match(
            rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line
        ):
            return number
    return header


def plan_suite(
    host: Host,
    suite: Suite,
    *,
    device: str = "auto",
    store: str | Path = "results",
    tell: Callable[[str], None] = lambda sentence: None,
) -> SuitePlan:
    """Return the cells of a suite, in the order budget, settings, data set, model, seed.

    A model or data set that cannot take part costs its own cells only.

    Raises:
        UsageError: nothing can take part, or a value is impossible for all.
        MissingError: the simulator is absent.
    """
    problems: list[str] = []
    models = _present(host, ModelSpec, suite.models, problems)
    data = _present(host, DatasetSpec, suite.data, problems)
    if not models or not data:
        raise MissingError(f"Nothing of {suite.path} can run:\n" + "\n".join(problems))
    cells: dict[str, Cell] = {}
    budgets: Sequence[str | None] = suite.budgets or [None]
    for budget in budgets:
        for settings in suite.settings:
            request = Request(
                models=models,
                data=data,
                seeds=suite.seeds,
                budget=budget,
                simulator=suite.simulator,
                device=device,
                precision=suite.precision,
                rule=suite.rule,
                task=suite.task,
                match=suite.match,
                settings=_settings_of(host, suite, models, settings),
                store=store,
            )
            try:
                planned = make_plan(host, request, tell=tell)
            except ZooError as error:
                raise type(error)(f"{suite.path}: {error.args[0]}", hint=error.hint) from error
            cells |= {cell.run_id: cell for cell in planned}
    minutes: dict[str, float] = {}
    for model, dataset, entry in _expectations(host, suite):
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
        if owner in ("", "data", "model") or matches(owner, *taking) or not matches(owner, *listed):
            kept[key] = value
    return kept


def _expectations(host: Host, suite: Suite) -> Iterable[tuple[str, str, Expected]]:
    """Yield the ids of model and data set with what is expected, where they are installed."""
    for entry in suite.expected:
        try:
            model, dataset = registry.find(host, ModelSpec, entry.model), registry.find(host, DatasetSpec, entry.data)
        except ZooError:
            continue
        yield model.id, dataset.id, entry


def compare_expected(host: Host, suite: Suite, results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each expectation that these results speak to.

    Args:
        host: the plugins.
        suite: nothing is expected of one with several budgets or settings, which are several problems.
        results: of its cells.
    """
    if len(suite.settings) > 1 or len(suite.budgets) > 1:
        return []
    good = [result for result in results if result["status"] == "ok"]
    sentences = []
    for model, dataset, entry in _expectations(host, suite):
        areas = [
            float(result["test"]["auc"]["macro"])
            for result in good
            if (result["cell"]["model"], result["cell"]["recipe"]["dataset"]) == (model, dataset)
        ]
        if areas:
            mean = sum(areas) / len(areas)
            verdict = "as expected" if abs(mean - entry.auc) <= entry.within else "NOT as expected"
            sentences.append(
                f"{model} on {dataset}: macro AUC {mean:.4f}, mean of {len(areas)}; {entry.auc:.4f} within "
                f"{entry.within:g} is expected: {verdict}"
            )
    return sentences


def changed(suite: Suite, **values: Any) -> Suite:
    """Return a suite with what the command line says instead; where this changes the scores, nothing is expected."""
    harmless = {"models", "data", "seeds"}
    expected = suite.expected if set(values) <= harmless else ()
    return replace(suite, **values, expected=expected)
