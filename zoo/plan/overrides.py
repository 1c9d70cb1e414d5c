"""Settings as a user gives them: which model or data set each is for, what is refused, and what wins over what."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.budgets import Budget
from zoo.data.channels import SETTING as CHANNELS
from zoo.data.recipe import SPLITS, canonical_json
from zoo.errors import UsageError, nearest
from zoo.phase_text import NO_PHASES
from zoo.plain_values import parse_value
from zoo.plan.settings import SETTING_NAMES
from zoo.specs import DatasetSpec, ModelSpec

SIZE_SETTINGS = {f"{split}_images": split for split in SPLITS}
TRAIN, PHASES = "train.", "train.phases"
SHARED_OWNERS = ("", "data", "model", "train")
"""Prefixes of settings that are for all models, before the last dot."""


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """Read `--set NAME=VALUE`; a value is JSON where it can be, text where not.

    Raises:
        UsageError: A pair does not have a name or "=", or a name is given twice.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(
                f"--set {pair!r} is not of the form NAME=VALUE.",
                hint="For example: --set lr=3e-4 --set data.snr=50",
            )
        if name in settings:
            raise UsageError(f"--set {name} is given twice.")
        settings[name] = parse_value(text, of=f"--set {pair!r}")
    return settings


def by_model(
    settings: Mapping[str, Any], models: Sequence[ModelSpec]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Split settings into those of all models, and model id -> those that are given for it as "MODEL.NAME".

    MODEL is a name, an id or a wildcard; of several that fit a model, the last one given holds.

    Raises:
        UsageError: No model of the request matches, or the model lacks the setting.
    """
    shared: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {model.id: {} for model in models}
    for key, value in settings.items():
        prefix, _, name = str(key).rpartition(".")
        if prefix in SHARED_OWNERS:
            shared[key] = value
            continue
        pattern, hparam = prefix.removesuffix(".model").lower(), prefix.endswith(".model")
        chosen = [model for model in models if matches(pattern, model.id, model.name)]
        if not chosen:
            names = [text for model in models for text in (model.id, model.name)] + list(filter(None, SHARED_OWNERS))
            raise UsageError(
                f"--set {key}: no model of this plan is called '{pattern}'.{nearest(pattern, names)}",
                hint=f"Its models: {', '.join(model.id for model in models)}. Parameters of the data are data.NAME, of "
                "the training images train.NAME; settings of one model MODEL.NAME.",
            )
        for model in chosen:
            training = name in SETTING_NAMES and not hparam and name != "stream"
            if training and model.fits_itself and name not in model.defaults:
                raise UsageError(f"--set {key}: {model.id} fits itself, so no training setting applies to it.")
            if not training and name not in model.defaults:
                if name == "stream" and not hparam:
                    raise UsageError(
                        f"--set {key}: a stream is for all models of a plan.", hint="Write: --set stream=true"
                    )
                known = [*model.defaults, *SETTING_NAMES]
                raise UsageError(f"--set {key}: {model.id} has no setting '{name}'.{nearest(name, known)}")
            own[model.id][name if training and not model.fits_itself else f"model.{name}"] = value
    return shared, own


def matches(pattern: str, *names: str) -> bool:
    """Return whether one of the names is the pattern or matches its wildcards; case does not count."""
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for name in names)


def hparam(settings: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return the value given for "model.NAME", or for the bare name where that is not a training setting."""
    bare = default if name in SETTING_NAMES or name in SIZE_SETTINGS else settings.get(name, default)
    return settings.get(f"model.{name}", bare)


_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("true or false", (bool,)),
    ("a number", (int, float)),
    ("a list", (list, tuple)),
    ("a mapping", (Mapping,)),
)
"""Kinds of values; bool stands first, since it is a kind of int."""


