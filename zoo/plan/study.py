"""What a search over hyper-parameters has found: the file that it leaves, and the benchmark that it asks for.

`zoo tune` (plugin lens-zoo-optuna) writes it; whatever else writes such a file into STORE/studies/NAME can be
benchmarked by `zoo bench --from-study NAME` alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from zoo.errors import DataError, UsageError, nearest
from zoo.plan.request import DEFAULT_SIMULATOR, Request
from zoo.results.store import write_json

STUDIES, BEST = "studies", "best.json"
BEST_SCHEMA = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best trial of a study so far.

    Args:
        study: its name.
        trial: number, counted from 0.
        val_auc: macro validation AUC. It is the highest of many, so the test AUC of a fresh training will be lower.
        model, data: ids.
        budget, simulator, precision, rule, task: as in `zoo.plan.request.Request`.
        settings: what was searched and what was fixed, as given by --set.
    """

    study: str
    trial: int
    val_auc: float
    model: str
    data: str
    budget: str
    simulator: str = DEFAULT_SIMULATOR
    precision: str = "auto"
    rule: str = "val_auc"
    task: str = ""
    settings: Mapping[str, Any]


def study_folder(store: Path, name: str) -> Path:
    """Return the folder of a study.

    Raises:
        UsageError: the name cannot be that of a folder.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"The study's name {name!r} may hold letters, digits, '_', '.' and '-' only, and begins with neither of "
            "the last three."
        )
    return store / STUDIES / name


def unknown_study(store: Path, name: str) -> UsageError:
    """Return the error that names the nearest study of a store."""
    known = sorted(path.name for path in (store / STUDIES).glob("*") if path.is_dir())
    there = f"it has {', '.join(known[:5])}{' and more' if len(known) > 5 else ''}" if known else "it has none"
    return UsageError(
        f"There is no study '{name}' in the store {store}; {there}.{nearest(name, known)}",
        hint=f"Make one: zoo tune --model p4m --data modelA --study {name}",
    )


def write_best(folder: Path, best: Best) -> None:
    """Write the file whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    write_json(folder / BEST, {"schema": BEST_SCHEMA, **asdict(best)})


def read_best(store: Path, name: str) -> Best:
    """Return the best trial of a study.

    Raises:
        UsageError: there is no such study, or none of its trials has ended well yet.
        DataError: the file is damaged, or of another schema.
    """
    folder = study_folder(store, name)
    if not folder.is_dir():
        raise unknown_study(store, name)
    path = folder / BEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content.pop("schema", None)
        if schema == BEST_SCHEMA:
            return Best(**content)
    except FileNotFoundError as error:
        raise UsageError(
            f"No trial of the study '{name}' has ended well yet.", hint=f"See: zoo tune --show {name} --store {store}"
        ) from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
    raise DataError(f"{path} is of schema {schema}; this zoo reads schema {BEST_SCHEMA}.")


def request_of(best: Best, request: Request, *, told: Collection[str]) -> Request:
    """Return a request for the best trial's model, data and settings.

    Args:
        best: of the study.
        request: what the command line says; its settings hold instead of the study's.
        told: fields of the request that the command line does say, and not its defaults.
    """
    values: dict[str, Any] = {"models": [best.model], "data": [best.data]}
    values |= {name: getattr(best, name) for name in ("budget", "simulator", "precision", "rule", "task")}
    given = {name.removeprefix("model.") for name in request.settings}
    settings = {name: value for name, value in best.settings.items() if name.removeprefix("model.") not in given}
    values = {name: value for name, value in values.items() if name not in told}
    return replace(request, **values, settings={**settings, **request.settings})
