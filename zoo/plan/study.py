"""Result of a search over hyper-parameters: its file, and the benchmark of its best trial.

`zoo tune` (plugin lens-zoo-optuna) writes it; any other program's file of this form in
STORE/studies/NAME can be benchmarked with `zoo bench --from-study NAME` too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from zoo.errors import DataError, UsageError, nearest
from zoo.paths import in_shell, read_json
from zoo.plan.request import Request, is_place
from zoo.results.cell import Cell, Search
from zoo.results.store import write_json
from zoo.schema import Record, read_record

STUDIES, BEST = "studies", "best.json"
BEST_SCHEMA = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best trial of a study so far.

    Args:
        study: Name of the study.
        trial: Number of the trial, counted from 0.
        val_auc: Macro validation AUC. It is the highest of many, so the test AUC of a fresh training will be lower.
        trials: Number of trials that had ended, stopped and failed ones included; None where it is not stated.
        request: Model, data, budget and settings, both searched and fixed ones, as given by --set.
    """

    study: str
    trial: int
    val_auc: float
    trials: int | None = None
    request: Request

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with one model and one data set."""
        [model], [data] = self.request.models, self.request.data
        kept = {name: getattr(self.request, name) for name in SHARED}
        own = {name: getattr(self, name) for name in ("study", "trial", "val_auc", "trials")}
        return {**own, "model": model, "data": data, **kept}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Best:
        """Return the value that `to_json` wrote.

        Raises:
            DataError: A field is missing, unknown or of the wrong type.
        """
        read: Any = read_record(content, _Content, what=BEST)
        request = Request(models=[read.model], data=[read.data], **{name: getattr(read, name) for name in SHARED})
        return cls(study=read.study, trial=read.trial, val_auc=read.val_auc, trials=read.trials, request=request)

    @property
    def search(self) -> Search:
        """The search as a cell records it."""
        return Search(study=self.study, trials=self.trials)


SHARED = tuple(
    one.name
    for one in fields(Request)
    if not is_place(one) and one.name not in ("models", "data", "seeds", "match", "baselines")
)
"""Fields of a request that a study fixes: its trials share one model and data set, and have own seeds."""


def _content() -> Any:
    hints, defaults = get_type_hints(Request), {one.name: one.default for one in fields(Request)}
    own: list[Any] = [("study", str), ("trial", int), ("val_auc", float), ("model", str), ("data", str)]
    own += [("budget", str), ("settings", dict[str, Any])]
    rest: list[Any] = [("trials", int | None, None)]
    rest += [(name, hints[name], defaults[name]) for name in SHARED if name not in ("budget", "settings")]
    return msgspec.defstruct("BestContent", own + rest, bases=(Record,))


_Content = _content()


def study_folder(store: Path, name: str) -> Path:
    """Return the folder of a study.

    Raises:
        UsageError: The name cannot be that of a folder.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"The study's name {name!r} may hold letters, digits, '_', '.' and '-' only, and begins with neither of "
            "the last three."
        )
    return store / STUDIES / name


def unknown_study(store: Path, name: str) -> UsageError:
    """Return the error that names the nearest study of a store."""
    if os.path.isdir(store / STUDIES / name):
        return UsageError(
            f"The folder {store / STUDIES / name} is not that of a study: a file of it is missing.",
            hint="Remove it, or choose another name",
        )
    known = sorted(path.name for path in (store / STUDIES).glob("*") if path.is_dir())
    there = f"it has {', '.join(known[:5])}{' and more' if len(known) > 5 else ''}" if known else "it has none"
    return UsageError(
        f"Study '{name}' was not found in the store {store}; {there}.{nearest(name, known)}",
        hint=f"Make one: zoo tune --model p4m --data modelA --study {name} --store {in_shell(store)}",
    )


def write_best(folder: Path, best: Best) -> None:
    """Write the file whole or not at all.

    Raises:
        DataError: The file cannot be written.
    """
    write_json(folder / BEST, {"schema": BEST_SCHEMA, **best.to_json()})


def read_best(store: Path, name: str) -> Best:
    """Return the best trial of a study.

    Raises:
        UsageError: The study was not found, or all of its trials failed so far.
        DataError: The file is damaged, or of another schema.
    """
    folder = study_folder(store, name)
    if not os.path.isdir(folder):  # Path.is_dir raises where a name is too long
        raise unknown_study(store, name)
    path = folder / BEST
    try:
        content = read_json(path)
        schema = content.pop("schema", None)
        if schema == BEST_SCHEMA:
            best = Best.from_json(content)
    except FileNotFoundError as error:
        raise UsageError(
            f"The study '{name}' has no successful trial yet.",
            hint=f"See: zoo tune --show {name} --store {in_shell(store)}",
        ) from error
    except (OSError, ValueError, TypeError, AttributeError, DataError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
    if schema != BEST_SCHEMA:
        raise DataError(f"{path} is of schema {schema}; this zoo reads schema {BEST_SCHEMA}.")
    if best.study != name:
        raise DataError(f"{path} belongs to another study, '{best.study}'.")
    return best


def request_of(best: Best, request: Request, *, given: Collection[str]) -> Request:
    """Return a request for the best trial's model, data and settings.

    Args:
        best: Best trial of the study.
        request: Options of the command line; its settings override the study's.
        given: Fields of the request that are set on the command line, as opposed to defaults.
    """
    found = best.request
    values: dict[str, Any] = {name: getattr(found, name) for name in ("models", "data", *SHARED) if name != "settings"}
    given_too = {_bare(name) for name in request.settings}
    settings = {name: value for name, value in found.settings.items() if _bare(name) not in given_too}
    values = {name: value for name, value in values.items() if name not in given}
    return replace(request, **values, settings={**settings, **request.settings})


def settings_beyond_search(cells: Sequence[Cell], found: Sequence[Cell]) -> list[str]:
    """Return the names of the settings of networks and trainings that cells do not have as the search found them.

    Args:
        cells: Planned cells.
        found: The same cells with the settings of the search.
    """
    names: set[str] = set()
    for cell, other in zip(cells, found, strict=True):
        for own, its in ((cell.hparams, other.hparams), (cell.training, other.training)):
            names |= {name for name in {**own, **its} if own.get(name) != its.get(name)}
        names |= {"train.phases"} if cell.phases != other.phases else set()
    return sorted(names)


def _bare(name: str) -> str:
    """Return the name of a setting; "model.NAME" is a long form of "NAME"."""
    return name.removeprefix("model.")
