"""Parameters of the training images alone: `--set train.NAME=VALUE`, and `--set train.phases=...` for a curriculum.

Where neither is given, the phases that a data set declares for the budget hold (`DatasetSpec.budget_phases`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.data.about import all_params
from zoo.data.phases import Phase, budget_phases
from zoo.data.recipe import differ
from zoo.errors import UsageError, nearest
from zoo.phase_text import read_phases
from zoo.plan.overrides import PHASES, TRAIN, data_params, of_training_images
from zoo.plan.recipes import make_recipe, try_population

if TYPE_CHECKING:
    from zoo.budgets import Budget
    from zoo.data.recipe import Recipe
    from zoo.host import Host
    from zoo.specs import DatasetSpec


def phases_epochs(settings: Mapping[str, Any]) -> int | None:
    """Return the number of epochs of all phases together; None where `train.phases` is not given.

    Raises:
        UsageError: The phases cannot be read.
    """
    if PHASES not in of_training_images(settings):
        return None
    phases = read_phases(settings[PHASES], of=PHASES)
    if not phases:
        raise UsageError(f"{PHASES}={settings[PHASES]!r} holds no phase.", hint=f"Without phases: --set {PHASES}=none")
    return sum(phase.epochs for phase in phases)


def make_phases(
    host: Host,
    dataset: DatasetSpec,
    recipe: Recipe,
    *,
    settings: Mapping[str, Any],
    budget: Budget,
    epochs: int,
) -> tuple[Phase, ...]:
    """Return the phases of a training: those of the settings, else those that the data set declares for the budget.

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
    text = budget_phases_of(dataset, recipe, settings=settings, budget=budget, epochs=epochs)
    if not text:
        return _given_phases(host, dataset, recipe, settings=settings, budget=budget, epochs=epochs)
    try:
        return _given_phases(host, dataset, recipe, settings={**settings, PHASES: text}, budget=budget, epochs=epochs)
    except UsageError as error:
        raise UsageError(
            f"The phases of budget {budget.name}, {text}: {error.args[0]}",
            hint="To train without them: --set train.phases=none",
        ) from error


def budget_phases_of(
    dataset: DatasetSpec, recipe: Recipe, *, settings: Mapping[str, Any], budget: Budget, epochs: int
) -> str:
    """Return the text of the phases of the budget; "" where they do not hold or the settings state others or none."""
    if PHASES in settings or of_training_images(settings):
        return ""
    return budget_phases(dataset, recipe, budget.name, epochs=epochs)


def _given_phases(
    host: Host,
    dataset: DatasetSpec,
    recipe: Recipe,
    *,
    settings: Mapping[str, Any],
    budget: Budget,
    epochs: int,
) -> tuple[Phase, ...]:
    """Return the phases of the settings; none where all images have the parameters of validation and test images."""
    names = of_training_images(settings)
    if not names:
        return ()
    if not dataset.simulated:
        raise UsageError(
            f"--set {names[0]}: {dataset.id} consists of stored images, of which none can be made for the training.",
            hint="Leave it out; which data sets are simulated: zoo list-datasets",
        )
    shared = {name.removeprefix(TRAIN): settings[name] for name in names if name != PHASES}
    parts: list[tuple[int, Mapping[str, Any]]] = [(epochs, {})]
    if PHASES in names:
        parts = [(phase.epochs, phase.params) for phase in read_phases(settings[PHASES], of=PHASES)]
    own = all_params(dataset, recipe.params)
    found = []
    for count, changed in parts:
        of_phase = _phase_params(host, dataset, recipe, changed={**shared, **changed}, settings=settings, budget=budget)
        found.append((count, of_phase))
    differing = [name for name in own if any(differ(params[name], own[name]) for _, params in found)]
    phases: list[Phase] = []
    for count, params in found:
        kept = {name: params[name] for name in differing}
        if phases and not differ(dict(phases[-1].params), kept):
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
    """Return all parameters of the training images of a phase, which can be drawn and have the size of the others.

    Raises:
        UsageError: A parameter is unknown or impossible, or the images have another size.
    """
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
