"""Parameters of the training images alone: `--set train.NAME=VALUE`, and `--set train.phases=...` for a curriculum.

A phase is written NAME=VALUE*EPOCHS, or NAME=VALUE NAME=VALUE*EPOCHS, or EPOCHS alone for images as validation and test
images are. Commas separate phases: "snr=U(10, 90)*3, snr=30*6".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.data.about import all_params
from zoo.data.phases import Phase
from zoo.data.recipe import canonical_json
from zoo.errors import UsageError, nearest
from zoo.plan.overrides import PHASES, TRAIN, data_params, parse_value
from zoo.plan.recipes import make_recipe, try_population
from zoo.plurals import counted

if TYPE_CHECKING:
    from zoo.budgets import Budget
    from zoo.data.recipe import Recipe
    from zoo.host import Host
    from zoo.specs import DatasetSpec

_EXAMPLE = "For example: --set 'train.phases=snr=U(10,90)*3, snr=30*6'"


def phases_epochs(settings: Mapping[str, Any]) -> int | None:
    """Return the number of epochs of all phases together; None where `train.phases` is not given.

    Raises:
        UsageError: The phases cannot be read.
    """
    return sum(epochs for epochs, _ in _read(settings[PHASES])) if PHASES in settings else None


def make_phases(
    host: Host,
    dataset: DatasetSpec,
    recipe: Recipe,
    *,
    settings: Mapping[str, Any],
    budget: Budget,
    epochs: int,
) -> tuple[Phase, ...]:
    """Return the phases of a training; none where its images have the parameters of validation and test images.

    Args:
        host: The plugins.
        dataset: Spec of the data set.
        recipe: Recipe of validation and test images.
        settings: Settings of all models.
        budget: Budget, which sets parameters that no setting states.
        epochs: Number of epochs of the training.

    Raises:
        UsageError: The data set is not simulated, a parameter is unknown or impossible, or the images of a phase have
            another size.
    """
    names = [name for name in settings if name.startswith(TRAIN)]
    if not names:
        return ()
    if not dataset.simulated:
        raise UsageError(
            f"--set {names[0]}: {dataset.id} consists of stored images, of which none can be made for the training.",
            hint="Leave it out; which data sets are simulated: zoo list-datasets",
        )
    shared = {name.removeprefix(TRAIN): settings[name] for name in names if name != PHASES}
    parts = _read(settings[PHASES]) if PHASES in settings else [(epochs, {})]
    own = all_params(dataset, recipe.params)
    found = []
    for count, changed in parts:
        of_phase = _phase_params(host, dataset, recipe, changed={**shared, **changed}, settings=settings, budget=budget)
        found.append((count, of_phase))
    differing = [name for name in own if any(_differ(params[name], own[name]) for _, params in found)]
    phases: list[Phase] = []
    for count, params in found:
        kept = {name: params[name] for name in differing}
        if phases and not _differ(dict(phases[-1].params), kept):
            count += phases.pop().epochs
        phases.append(Phase(epochs=count, params=kept))
    return tuple(phases) if differing else ()


def _phase_params(
    host: Host,
    dataset: DatasetSpec,
    recipe: Recipe,
    *,
    changed: Mapping[str, Any],
    settings: Mapping[str, Any],
    budget: Budget,
) -> dict[str, Any]:
    """Return all parameters of the training images of a phase, which can be drawn and have the size of the others."""
    for name in changed:
        if name not in dataset.params:
            raise UsageError(
                f"--set {TRAIN}{name}: {dataset.id} has no parameter of this name.{nearest(name, dataset.params)}",
                hint=f"Its parameters: zoo show {dataset.id}",
            )
        if name in dataset.paths:
            raise UsageError(
                f"--set {TRAIN}{name}: this path is the same for training, validation and test images.",
                hint=f"Write: --set data.{name}=...",
            )
    mine = {**settings, **{f"data.{name}": value for name, value in changed.items()}}
    of_phase = make_recipe(
        host,
        dataset,
        params=data_params(dataset, budget, mine),
        simulator=recipe.simulator or "",
        device=recipe.device_type,
        seed=recipe.seed,
    )
    try_population(host, dataset, of_phase)
    build = registry.load_target(dataset)
    params = all_params(dataset, of_phase.params)
    sizes = [build(**each).instrument.image_size for each in (params, all_params(dataset, recipe.params))]
    if sizes[0] != sizes[1]:
        raise UsageError(
            f"Training images of {sizes[0]} x {sizes[0]} pixels for test images of {sizes[1]} x {sizes[1]}.",
            hint="Set the size for all images: --set data.NAME=VALUE",
        )
    return params


def _read(value: Any) -> list[tuple[int, dict[str, Any]]]:
    """Return number of epochs and parameters of each phase in the value of `train.phases`."""
    texts = [str(each) for each in value] if isinstance(value, (list, tuple)) else _split(str(value), ",")
    return [_read_phase(text.strip()) for text in texts]


def _read_phase(text: str) -> tuple[int, dict[str, Any]]:
    """Return number of epochs and parameters of "NAME=VALUE NAME=VALUE*EPOCHS"."""
    given, _, count = text.rpartition("*")
    if not re.fullmatch(r"\s*[1-9]\d{0,5}\s*", count):
        raise UsageError(
            f"{PHASES}: {text!r} does not end with its number of epochs, such as *3.",
            hint=_EXAMPLE,
        )
    params: dict[str, Any] = {}
    for pair in _split(re.sub(r"\s*=\s*", "=", given), " "):
        name, equals, of_name = pair.partition("=")
        if not equals or not name or not of_name:
            raise UsageError(f"{PHASES}: {pair!r} is not of the form NAME=VALUE.", hint=_EXAMPLE)
        if name in params:
            raise UsageError(f"{PHASES}: {name} is given twice for {counted(int(count), 'epoch')}.", hint=_EXAMPLE)
        params[name] = parse_value(of_name, of=f"{PHASES}: {name}")
    return int(count), params


def _split(text: str, separator: str) -> list[str]:
    """Return the parts of a text between separators outside of brackets, without empty ones."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def _differ(first: Any, second: Any) -> bool:
    """Whether two values make different recipes."""
    return canonical_json(first) != canonical_json(second)
