"""Training settings and phases of a network in a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from zoo.data.phases import Phase, phase_recipe
from zoo.errors import UsageError, nearest
from zoo.paths import user_path
from zoo.phase_text import read_phases
from zoo.plan.overrides import PHASES
from zoo.plan.parts import check_auxiliary, resolve_parts
from zoo.plan.phases import budget_phases_of, make_phases, phases_epochs
from zoo.plan.recipes import try_population
from zoo.plan.request import Request
from zoo.plan.settings import LATER, SETTING_NAMES, TrainingSettings
from zoo.plan.shared import OnData, Shared
from zoo.plurals import counted
from zoo.specs import ModelSpec
from zoo.weights.start import resolve_init

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.lensing.scenes import Scenes

PhasesOf: TypeAlias = Callable[[int, bool], tuple[Phase, ...]]
"""Number of epochs, and whether phases of the budget hold where the request states none -> phases of a training."""


def stated_training(host: Host, settings: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Return the training settings among these.

    Raises:
        UsageError: Initial weights were not found, or the number of epochs is not that of the phases.
    """
    given = {name: settings[name] for name in SETTING_NAMES if name in settings}
    if "init" in given:
        given["init"] = resolve_init(host, given["init"], store=user_path(request.store))
    auxiliary = given.get("auxiliary")
    if "auxiliary" in given and auxiliary in ("none", None):
        given["auxiliary"] = ""
    elif isinstance(auxiliary, str):
        from zoo.data.targets import one_spelling

        given["auxiliary"] = ",".join(map(one_spelling, auxiliary.split(",")))
    epochs = phases_epochs(settings)
    if epochs is not None and given.setdefault("epochs", epochs) != epochs:
        raise UsageError(
            f"epochs={given['epochs']} and {PHASES}={settings[PHASES]!r}, which has {counted(epochs, 'epoch')} in all.",
            hint="Leave out epochs: the phases state their number.",
        )
    return given


def training_settings(shared: Shared, data: OnData, model: ModelSpec) -> TrainingSettings | None:
    """Return the settings of a training, checked; None of a network that fits itself.

    Raises:
        UsageError: A setting is unknown or impossible on this data set.
    """
    for name in {*model.training} - {*SETTING_NAMES}:
        raise UsageError(
            f"{model.id}: its plugin sets '{name}', which is not a training setting.{nearest(name, SETTING_NAMES)}",
            hint="Report this to its author, or leave the model out.",
        )
    if model.fits_itself:
        return None
    stated = shared.training[model.id]
    given = {**model.training, **shared.budget.training, **stated}
    settings = TrainingSettings(**resolve_parts(shared.host, given, task=data.asked.name))
    if settings.auxiliary:
        check_auxiliary(settings, data.scenes, question=data.task.question, data=data.dataset.id)
    elif settings.auxiliary_weight != (usual := LATER["auxiliary_weight"]):
        if "auxiliary_weight" in stated:
            raise UsageError(
                f"auxiliary_weight={settings.auxiliary_weight:g} has no use in a training without auxiliary truths.",
                hint="Leave it out, or name truths: --set auxiliary=NAME",
            )
        settings = replace(settings, auxiliary_weight=usual)  # that of the plugin, for truths that were switched off
    if settings.label_smoothing and not data.task.smooths_labels:
        if "label_smoothing" in stated:
            raise UsageError(
                f"label_smoothing={settings.label_smoothing:g} has no use for the task {data.asked.name}, whose loss "
                "is not a cross entropy.",
                hint="Leave it out.",
            )
        settings = replace(settings, label_smoothing=0.0)  # that of the plugin, for classification
    if settings.new_noise:
        _check_new_noise(shared, data)
    return settings


