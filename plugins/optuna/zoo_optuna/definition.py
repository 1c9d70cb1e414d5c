"""What a study is: the cell that its trials vary, what they vary, and the file that keeps both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.data.recipe import canonical_json
from zoo.errors import DataError, UsageError
from zoo.lensing.draws import stable_hash
from zoo.plan.request import Request
from zoo.plan.settings import SETTING_NAMES, TrainingSettings
from zoo.plan.study import Best
from zoo.results.cell import Cell
from zoo.results.store import write_json

STUDY = "study.json"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Definition:
    """Everything that decides what the trials of a study are.

    Args:
        study: its name, of which every random number in it is a function.
        cell: the model, data, budget and settings that stay, with the model's own values for what is searched.
        space: name -> choices or range.
        settings: as given by --set.
        prune_after: trials that must have run to their end before one is stopped.
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
    """Write study.json whole or not at all.

    Args:
        folder: of the study.
        definition: of it.
        made_with: distribution -> version, for people; nothing is compared with it.

    Raises:
        DataError: it cannot be written.
    """
    write_json(folder / STUDY, definition.to_json() | {"made_with": dict(made_with)})


def read_definition(folder: Path) -> Definition:
    """Return a study's definition.

    Raises:
        FileNotFoundError: there is none.
        DataError: it is damaged, or of another schema.
    """
    path = folder / STUDY
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content.pop("schema")
        if schema != SCHEMA:
            raise DataError(f"{path} is of schema {schema}; this plugin reads schema {SCHEMA}.")
        content.pop("made_with")
        return Definition(**content | {"cell": Cell.from_json(content["cell"])})
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"{path} is damaged: {type(error).__name__}: {error}.") from error


def check_same(there: Definition, wanted: Definition) -> None:
    """Refuse to go on with a study that is another one.

    Raises:
        UsageError: names what differs.
    """
    old, new = (_flat(definition.to_json()) for definition in (there, wanted))
    changed = [key for key in {**old, **new} if canonical_json(old.get(key)) != canonical_json(new.get(key))]
    # With another model or data set, everything that follows from it is another as well.
    leading = [key for key in changed if key in ("model", "data")]
    words = [_difference(key, old, new) for key in leading or changed]
    if words:
        shown = "; ".join(words[:3]) + (f"; and {len(words) - 3} more" if len(words) > 3 else "")
        raise UsageError(
            f"The study '{there.study}' is another one: {shown}.",
            hint="Give the command that made it, or choose another name with --study.",
        )


def trial_cell(definition: Definition, number: int, values: Mapping[str, Any]) -> Cell:
    """Return what a trial trains.

    Args:
        definition: of the study.
        number: of the trial.
        values: name -> value, of what is searched.

    Raises:
        UsageError: a value is impossible for the trainer.
    """
    cell = definition.cell
    training = {**cell.training, **{name: value for name, value in values.items() if name in SETTING_NAMES}}
    TrainingSettings(**training)
    hparams = {name.removeprefix("model."): value for name, value in values.items() if name not in SETTING_NAMES}
    return replace(
        cell, hparams={**cell.hparams, **hparams}, training=training, seed=training_seed(definition.study, number)
    )


def own_values(cell: Cell, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a cell has for what is searched."""
    return {
        name: cell.training[name] if name in SETTING_NAMES else cell.hparams[name.removeprefix("model.")]
        for name in space
    }


def training_seed(study: str, number: int) -> int:
    """Return the seed of a trial's training: another one for each, so that no one seed's luck decides a search.

    It lies in the upper half of all seeds, where nobody benchmarks: `zoo bench --from-study` starts afresh.
    """
    return 2**30 + stable_hash(f"{study}/{number}/training") % 2**30


def best_of(definition: Definition, *, trial: int, val_auc: float, values: Mapping[str, Any]) -> Best:
    """Return what `zoo bench --from-study` needs of the best trial."""
    cell = definition.cell
    simulator = cell.recipe["simulator"]
    request = Request(
        models=[cell.model],
        data=[cell.data],
        budget=cell.budget,
        precision=cell.precision,
        rule=cell.rule,
        task=cell.task,
        settings={**definition.settings, **values},
        **({} if simulator is None else {"simulator": simulator}),
    )
    return Best(study=definition.study, trial=trial, val_auc=val_auc, request=request)


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is compared, by the names that a user knows."""
    cell = dict(content["cell"])
    recipe = dict(cell.pop("recipe"))
    # The name has been compared already; settings show in what they set.
    flat = {"model": cell["model"], "data": recipe.pop("dataset"), "prune_after": content["prune_after"]}
    flat |= {f"data.{name}": value for name, value in recipe.pop("params").items()}
    flat |= {f"images.{name}": value for name, value in recipe.items()}
    flat |= {f"version of {name}": value for name, value in cell.pop("versions").items()}
    flat |= {f"{split}_images": count for split, count in cell.pop("sizes").items()}
    # What is searched has no value of its own that would matter.
    searched = content["space"]
    for group in ("hparams", "training"):
        flat |= {name: value for name, value in cell.pop(group).items() if not {name, f"model.{name}"} & {*searched}}
    flat |= {name: value for name, value in cell.items() if name not in ("schema", "run_id", "seed", "model")}
    return flat | {f"search of {name}": dimension for name, dimension in searched.items()}


def _difference(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if key.startswith("search of ") and (key in old) != (key in new):
        name = key.removeprefix("search of ")
        return f"{name} is {'searched' if key in old else 'not searched'} there"
    return f"{key} is {_shown(old.get(key))} there, {_shown(new.get(key))} here"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else canonical_json(value)
