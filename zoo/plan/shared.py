"""Options that all cells of a request share; task, recipe and scenes that all networks on a data set share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.budgets import Budget
from zoo.data.folder import folder_digest
from zoo.data.recipe import Recipe
from zoo.errors import UsageError, nearest
from zoo.plan.overrides import of_training_images
from zoo.plan.phases import budget_phases_of
from zoo.plan.problem import benchmark_recipe
from zoo.plan.recipes import recipe_of_folder, try_population
from zoo.plan.request import Request
from zoo.plan.tasks import rule_of
from zoo.results.cell import Rule
from zoo.specs import DatasetSpec
from zoo.tasks.find import ChosenTask, completed, task_of_option
from zoo.tasks.task import Task

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.lensing.scenes import Scenes


RENDER_ON = ("auto", "cpu")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all cells of a request share.

    Args:
        host: The plugins.
        request: Models, data sets and options of the cells.
        note: Function called with each note on the plan.
        device: Device that the cells are planned for.
        budget: Budget of the cells.
        seeds: Seeds of the trainings.
        settings: Settings of all models.
        own_settings: Id of a model -> settings of this model alone.
        training: Id of a model -> training settings that the request states.
        sizes: Split -> number of images.
    """

    host: Host
    request: Request
    note: Callable[[str], None]
    device: str
    budget: Budget
    seeds: Sequence[int]
    settings: Mapping[str, Any]
    own_settings: Mapping[str, Mapping[str, Any]]
    training: Mapping[str, Mapping[str, Any]]
    sizes: Mapping[str, int]

    @property
    def of_training_images(self) -> list[str]:
        """Names of the settings that hold for training images only."""
        return of_training_images(self.settings)


@dataclass(frozen=True, kw_only=True)
class OnData:
    """What all networks on a data set share.

    Args:
        dataset: Spec of the data set.
        asked: Task of the request, with what the scenes decide.
        task: The task, opened for the data set.
        rule: Rule by which an epoch is chosen.
        recipe: Recipe of validation and test images.
        images: Split -> digest of the images of `--images`.
        scenes: A few scenes of the training split; None of images that exist already.
    """

    dataset: DatasetSpec
    asked: ChosenTask
    task: Task
    rule: Rule
    recipe: Recipe
    images: Mapping[str, str]
    scenes: Scenes | None


def on_data(shared: Shared, dataset: DatasetSpec) -> OnData:
    """Return what all networks on a data set share.

    Raises:
        UsageError: The data set cannot answer the task or be streamed, or a parameter is impossible.
    """
    host, request, settings = shared.host, shared.request, shared.settings
    asked, task = task_of_option(host, dataset, request.task)
    rule = rule_of(request, task)
    stream = settings.get("stream", False)
    if (task.question.trained_on or task.question.targets) and stream:
        what = "needs stored truths" if task.question.targets else "trains on some classes only"
        raise UsageError(
            f"The task {asked.name} {what}; a stream renders all classes and keeps their labels.",
            hint="Leave out --stream.",
        )
    recipe = benchmark_recipe(
        host,
        dataset,
        budget=shared.budget,
        settings=settings,
        simulator=request.simulator,
        device=_rendering_device(request, shared.device),
    )
    if not dataset.simulated:
        for flag, given in (("--render-on", request.render_on != "auto"), ("--simulator", request.simulator)):
            if given:
                shared.note(f"{dataset.id} consists of stored images: {flag} has no effect")
    if stream and not dataset.simulated:
        raise UsageError(
            f"{dataset.id} consists of stored images; it cannot be streamed.",
            hint="Leave out --stream; which data sets are simulated: zoo list-datasets",
        )
    images: dict[str, str] = {}
    if request.images is not None:
        recipe, images = _images_of_folder(shared, dataset, recipe, request.images)
    scenes = try_population(host, dataset, recipe)
    asked, task, left_out = completed(asked, dataset, scenes)
    if left_out:
        shared.note(f"{dataset.id}: {left_out}")
    if images and budget_phases_of(dataset, recipe, settings=settings, budget=shared.budget, epochs=1):
        shared.note(
            f"the phases of budget {shared.budget.name} on {dataset.id} are left out: the training images of --images "
            "have the parameters of the test images"
        )
    return OnData(dataset=dataset, asked=asked, task=task, rule=rule, recipe=recipe, images=images, scenes=scenes)


def _rendering_device(request: Request, device: str) -> str:
    """Return the device that renders the images.

    Raises:
        UsageError: The name is unknown, or the images exist already.
    """
    asked = request.render_on
    if asked not in RENDER_ON:
        raise UsageError(f"--render-on {asked} is not one of {', '.join(RENDER_ON)}.{nearest(asked, RENDER_ON)}")
    if asked != "auto" and request.images is not None:
        raise UsageError(
            "--render-on and --images exclude each other: the images of a folder exist already.",
            hint="Leave out --render-on.",
        )
    return device if asked == "auto" else asked


def _images_of_folder(
    shared: Shared, dataset: DatasetSpec, recipe: Recipe, folder: Path
) -> tuple[Recipe, dict[str, str]]:
    """Return the recipe of the images of `--images`, and split -> digest of its images.

    Raises:
        UsageError: The folder has other images than the request needs.
    """
    if names := shared.of_training_images:
        raise UsageError(
            f"--images {folder} holds training images with the parameters of the test images, "
            f"--set {names[0]} needs others.",
            hint="Leave out --images. To make images beforehand, into the cache: zoo simulate",
        )
    if shared.request.data_seeds:
        raise UsageError(
            f"--images {folder} holds training images of one seed, --data-seeds needs those of each.",
            hint="Leave out --images. To make them beforehand, into the cache: zoo simulate with --seed N",
        )
    stream = shared.settings.get("stream", False)
    needed = {split: size for split, size in shared.sizes.items() if split != "train" or not stream}
    recipe = recipe_of_folder(dataset, recipe, folder, needed)
    return recipe, {split: folder_digest(folder, split, size) for split, size in needed.items()}
