"""Phases of a training: epochs whose training images have other parameters than validation and test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from zoo.data.about import all_params, recorded_params, typed_params
from zoo.data.recipe import Recipe, differ
from zoo.errors import DataError
from zoo.phase_text import read_phases, scale_phases
from zoo.plurals import counted
from zoo.schema import Count

if TYPE_CHECKING:
    from zoo.specs import DatasetSpec


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Consecutive epochs of a training whose images have the same parameters.

    Args:
        epochs: Number of epochs.
        params: Value of each parameter of the data set that a phase of the training changes.

    Raises:
        DataError: There are no epochs.
    """

    epochs: Count
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise DataError(f"A phase of {counted(self.epochs, 'epoch')} trains nothing.")


def last_epochs(phases: Sequence[Phase]) -> list[int]:
    """Return the last epoch of each phase, counted from 1."""
    return [sum(phase.epochs for phase in phases[: number + 1]) for number in range(len(phases))]


def phase_number(phases: Sequence[Phase], epoch: int) -> int | None:
    """Return the number of the phase that an epoch belongs to, both counted from 1; None without phases."""
    return next((number for number, last in enumerate(last_epochs(phases), start=1) if epoch <= last), None)


def phase_recipe(dataset: DatasetSpec, recipe: Recipe, phase: Phase) -> Recipe:
    """Return the recipe of a phase's training images.

    Seed and stream are those of the recipe's own training images, so no phase contains a scene of another split.

    Args:
        dataset: Spec of the data set.
        recipe: Recipe of validation and test images.
        phase: Phase of the training.
    """
    params = {**all_params(dataset, recipe.params), **phase.params}
    return replace(recipe, params=recorded_params(dataset, params))


def budget_phases(dataset: DatasetSpec, recipe: Recipe, budget: str, *, epochs: int) -> str:
    """Return the text of the phases that a data set declares for a budget, scaled to a number of epochs.

    They hold only for the images that they lead to: where a parameter that they change, or one that states the same in
    another way (`DatasetSpec.yields`), has another value than the budget sets, the text is empty.

    Args:
        dataset: Spec of the data set.
        recipe: Recipe of validation and test images.
        budget: Name of the budget.
        epochs: Number of epochs of the training.
    """
    text = dataset.budget_phases.get(budget, "")
    if not text:
        return ""
    changed = {name for phase in read_phases(text, of="budget_phases") for name in phase.params}
    groups = [{name, *others} for name, others in dataset.yields.items()]
    decisive = changed.union(*(group for group in groups if group & changed))
    params = all_params(dataset, recipe.params)
    usual = typed_params(dataset, {**dataset.params, **dataset.budgets.get(budget, {})})
    # A recipe of an earlier version may lack a parameter.
    other = any(differ(params.get(name, usual[name]), usual[name]) for name in decisive)
    return "" if other else scale_phases(text, epochs)


def describe_phases(phases: Sequence[Phase]) -> str:
    """Return "snr U(10, 90) for 3 epochs, then 30 for 6", or "" without phases."""
    parts = []
    for number, phase in enumerate(phases):
        named = number == 0 or len(phase.params) > 1
        epochs = counted(phase.epochs, "epoch") if number == 0 else f"{phase.epochs:,}"
        parts.append(f"{describe_params(phase.params, named=named)} for {epochs}")
    return ", then ".join(parts)


def describe_params(params: Mapping[str, Any], *, named: bool = True) -> str:
    """Return "depth 4, snr 50", or the values alone; None, which leaves a value to the data set, is its default."""
    default = "by default" if named else "the default"
    texts = {
        name: default if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in params.items()
    }
    return ", ".join(f"{name} {text}" if named else text for name, text in texts.items())
