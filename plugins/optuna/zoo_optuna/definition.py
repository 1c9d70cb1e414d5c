"""The definition of a study: the cell that its trials vary, the search space, and the file that stores both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.data.recipe import canonical_json
from zoo.errors import DataError, UsageError
from zoo.lensing.draws import stable_hash
from zoo.paths import read_json
from zoo.plan.request import Request
from zoo.plan.settings import LATER, SETTING_NAMES, TrainingSettings
from zoo.plan.study import Best
from zoo.results.cell import Cell
from zoo.results.store import write_json
from zoo.schema import Record, read_record

STUDY = "study.json"
SCHEMA = 1


class Definition(Record):
    """Everything that determines the trials of a study.

    Args:
        study: Name of the study. Every random number of the study depends on it.
        cell: Cell with the fixed model, data, budget and settings, and the model's defaults for searched settings.
        space: Choices or range of each searched setting.
        settings: Settings given by --set.
        prune_after: Number of completed trials required before one is pruned.
    """

    study: str
    cell: Cell
    space: Mapping[str, Any]
    settings: Mapping[str, Any]
    prune_after: int = 5

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "schema": SCHEMA,
            "study": self.study,
            "cell": self.cell.to_json(),
            "space": dict(self.space),
            "settings": dict(self.settings),
            "prune_after": self.prune_after,
        }


def write_definition(folder: Path, definition: Definition, *, made_with: Mapping[str, str]) -> None:
    """Write study.json atomically.

    Args:
        folder: Folder of the study.
        definition: Definition of the study.
        made_with: Version of each distribution, for information only.

    Raises:
        DataError: The file cannot be written.
    """
    write_json(folder / STUDY, definition.to_json() | {"made_with": dict(made_with)})


def read_definition(folder: Path) -> Definition:
    """Return a study's definition.

    Raises:
        FileNotFoundError: The folder holds no study.
        DataError: The file is damaged or has another schema.
    """
    path = folder / STUDY
    try:
        content = read_json(path)
        schema = content.pop("schema")
        if schema != SCHEMA:
            raise DataError(f"{path} has schema {schema}; this plugin reads schema {SCHEMA}.")
        content.pop("made_with")
        definition = read_record(content | {"cell": Cell.from_json(content["cell"])}, Definition, what=STUDY)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {type(error).__name__}: {error}.") from error
    if definition.study != folder.name:
        raise DataError(f"{path} belongs to another study, '{definition.study}'.")
    return definition


def check_same(there: Definition, wanted: Definition) -> None:
    """Check that an existing study has the requested definition.

    Raises:
        UsageError: The definitions differ; the message lists the differences.
    """
    old, new = (_flat(definition.to_json()) for definition in (there, wanted))
    changed = [key for key in {**old, **new} if canonical_json(old.get(key)) != canonical_json(new.get(key))]
    # A change of model or data set changes many other fields too, which are then left out of the message.
    leading = [key for key in changed if key in ("model", "data")]
    words = [_difference(key, old, new) for key in leading or changed]
    if words:
        shown = "; ".join(words[:3]) + (f"; and {len(words) - 3} more" if len(words) > 3 else "")
        raise UsageError(
            f"A different study named '{there.study}' exists: {shown}.",
            hint="Repeat the command that created it, or choose another name with --study.",
        )


def trial_cell(definition: Definition, number: int, values: Mapping[str, Any]) -> Cell:
    """Return the cell of a trial.

    Args:
        definition: Definition of the study.
        number: Number of the trial.
        values: Value of each searched setting.

    Raises:
        UsageError: A value is not a valid training setting.
    """
    cell = definition.cell
    searched = {name: value for name, value in values.items() if name in SETTING_NAMES}
    training = TrainingSettings(**{**cell.training, **searched}).recorded()
    hparams = {name.removeprefix("model."): value for name, value in values.items() if name not in SETTING_NAMES}
    return replace(
        cell, hparams={**cell.hparams, **hparams}, training=training, seed=training_seed(definition.study, number)
    )


def own_values(cell: Cell, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cell's values of the searched settings."""
    training = {**LATER, **cell.training}
    return {
        name: training[name] if name in SETTING_NAMES else cell.hparams[name.removeprefix("model.")] for name in space
    }


def training_seed(study: str, number: int) -> int:
    """Return the training seed of a trial. It differs between trials, so that a search does not depend on one seed.

    It lies in the upper half of the range of seeds, away from the seeds of benchmarks, so `zoo bench --from-study`
    repeats none of these trainings.
    """
    return 2**30 + stable_hash(f"{study}/{number}/training") % 2**30


def best_of(definition: Definition, *, trial: int, val_auc: float, trials: int, values: Mapping[str, Any]) -> Best:
    """Return the data of the best trial that `zoo bench --from-study` reads."""
    cell = definition.cell
    request = Request(
        models=[cell.model],
        data=[cell.data],
        budget=cell.budget,
        precision=cell.precision,
        rule=cell.rule,
        task=cell.task,
        settings={**definition.settings, **values},
    )
    if cell.recipe.simulator is not None:
        request = replace(request, simulator=cell.recipe.simulator)
    return Best(study=definition.study, trial=trial, val_auc=val_auc, trials=trials, request=request)


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are compared, under the names used on the command line."""
    cell = dict(content["cell"])
    recipe = dict(cell.pop("recipe"))
    # The name is equal, as it names the folder; settings appear in the values that they set.
    flat = {"model": cell["model"], "data": recipe.pop("dataset"), "prune_after": content["prune_after"]}
    flat |= {f"data.{name}": value for name, value in recipe.pop("params").items()}
    flat |= {f"images.{name}": value for name, value in recipe.items()}
    flat |= {f"version of {name}": value for name, value in cell.pop("versions").items()}
    flat |= {f"{split}_images": count for split, count in cell.pop("sizes").items()}
    # The cell's own values of searched settings do not matter.
    searched = content["space"]
    for group in ("hparams", "training"):
        flat |= {name: value for name, value in cell.pop(group).items() if not {name, f"model.{name}"} & {*searched}}
    flat |= {name: value for name, value in cell.items() if name not in ("schema", "run_id", "seed", "model")}
    return flat | {f"search of {name}": dimension for name, dimension in searched.items()}


def _difference(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if key.startswith("search of ") and (key in old) != (key in new):
        name = key.removeprefix("search of ")
        return f"{name} is {'searched' if key in old else 'not searched'} in the existing study"
    return f"{key} is {_shown(old.get(key))} in the existing study and {_shown(new.get(key))} in this command"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else canonical_json(value)