def typed_hparams(model: ModelSpec, hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters with equal numbers in one spelling; refuse those of another kind than their defaults.

    A text as default, such as "auto", may stand for other values, and None may switch a part off: both say nothing of
    the kind. A whole number is a number, and 1.0 where the default has a fraction.

    Raises:
        UsageError: One of these.
    """
    for name, value in hparams.items():
        wanted = _kind(model.defaults[name])
        if wanted and value is not None and _kind(value) != wanted:
            raise UsageError(
                f"{model.id}: {name}={value!r} must be {wanted}, as its default {model.defaults[name]!r} is.",
                hint=f"See: zoo show {model.id}",
            )
    return {name: _as_number(value, model.defaults[name]) for name, value in hparams.items()}


def _as_number(value: Any, default: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and isinstance(default, float)
    return value + 0.0 if whole or isinstance(value, float) else value  # 0.0 for -0.0, too


def _kind(value: Any) -> str:
    return next((words for words, types in _KINDS if isinstance(value, types)), "")


def data_params(dataset: DatasetSpec, budget: Budget | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data set's parameters: its defaults, then what it sets for the budget, then the user's."""
    given = {name.removeprefix("data."): value for name, value in settings.items() if name.startswith("data.")}
    chosen = dataset.budgets.get(budget.name, {}) if budget is not None else {}
    return merge_params(dataset, chosen, given)


def merge_params(dataset: DatasetSpec, chosen: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data set's parameters: its defaults, then the chosen ones, then the user's.

    Args:
        dataset: Spec of the data set.
        chosen: Values that a budget or an earlier training set; one of them is left out where the user states the same
            in another way, see `DatasetSpec.yields`.
        given: Values that the user stated.
    """
    kept = {name: value for name, value in chosen.items() if not given.keys() & set(dataset.yields.get(name, ()))}
    return {name: given.get(name, kept.get(name, default)) for name, default in dataset.params.items()}


def check_plain(settings: Mapping[str, Any]) -> None:
    """Refuse what JSON cannot hold.

    Raises:
        UsageError: A name is not a text, or a value is not a finite number, text or list of them.
    """
    for name, value in settings.items():
        if not isinstance(name, str):
            raise UsageError(f"The name of a setting is not a text: {name!r}.")
        try:
            canonical_json(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}={value!r:.60} is not a finite number, a text or a list of them.") from error


def of_training_images(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the settings that give training images parameters of their own.

    `train.phases` is left out where it is empty: it switches the phases of the budget off.
    """
    return [
        name
        for name, value in settings.items()
        if name.startswith(TRAIN) and not (name == PHASES and value in (*NO_PHASES, [], ()))
    ]


def check_own_fits(models: Sequence[ModelSpec], settings: Mapping[str, Any]) -> None:
    """Refuse settings that networks which fit themselves cannot follow.

    Settings of the training loop, such as `lr`, are for the other networks of the request.

    Raises:
        UsageError: A stream, initial weights, other training images, or a setting that no network of the request uses.
    """
    names = [model.id for model in models if model.fits_itself]
    if not names:
        return
    fit = f"{', '.join(names)} {'fits itself' if len(names) == 1 else 'fit themselves'}"
    if settings.get("stream"):
        raise UsageError(
            f"{fit} to stored training images, which a stream does not have.",
            hint="Leave out --stream, or bench these models by themselves.",
        )
    if settings.get("init"):
        raise UsageError(f"{fit} and cannot start from weights.", hint="Leave out init, or bench them by themselves.")
    if changed := of_training_images(settings):
        raise UsageError(
            f"--set {changed[0]}: {fit} to the training images of the data set.",
            hint="Leave it out, or bench these models by themselves.",
        )
    unused = [name for name in SETTING_NAMES if name in settings and len(names) == len(models)]
    if unused:
        own = any(unused[0] in model.defaults for model in models)
        hint = f"The hyper-parameter: --set model.{unused[0]}=..." if own else f"See: zoo show {names[0]}"
        raise UsageError(f"--set {unused[0]}: {fit}, so no training setting applies.", hint=hint)


def check_names(settings: Mapping[str, Any], models: Sequence[ModelSpec], datasets: Sequence[DatasetSpec]) -> None:
    """Refuse settings that nothing in the request accepts.

    Raises:
        UsageError: A name is unknown (the error contains the nearest valid one), or a hyper-parameter is given twice.
    """
    data_names = {f"data.{name}" for spec in datasets for name in spec.params}
    model_names = {name for spec in models for name in spec.defaults}
    known = {
        *SETTING_NAMES,
        *SIZE_SETTINGS,
        *model_names,
        *(f"model.{name}" for name in model_names),
        *data_names,
        *(f"{TRAIN}{name.removeprefix('data.')}" for name in data_names),
        PHASES,
        CHANNELS,
    }
    for name in settings:
        bare = name.removeprefix("model.")
        if name != bare and bare in settings and bare not in SETTING_NAMES:
            raise UsageError(f"--set {bare} and --set {name} are the same hyper-parameter, given twice.")
        if name in known:
            continue
        if name.removeprefix(TRAIN) in SETTING_NAMES:
            bare = name.removeprefix(TRAIN)
            raise UsageError(f"--set {name}: this is a training setting.", hint=f"Write: --set {bare}=...")
        if f"data.{name}" in data_names:
            raise UsageError(f"--set {name}: this is a parameter of the data.", hint=f"Write: --set data.{name}=...")
        if name in ("seed", "seeds"):
            raise UsageError(f"--set {name}: seeds have an option of their own.", hint="Write: --seeds 0,1,2")
        where = " or ".join(spec.id for spec in [*models, *datasets])
        of_data, of_model = name.startswith(("data.", TRAIN)), name.startswith("model.")
        asked = [*([] if of_data else models[:1]), *([] if of_model else datasets[:1])]
        raise UsageError(
            f"--set {name}: no setting of {where} has this name.{nearest(name, known)}",
            hint=f"See: {', '.join(f'zoo show {spec.id}' for spec in asked)}",
        )
