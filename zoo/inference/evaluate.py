"""Scores trained weights on any data set: on the images they were tested on, on new ones, on those of another kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch

from zoo import registry
from zoo.data.about import defaults_at
from zoo.data.image_groups import ImageGroups
from zoo.data.open import Dataset
from zoo.data.question import Question
from zoo.data.recipe import MOST_IMAGES, SPLITS, Recipe
from zoo.data.rotation import rotate, rotate_quarters
from zoo.data.shards import SHARD_SIZE
from zoo.data.split import Split
from zoo.errors import DataError, UsageError, nearest
from zoo.plain_values import check_seed
from zoo.plan.overrides import merge_params
from zoo.plan.recipes import make_recipe
from zoo.results.tasks import stored_question
from zoo.run.metrics import evaluated
from zoo.scores.finite import not_finite
from zoo.scores.schema import Measures, Scores
from zoo.specs import DatasetSpec
from zoo.tasks.find import task_of_option, task_of_question, tasks_by_name
from zoo.tasks.task import Task

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.models.about import About
    from zoo.models.trained import TrainedClassifier

SHARED = ("image_size", "pixel_scale")
"""Parameters of the data that a network's images always share with those that it was trained on."""


class Evaluation(Scores, kw_only=True):
    """Scores of a classifier's weights on the test split of a recipe.

    `extra` holds the metrics of the plugins that are installed now.

    Args:
        model: Id of the network.
        run_id: Run id of its training.
        trained_on: Id of the data set of its training.
        recipe: Recipe of the images that were scored.
        angle: Rotation of each image in degrees before the network.
        average: Rotated and mirrored images whose predictions were averaged: "none", "p4" or "d4".
    """

    model: str
    run_id: str
    trained_on: str
    recipe: Recipe
    angle: float
    average: str


class TaskEvaluation(Measures, kw_only=True):
    """Scores of weights of another task on the test split of a recipe; as `Evaluation`, with the task.

    Args:
        task: Task of the training.
        model, run_id, trained_on, recipe, angle, average: Fields of `Evaluation`.
    """

    task: str
    model: str
    run_id: str
    trained_on: str
    recipe: Recipe
    angle: float
    average: str


