"""Facts for readers about the images of a data set: parameters beside a score, captions, the note of a budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zoo.budgets import BUDGETS
from zoo.data.content import PREFIX
from zoo.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.lensing.priors import Prior
    from zoo.specs import DatasetSpec

UNDECLARED = 4
"""Stored parameters that are shown of a data set that declares none."""


def shown_params(
    dataset: DatasetSpec | None, params: Mapping[str, Any], content: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Return "name value" of the parameters that a reader of a score must know: those declared, and all that changed.

    A changed one has a value of its own, not the default, that of a budget or that of an earlier version.

    Args:
        dataset: Spec of the data set; None where its plugin is not installed: all parameters are shown then.
        params: Parameters of the images.
        content: Digests of files, as `Recipe.content`.
    """
    if dataset is None:
        names = list(params)
    else:
        values = [dataset.params, *dataset.budgets.values(), *dataset.earlier.values()]
        names = [name for name in dataset.shown if params.get(name)]
        names += [
            name
            for name, value in params.items()
            if name not in dataset.shown and value not in [usual[name] for usual in values if name in usual]
        ]
    return [f"{name} {portable(params[name], content.get(name, ''))}" for name in names]


def portable(value: Any, digest: str) -> Any:
    """Return a parameter for readers: of a file or folder, its name and digest in place of a path of this machine."""
    return f"{Path(value).name} ({digest.removeprefix(PREFIX)[:8]})" if digest else value


def shows_lenses(dataset: DatasetSpec | None, *, simulated: bool) -> bool:
    """Return whether images are of strong lenses: simulated, or of a data set with the tag "lens".

    Args:
        dataset: Spec of the data set; None where its plugin is not installed.
        simulated: Whether a simulator made the images.
    """
    return simulated or (dataset is not None and "lens" in dataset.tags)


def changed_note(dataset: DatasetSpec | None, params: Mapping[str, Any]) -> str:
    """Return how images differ from those of the data set as it is, in parameters that a reader must know; "" if not.

    Args:
        dataset: Spec of the data set; None where its plugin is not installed.
        params: Parameters of the images.
    """
    if dataset is None:
        return ""
    changed = []
    for name in dataset.shown or dataset.params:
        if name in params and params[name] != dataset.params[name] and name not in dataset.required:
            meaning = dataset.meanings.get(name)
            changed.append(f"{name} {params[name]}, not {dataset.params[name]}" + (f" ({meaning})" if meaning else ""))
    return "; ".join(changed)


def budget_note(
    budget: str,
    dataset: DatasetSpec | None,
    params: Mapping[str, Any],
    *,
    sizes: Iterable[Mapping[str, int]],
    simulated: bool,
) -> str:
    """Return what a reader must know of a budget to judge scores on a data set; "" for an unknown budget.

    Args:
        budget: Name of the budget.
        dataset: Spec of the data set; None where its plugin is not installed.
        params: Parameters of the images. The data set's own note describes those of the budget: it is left out where
            a parameter that a reader must know has another value.
        sizes: Split -> number of images, of each training. The note on the budget's size is left out where a number
            is not the budget's.
        simulated: Whether a simulator made the images. Of existing images, there may be fewer than a budget asks for,
            and no budget has larger ones: its note on the size is left out.
    """
    own = ""
    if dataset is not None:
        values = dataset.budgets.get(budget, {})
        changed = any(params.get(name) != value for name, value in values.items() if name in dataset.shown)
        own = "" if changed else dataset.budget_notes.get(budget, "")
    size = note = ""
    if budget in BUDGETS:
        chosen = BUDGETS[budget]
        note = chosen.note
        size = chosen.size_note if simulated and all(each == chosen.sizes for each in sizes) else ""
    return "; ".join(filter(None, (note, size, own)))


def defaults_at(dataset: DatasetSpec, version: int) -> dict[str, Any]:
    """Return the defaults of a data set's parameters as they were in a version."""
    return {**dataset.params, **dataset.earlier.get(str(version), {})}


def typed_params(dataset: DatasetSpec, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters in one spelling, since equal values must give the same hash of a recipe.

    This is 1.0 for a 1, "1" or "U(1, 1)" where the default is a number with a fraction or a prior, the default for a
    prior that equals it, "U(1,4)" for "u( 1.0, 4 )" and "1:4", and 0.0 for -0.0.
    """
    return {name: _spelled(value, dataset.params.get(name)) for name, value in params.items()}


def _spelled(value: Any, usual: Any) -> Any:
    if usual is None:  # which may stand for any kind of value: only what can be nothing but a prior is one
        prior = _prior_of(value) if isinstance(value, str) else None
        return value if prior is None or prior.form == "Fixed" else str(prior)
    other = _prior_of(usual) if isinstance(usual, str | float) else None
    prior = None if other is None else _prior_of(value)
    if prior is None:
        return value
    return usual if prior == other else prior.arguments[0] + 0.0 if prior.form == "Fixed" else str(prior)


def _prior_of(value: Any) -> Prior | None:
    from zoo.lensing.priors import parse_prior

    try:
        found = None if value is None or isinstance(value, bool) else parse_prior(value, name="")
    except (UsageError, OverflowError):  # a number of hundreds of digits
        return None
    if found is not None and found.form == "U" and found.arguments[0] == found.arguments[1]:
        return replace(found, form="Fixed", arguments=found.arguments[:1])
    return found


def recorded_params(dataset: DatasetSpec, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that a recipe holds: without those of `DatasetSpec.added` that have their default."""
    return {
        name: value
        for name, value in params.items()
        if name not in dataset.added or type(value) is not type(dataset.params[name]) or value != dataset.params[name]
    }


def all_params(dataset: DatasetSpec, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of the images of a recipe; the inverse of `recorded_params`."""
    return {**{name: dataset.params[name] for name in dataset.added}, **recorded}


def version_note(dataset: DatasetSpec | None, version: int) -> str:
    """Return what a reader must know of images of an earlier version; "" for the installed one.

    Args:
        dataset: Spec of the data set; None where its plugin is not installed.
        version: Version of the data set that the images were made with.
    """
    if dataset is None or version == dataset.version:
        return ""
    later = [dataset.changes[str(number)] for number in range(version + 1, dataset.version + 1)
             if str(number) in dataset.changes]  # fmt: skip
    text = f"of version {version} of {dataset.id}; the installed version is {dataset.version}"
    return f"{text}: {'; '.join(later)}" if later else text


def caption(dataset: DatasetSpec | None, arrays: Mapping[str, NDArray[Any]], index: int) -> str:
    """Return the parameters of an image that are finite, two to a line.

    Args:
        dataset: Spec of the data set; None where its plugin is not installed.
        arrays: "parameter.NAME" -> [N].
        index: Number of the image.
    """
    columns = {name.removeprefix("parameter."): name for name in arrays if name.startswith("parameter.")}
    texts = dataset.captions if dataset is not None else {}
    if not texts:
        texts = {name: f"{name.replace('_', ' ')} {{:.3g}}" for name in sorted(columns)[:UNDECLARED]}
    values = {name: float(arrays[columns[name]][index]) for name in texts if name in columns}
    parts = [texts[name].format(value) for name, value in values.items() if math.isfinite(value)]
    return "\n".join(", ".join(parts[start : start + 2]) for start in range(0, len(parts), 2))
