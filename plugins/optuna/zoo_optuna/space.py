"""The search space of a study, from the model and the trainer, as plain data, and the values drawn from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.data.recipe import canonical_json
from zoo.errors import UsageError, nearest
from zoo.plan.settings import SETTING_NAMES
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    import optuna

Space = dict[str, Any]
"""Maps each name, as for --set, to a list of choices or to {"low", "high", "log"}."""

TRAINER_SPACE: Space = {
    # The default learning rates range from 5e-5 (steerable networks of 2021) to 5e-3 (small group networks).
    "lr": {"low": 3e-5, "high": 3e-2, "log": True},
    "weight_decay": {"low": 1e-6, "high": 1e-1, "log": True},
    "augment": ["none", "d4", "rotate"],
}

_STATED = ("optimizer", "loss", "auxiliary", "init")
"""Settings of a training that name parts of plugins, truths or weights, which the plan resolves."""


def full_space(spec: ModelSpec) -> Space:
    """Return all settings that can be searched for a model: those of the trainer, then those of the model.

    A model may declare a different range for a setting of the trainer. A hyper-parameter with the same name as a
    setting of the trainer is called "model.NAME", as for --set. A network that fits itself has its own settings only.

    Raises:
        UsageError: The search space that the plugin declares is invalid.
    """
    space, trainer = ({}, ()) if spec.fits_itself else (dict(TRAINER_SPACE), SETTING_NAMES)
    for name, dimension in spec.search_space.items():
        if name in _STATED and name not in spec.defaults:
            raise _misdescribed(spec, name, "a study does not search it: --set states it for all trials")
        if name not in spec.defaults and name not in trainer:
            known = (*spec.defaults, *trainer)
            raise _misdescribed(spec, name, f"it is not a hyper-parameter of the model.{nearest(name, known)}")
        if problem := _problem(dimension):
            raise _misdescribed(spec, name, problem)
        shared = name in spec.defaults and name in SETTING_NAMES
        space[f"model.{name}" if shared else name] = dimension
    return space


def choose_space(spec: ModelSpec, *, searched: Sequence[str], fixed: Mapping[str, Any]) -> Space:
    """Return the search space of a study.

    Args:
        spec: Spec of the model.
        searched: Names of the searched settings; empty for all that are not fixed.
        fixed: Settings given by --set.

    Raises:
        UsageError: A name is unknown or also fixed, or no setting is left to search.
    """
    space = full_space(spec)
    fixed_names = {_plain(name, space) for name in fixed}
    for name in searched:
        if _plain(name, space) not in space:
            raise UsageError(
                f"--search {name}: not a searchable setting of {spec.id}.{nearest(name, space)}",
                hint=f"Searchable settings: {', '.join(space)}",
            )
        if _plain(name, space) in fixed_names:
            raise UsageError(
                f"'{name}' is both searched (--search) and fixed (--set).",
                hint="Phases fix the number of epochs; without those of the budget: --set train.phases=none"
                if name == "epochs"
                else "",
            )
    if not searched and not spec.search_space:
        raise UsageError(
            f"{spec.id} does not declare a search space.",
            hint=""
            if spec.fits_itself
            else f"To search only the training settings: --search {','.join(TRAINER_SPACE)}",
        )
    names = [_plain(name, space) for name in searched] or [name for name in space if name not in fixed_names]
    if not names:
        raise UsageError("All searchable settings are fixed by --set.", hint=f"Searchable settings: {', '.join(space)}")
    # Sorted, as in the study's file: the order of the names must not change the drawn values.
    return {name: _listed(space[name]) for name in sorted(set(names))}


def suggest(trial: optuna.Trial, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a trial; missing values are drawn."""
    values: dict[str, Any] = {}
    for name, dimension in space.items():
        if isinstance(dimension, Mapping):
            low, high, log = dimension["low"], dimension["high"], bool(dimension.get("log"))
            draw: Any = trial.suggest_int if _whole(dimension) else trial.suggest_float
            values[name] = draw(name, low, high, log=log)
        else:
            drawn = trial.suggest_categorical(name, [_text_of(choice) for choice in dimension])
            values[name] = _choice(dimension, drawn)
    return values


def values_of(parameters: Mapping[str, Any], space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that optuna's parameters stand for."""
    values: dict[str, Any] = {}
    for name, dimension in space.items():
        if name in parameters:
            value = parameters[name]
            values[name] = value if isinstance(dimension, Mapping) else _choice(dimension, value)
    return values


def parameters_of(values: Mapping[str, Any], space: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as optuna's parameters, without those outside the space."""
    parameters: dict[str, Any] = {}
    for name, dimension in space.items():
        value = values[name]
        if isinstance(dimension, Mapping):
            if type(value) in (int, float) and dimension["low"] <= value <= dimension["high"]:
                parameters[name] = value
        elif any(_text_of(choice) == _text_of(value) for choice in dimension):
            parameters[name] = _text_of(value)
    return parameters


def _choice(choices: Sequence[Any], text: str) -> Any:
    return next(choice for choice in choices if _text_of(choice) == text)


def _text_of(choice: Any) -> str:
    """Return a choice as text: optuna does not support lists, and treats 1 and True as equal."""
    return choice if isinstance(choice, str) else canonical_json(choice)


def _plain(name: str, space: Mapping[str, Any]) -> str:
    """Return the name used in the space for a setting that may also be given as "model.NAME"."""
    return name if name in space else name.removeprefix("model.")


def _listed(dimension: Any) -> Any:
    return dict(dimension) if isinstance(dimension, Mapping) else list(dimension)


def _whole(dimension: Mapping[str, Any]) -> bool:
    return type(dimension["low"]) is int and type(dimension["high"]) is int


def _problem(dimension: Any) -> str:
    """Return why a value is not a valid dimension of a space, or "" if it is valid."""
    if isinstance(dimension, Mapping):
        low, high, log = (dimension.get(key, default) for key, default in (("low", ""), ("high", ""), ("log", False)))
        if (
            set(dimension) - {"low", "high", "log"}
            or not all(type(end) in (int, float) for end in (low, high))
            or not isinstance(log, bool)
        ):
            return 'a range must be {"low": number, "high": number, "log": True or False}.'
        if low > high or (log and low <= 0):
            return f"the range from {low} to {high}{' on a logarithmic scale' if log else ''} is empty."
        return ""
    if not isinstance(dimension, (list, tuple)) or not dimension:
        return "it must be a list of choices or a range."
    texts = [_text_of(choice) for choice in dimension]
    return "a choice is listed twice." if len(set(texts)) < len(texts) else ""


def _misdescribed(spec: ModelSpec, name: str, problem: str) -> UsageError:
    return UsageError(
        f"{spec.id}: the search space in its plugin is invalid at '{name}': {problem}",
        hint="Report it to the plugin's author, or search other settings with --search.",
    )