def phases_of_model(
    shared: Shared,
    data: OnData,
    model: ModelSpec,
    settings: TrainingSettings | None,
    phases_of: PhasesOf,
) -> tuple[Phase, ...]:
    """Return the phases of a network's training; note where it could start from its bundled classifier, or has none
    of the budget because it starts from weights.

    Args:
        shared, data: What the cells share.
        model: Spec of the network.
        settings: Its settings; None of a network that fits itself, which has no phases.
        phases_of: `data_phases` of the data set.
    """
    if settings is None:
        return ()
    question, dataset = data.task.question, data.dataset
    if question.targets and not settings.init and dataset.budget_phases and dataset.name in model.weights:
        shared.note(
            f"{model.id} starts from random weights; to start from those of its bundled classifier: "
            f"--set init={model.name}.{dataset.name}"
        )
    # Those of a budget make classes easier to separate, and estimated truths easier to see, which is useless where a
    # task trains on some classes, and for a start from other weights.
    useless = (question.trained_on and not question.targets) or settings.init
    of_budget = not data.images and (bool(shared.of_training_images) or not useless)
    if (
        settings.init
        and not data.images
        and budget_phases_of(
            dataset, data.recipe, settings=shared.settings, budget=shared.budget, epochs=settings.epochs
        )
    ):
        shared.note(
            f"the phases of budget {shared.budget.name} on {dataset.id} are left out for {model.id}, which starts from "
            "weights; they can be given: --set train.phases=..."
        )
    phases = phases_of(settings.epochs, of_budget)
    for phase in phases if settings.new_noise else ():
        scenes = try_population(shared.host, dataset, phase_recipe(dataset, data.recipe, phase))
        if scenes is not None:
            _check_scaling(scenes, hint="the scaling of these training images (train.scaling, train.phases)")
    return phases


def data_phases(shared: Shared, data: OnData, epochs: int, of_budget: bool) -> tuple[Phase, ...]:
    """Return the phases of a training on a data set, and note how many of the budget are left out.

    Args:
        shared, data: What the cells share.
        epochs: Number of epochs.
        of_budget: Whether those of the budget hold where the request states none.
    """
    dataset, budget = data.dataset, shared.budget
    settings = shared.settings if of_budget else {**shared.settings, PHASES: ""}
    if text := budget_phases_of(dataset, data.recipe, settings=settings, budget=budget, epochs=epochs):
        declared, kept = (len(read_phases(each, of=PHASES)) for each in (dataset.budget_phases[budget.name], text))
        if kept < declared:
            shared.note(
                f"{dataset.id}: a training of {counted(epochs, 'epoch')} has {kept} of the {declared} phases of budget "
                f"{budget.name}; the others would have less than an epoch"
            )
    return make_phases(shared.host, dataset, data.recipe, settings=settings, budget=budget, epochs=epochs)


def _check_scaling(scenes: Scenes, *, hint: str) -> None:
    """Refuse new noise in every epoch for images that are scaled by their noise.

    Raises:
        UsageError: They are scaled.
    """
    if (scaling := scenes.exposure.scaling) != "none":
        raise UsageError(
            f"new_noise=true: images with scaling {scaling} are scaled by their own noise, which cannot be drawn anew.",
            hint=f"Leave out new_noise, or {hint}",
        )


def _check_new_noise(shared: Shared, data: OnData) -> None:
    """Refuse new noise for images that have theirs already.

    Raises:
        UsageError: The images exist already, or are streamed, scaled by their noise, or have channels that are
            computed from them.
    """
    folder, channels = shared.request.images, data.recipe.channels
    if not data.dataset.simulated or folder is not None:
        what = data.dataset.id if folder is None else f"--images {folder}"
        raise UsageError(f"new_noise=true: the images of {what} contain noise already.", hint="Leave out new_noise.")
    if data.scenes is not None:
        _check_scaling(data.scenes, hint="set data.scaling=none")
    if channels:
        raise UsageError(
            f"new_noise=true: {', '.join(channels)} would have to be computed again in every epoch.",
            hint="Leave out new_noise, or data.channels",
        )
    if shared.settings.get("stream", False):
        raise UsageError(
            "new_noise=true and a stream, whose images are new in every epoch.", hint="Leave out one of the two."
        )
