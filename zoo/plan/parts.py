"""Augmentation, loss and optimiser of a training, from names that users type to what a cell keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import UsageError, nearest
from zoo.plan.settings import BUILT_IN, TrainingSettings
from zoo.specs import AugmentationSpec, LossSpec, ModelSpec, OptimizerSpec, Spec

if TYPE_CHECKING:
    from torch import nn

    from zoo.data.question import Question
    from zoo.data.recipe import Recipe
    from zoo.host import Host
    from zoo.lensing.scenes import Scenes
    from zoo.results.cell import Cell

KINDS: Mapping[str, type[Spec]] = {"augment": AugmentationSpec, "optimizer": OptimizerSpec, "loss": LossSpec}
"""Setting -> kind of its specs."""


def resolve_parts(host: Host, training: Mapping[str, Any], *, task: str) -> dict[str, Any]:
    """Return training settings with the parts of plugins as "ID@VERSION".

    Args:
        host: The plugins.
        training: Settings of the training.
        task: Name of the task.

    Raises:
        UsageError: A name is unknown, a loss is for other tasks, or smoothing is asked of it.
        MissingError: The plugin of a part is absent.
    """
    resolved = dict(training)
    for name in [each for each in KINDS if each in training]:
        value = training[name]
        if value in BUILT_IN[name] or value in ("", None):
            built_in = name == "augment" and value
            resolved[name] = value if built_in else ("d4" if name == "augment" else "")
            continue
        spec = find_part(host, name, value)
        resolved[name] = f"{spec.id}@{spec.version}"
        if isinstance(spec, LossSpec):
            if task not in spec.tasks:
                raise UsageError(f"loss={spec.id} trains {', '.join(spec.tasks)}, not {task}.", hint="Leave out loss.")
            if training.get("label_smoothing"):
                raise UsageError(
                    f"loss={spec.id} and label_smoothing, which is a setting of the cross entropy.",
                    hint="Leave out one of the two.",
                )
    return resolved


def check_auxiliary(settings: TrainingSettings, scenes: Scenes | None, *, question: Question, data: str) -> None:
    """Refuse auxiliary truths that the training images will not have.

    Args:
        settings: Settings of a training with auxiliary truths.
        scenes: Some scenes of the data set; None where images exist already, whose truths are checked by the training.
        question: Labels, and the images that may be trained on.
        data: Id of the data set.

    Raises:
        UsageError: A truth is not stored, turns with the image, or is undefined or the same for all images that may be
            trained on; it is named twice, or estimated by the task; their weight is 0; or the training images are
            streamed.
    """
    names = settings.auxiliary_names
    if settings.auxiliary_weight == 0:
        raise UsageError(
            f"auxiliary={settings.auxiliary} has no use with auxiliary_weight=0.", hint="Leave out one of the two."
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"auxiliary={settings.auxiliary} names {', '.join(twice)} twice.", hint="Name it once.")
    if asked := [name for name in names if name in question.targets]:
        raise UsageError(
            f"auxiliary={', '.join(asked)} is estimated by the task already.", hint="Leave it out of auxiliary."
        )
    if settings.stream:
        raise UsageError(
            f"auxiliary={settings.auxiliary} needs stored truths; a stream keeps the labels only.",
            hint="Leave out one of the two. Stored images with new noise: --set new_noise=true",
        )
    if scenes is not None:
        from zoo.data.targets import truth_names
        from zoo.data.truth import truth_arrays

        known = _differing(truth_names(scenes.parameters, truth_arrays(scenes)), scenes, question=question, data=data)
        if same := [name for name in names if name not in _differing(names, scenes, question=question, data=data)]:
            raise UsageError(
                f"auxiliary={', '.join(same)} is undefined, or the same, for all images of {data} that may be trained "
                "on.",
                hint=f"Those that differ: {', '.join(known)}",
            )


def check_truths(
    model: ModelSpec, hparams: Mapping[str, Any], scenes: Scenes, *, question: Question, data: str
) -> None:
    """Refuse truths for a network's own fit from which it could learn nothing.

    Args:
        model: Spec of the network.
        hparams: Its hyper-parameters.
        scenes: Some scenes of the data set.
        question: Labels, and the images that may be trained on.
        data: Id of the data set.

    Raises:
        UsageError: A hyper-parameter is not a list of names; or a truth is not stored or turns with the image; or each
            is undefined, or the same, for all images that may be trained on.
    """
    for key in model.truths:
        names = hparams[key]
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise UsageError(
                f"{key}={names!r} of {model.id} must be a list of names of stored truths.",
                hint=f"""For example: --set 'model.{key}=["shear"]'""",
            )
        if not _differing(names, scenes, question=question, data=data):
            from zoo.data.targets import truth_names
            from zoo.data.truth import truth_arrays

            known = truth_names(scenes.parameters, truth_arrays(scenes))
            others = _differing(known, scenes, question=question, data=data)
            raise UsageError(
                f"{', '.join(names)}: each is undefined, or the same, for all images of {data} that {model.id} may be "
                "trained on.",
                hint=f"Those that differ: {', '.join(others)}" if others else "No other stored truth differs, either.",
            )


def _differing(names: Sequence[str], scenes: Scenes, *, question: Question, data: str) -> list[str]:
    """Return the truths that are not the same for all scenes that may be trained on."""
    import numpy as np

    from zoo.data.targets import target_values
    from zoo.data.truth import truth_arrays

    values = target_values(names, parameters=scenes.parameters, truth=truth_arrays(scenes), data=data)
    seen = values[np.isin(question.labels(scenes.label), question.allowed)]
    known = {name: column[np.isfinite(column)] for name, column in zip(names, seen.T, strict=True)}
    return [name for name, some in known.items() if len(some) and np.ptp(some) > 1e-9 * abs(some[0])]


def check_brought(network: nn.Module, settings: TrainingSettings, *, model: str) -> None:
    """Refuse parts of a training that a network brings itself.

    Args:
        network: The network.
        settings: Settings of its training.
        model: Id of the network.

    Raises:
        UsageError: It brings its own loss or optimisers.
    """
    from zoo.models.own_training import has_loss, trains_in_turns

    turns = trains_in_turns(network)
    own_loss = has_loss(network) or turns
    for name, brings, what in (
        ("loss", own_loss, "loss"),
        ("label_smoothing", own_loss, "loss"),
        ("auxiliary", own_loss, "loss"),
        ("optimizer", turns, "optimisers"),
    ):
        value = getattr(settings, name)
        if value and brings:
            raise UsageError(f"{model} brings its own {what}; {name}={value} has no use.", hint=f"Leave out {name}.")


def find_part(host: Host, name: str, value: Any) -> Spec:
    """Return the spec of a plugin's part of a training.

    Args:
        host: The plugins.
        name: Setting, one of `KINDS`.
        value: Id, bare name, or "ID@VERSION" as a cell keeps it.

    Raises:
        UsageError: The name is unknown, or the installed version is another one.
        MissingError: The plugin of the part is absent.
    """
    kind = KINDS[name]
    text, _, version = str(value).partition("@")
    known = [*BUILT_IN[name], *(part for spec in host.specs_of(kind) for part in (spec.id, spec.name))]
    if "/" not in text and text.lower() not in [one.lower() for one in known]:
        raise UsageError(
            f"{name}={value!r} is not one of {', '.join(sorted(set(known)))}.{nearest(text, known)}",
            hint="Plugins may register more: docs/plugins.md",
        )
    spec = registry.find(host, kind, text)
    if version and version != str(spec.version):
        raise UsageError(
            f"{name}={value!r}: the installed version of {spec.id} is {spec.version}.",
            hint="Install the plugin that the training was planned with.",
        )
    return spec


def taking_part(*, model: str, recipe: Recipe, training: Mapping[str, Any], task: str) -> list[str | None]:
    """Return the ids of all that takes part in a training and its scores; arguments are fields of the cell."""
    parts = [str(training[name]).partition("@")[0] for name in KINDS if "@" in str(training.get(name, ""))]
    # A plugin's task is stated by its id, one of the core without a namespace.
    of_plugin = [name for name in (task.partition(":")[0],) if "/" in name]
    return [model, *recipe.plugins, *parts, *of_plugin]


def ids_of(cell: Cell) -> list[str | None]:
    """Return the ids of all that takes part in a cell."""
    return taking_part(model=cell.model, recipe=cell.recipe, training=cell.training, task=cell.task)