def evaluation_recipe(
    host: Host,
    trained: TrainedClassifier,
    *,
    data: str | None = None,
    params: Mapping[str, Any] | None = None,
    simulator: str | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Recipe:
    """Return the recipe of images to score trained weights on.

    What was changed for training from the data set's own parameters is changed here as well, where the data set has it:
    a network of 64 pixels and four times the mass is scored on images of that size and mass of another data set, too.

    Args:
        host: The plugins.
        trained: The weights.
        data: Id or name of a data set; default: that of the training images.
        params: Parameters that differ from those of the training images.
        simulator: Id or name; default: the one of the training images.
        seed: Seed of simulated images; 0 gives those of `zoo bench`, and their test split was in no training.
        device: "cpu" or "cuda", to render on.

    Raises:
        UsageError: An unknown data set or parameter, or an impossible seed, such as one of stored images.
        MissingError: A plugin is absent.
    """
    made_by = trained.about.recipe
    check_seed(seed)
    spec = registry.find(host, DatasetSpec, data or made_by.dataset)
    origin = registry.find(host, DatasetSpec, made_by.dataset)
    defaults = defaults_at(origin, made_by.dataset_version)
    changed = {
        name: value
        for name, value in {**defaults, **made_by.params}.items()
        if name in spec.params and (name in SHARED or spec is origin or value != defaults.get(name))
    }
    given = dict(params or {})
    for name in given:
        if name not in spec.params:
            raise UsageError(f"{spec.id} has no parameter '{name}'.{nearest(name, spec.params)}")
    return make_recipe(
        host,
        spec,
        params=merge_params(spec, changed, given),
        simulator=simulator or (made_by.simulator if spec.simulated else None) or "",
        device=device,
        seed=seed,
        channels=made_by.channels if spec.simulated else {},
    )


def evaluate(
    host: Host,
    trained: TrainedClassifier,
    recipe: Recipe,
    *,
    images: int = 2048,
    angle: float = 0.0,
    average: str = "none",
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation | TaskEvaluation:
    """Return the scores on the test split of a recipe.

    Args:
        host: The plugins.
        trained: The weights, on the device to compute on.
        recipe: Recipe of the images, from `evaluation_recipe`.
        images: Number of images.
        angle: Rotation of each image in degrees before the network; beyond quarter turns by bilinear interpolation.
        average: Average over rotated and mirrored images, as for `TrainedClassifier.predict_proba`.
        folder: Folder of simulated images; default: the cache, which is filled.
        progress: Function called with split, images made, images to be made while it simulates.

    Raises:
        UsageError: An impossible number of images, or angle.
        DataError: The images have another shape or other classes than the weights, or the network gives no finite
            number for one of them.
    """
    answers = []
    for kind, turned in kinds_of_images(host, trained.about, recipe, images=images, angle=angle):
        place = folder if kind is recipe else None
        sizes = dict.fromkeys(SPLITS, images)
        split = open_evaluation(host, trained, kind, sizes=sizes, folder=place, progress=progress).split("test")
        logits, labels = predictions(trained, split, data=kind.dataset, angle=turned, average=average)
        answers.append((logits, labels, split.groups))
    return scored(host, trained.about, recipe, answers, angle=angle, average=average)


def kinds_of_images(
    host: Host, about: About, recipe: Recipe, *, images: int, angle: float
) -> list[tuple[Recipe, float]]:
    """Return recipe and rotation of the images that are scored, and of plain ones where the task compares with these.

    Args:
        host: The plugins.
        about: Description of the weights.
        recipe, images, angle: Arguments of `evaluate`.

    Raises:
        UsageError: An impossible number of images, or angle.
    """
    if type(images) is not int or not 1 <= images <= MOST_IMAGES:
        raise UsageError(f"images={images!r} must be a whole number from 1 to {MOST_IMAGES:,}.")
    if not isinstance(angle, (int, float)) or not math.isfinite(angle):
        raise UsageError(f"angle={angle!r} must be a number of degrees.")
    # Plain images are others of the kind that the network was trained for.
    own = replace(about.recipe, seed=recipe.seed, device_type=recipe.device_type)
    shifted = own.hash != recipe.hash or angle % 360 != 0
    return [(recipe, angle), *([(own, 0.0)] if shifted and task_of_weights(host, about).compares_shifts else [])]


def scored(
    host: Host,
    about: About,
    recipe: Recipe,
    answers: Sequence[tuple[torch.Tensor, torch.Tensor, ImageGroups | None]],
    *,
    angle: float,
    average: str,
) -> Evaluation | TaskEvaluation:
    """Return the scores of answers.

    Args:
        host: The plugins.
        about: Description of the weights.
        recipe, angle, average: Arguments of `evaluate`.
        answers: Predictions, labels and groups of each kind of images.
    """
    (logits, labels, groups), *others = answers
    task = task_of_weights(host, about)
    scores = evaluated(host, task.score(logits, labels, groups), logits, labels, task=task, groups=groups)
    common: dict[str, Any] = {
        "model": about.model,
        "run_id": about.run_id,
        "trained_on": about.recipe.dataset,
        "recipe": recipe,
        "angle": angle,
        "average": average,
    }
    if isinstance(scores, Scores):
        return Evaluation(**common, **msgspec.structs.asdict(scores))
    for known, their_labels, _ in others:
        shifts = task.shift((known.numpy(), their_labels.numpy()), (logits.numpy(), labels.numpy()))
        if groups is not None:  # their intervals would be over images
            shifts = {name: msgspec.structs.replace(one, interval=None) for name, one in shifts.items()}
        measures = {**scores.in_order, **shifts}
        scores = msgspec.structs.replace(scores, order=tuple(measures), measures=measures)
    return TaskEvaluation(task=about.task, **common, **msgspec.structs.asdict(scores))


def task_of_weights(host: Host, about: About) -> Task:
    """Return the task that weights were trained for.

    Raises:
        MissingError: The task's plugin is absent.
    """
    trained_on = tuple(about.classes.index(name) for name in about.trained_on)
    question = stored_question(about.classes, trained_on=trained_on)
    return task_of_question(about.task, question, tasks=tasks_by_name(host))


def open_evaluation(
    host: Host,
    trained: TrainedClassifier,
    recipe: Recipe,
    *,
    sizes: Mapping[str, int],
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Dataset:
    """Return the data set of a recipe with the classes of some weights.

    Derived channels are those of the weights' own camera, as in `zoo predict`: a network that is tested on images with
    another PSF, or with light of the lens, is not told so. Where the camera of the recipe is another one, the images
    come without derived channels, and the weights add theirs.

    Args:
        host: The plugins.
        trained: The weights.
        recipe: Recipe of the images.
        sizes: Number of images of each split.
        folder: Folder of simulated images; default: the cache, which is filled.
        progress: Function called with split, images made, images to be made while it simulates.

    Raises:
        DataError: The images have another shape or other classes than the weights.
    """
    about = trained.about
    spec = registry.find(host, DatasetSpec, recipe.dataset)
    question = _question_of(host, spec, about)
    data = Dataset(host, recipe, sizes, folder=folder, question=question, progress=progress)
    if recipe.channels and data.camera != about.camera:
        recipe = recipe.of_image_alone
        data = Dataset(host, recipe, sizes, folder=folder, question=question, progress=progress)
    wanted = about.image_shape if recipe.channels else (trained.stored_channels, *about.image_shape[1:])
    if data.image_shape != wanted:
        raise DataError(
            f"{spec.id} has images of {data.image_shape}; {about.model} was trained on {wanted}.",
            hint="Set that size: --set data.image_size=N" if "image_size" in spec.params else "",
        )
    return data


def predictions(
    trained: TrainedClassifier, split: Split, *, data: str, angle: float = 0.0, average: str = "none"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits [N, K] and labels [N] of a split.

    Args:
        trained: The weights.
        split: Images.
        data: Id of their data set, for the message.
        angle, average: Rotation and average, as for `evaluate`.

    Raises:
        DataError: The network gives no finite number for an image.
    """
    # Derived channels are those of the turned image: a fit to it may end elsewhere.
    stored = slice(trained.stored_channels if angle % 360 else None)
    turned = (_rotated(batch[:, stored], angle) for batch in _batches(split))
    answers = np.concatenate([trained.answers(batch, average=average) for batch in turned])
    # A softmax gives probabilities back, so scores are computed in one place only.
    logits = torch.from_numpy(np.log(np.clip(answers, 1e-30, None)) if trained.about.outputs is None else answers)
    if words := not_finite(logits, split.ids.__getitem__):
        raise DataError(f"{trained.about.model} cannot be scored on {data}: {words}.")
    return logits, torch.from_numpy(split.asked)


def _question_of(host: Host, spec: DatasetSpec, about: About) -> Question:
    """Return the question to a data set that weights answer.

    Raises:
        DataError: No image has the class.
    """
    options = [about.task] if about.task else ["", *spec.tasks]
    for name in options:
        question = task_of_option(host, spec, name)[1].question
        if question.classes == tuple(about.classes):
            return question
    raise DataError(
        f"{spec.id} has the classes {', '.join(spec.classes)}; the weights separate {', '.join(about.classes)}."
    )


def _batches(split: Split, *, size: int = SHARD_SIZE) -> Iterator[torch.Tensor]:
    for chunk in split.chunks:
        yield from torch.from_numpy(np.array(chunk)).split(size)


def _rotated(images: torch.Tensor, angle_degrees: float) -> torch.Tensor:
    """Return images [N, C, H, W] rotated as `zoo.data.rotation` defines it; what lies outside of an image is 0."""
    if angle_degrees % 360 == 0:
        return images
    if angle_degrees % 90 == 0:
        return rotate_quarters(images, round(angle_degrees / 90))
    return rotate(images, torch.deg2rad(torch.tensor(angle_degrees)))
