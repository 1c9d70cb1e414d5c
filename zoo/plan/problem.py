"""From a data set, a budget and settings to a problem: the recipe of its images and the number of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.budgets import Budget, find_budget
from zoo.data.recipe import MOST_IMAGES, Recipe
from zoo.devices import planned_device
from zoo.errors import UsageError
from zoo.plan.overrides import SIZE_SETTINGS, check_names, check_plain, data_params
from zoo.plan.recipes import channels_of, make_recipe, try_population
from zoo.plan.settings import SETTING_NAMES
from zoo.specs import DatasetSpec
from zoo.tasks.find import completed, task_of_option
from zoo.tasks.task import Task

if TYPE_CHECKING:
    from zoo.host import Host


@dataclass(frozen=True, kw_only=True)
class BenchmarkProblem:
    """What a table of results is about, without the networks.

    Args:
        dataset: Spec of the data set.
        recipe: Recipe of the images.
        sizes: Split -> number of images.
        budget: Name of the budget.
        asked: Task as a cell states it; "" for classification of all classes.
        task: The task, opened for the data set.
        task_version: Version of the task, as in `Cell`.
    """

    dataset: DatasetSpec
    recipe: Recipe
    sizes: Mapping[str, int]
    budget: str
    asked: str
    task: Task
    task_version: int | None


def plan_problem(
    host: Host,
    data: str,
    *,
    budget: str | None = None,
    settings: Mapping[str, Any] | None = None,
    simulator: str = "",
    task: str = "",
    device: str = "auto",
) -> BenchmarkProblem:
    """Return the problem that `zoo bench` trains networks for, with the same options.

    Args:
        host: The plugins.
        data: Id or name of the data set.
        budget: Name of the budget; None for the one that suits the device, as in `zoo bench`.
        settings: "data.NAME", "train_images", "val_images", "test_images" -> value.
        simulator: Id or name; "" for the default one.
        task: Task, as for `zoo bench --task`.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        UsageError: An unknown name, an impossible value, or a setting of trainings.
        MissingError: A plugin or library that is needed is absent.
    """
    device = planned_device(device)
    chosen = find_budget(budget or ("paper" if device == "cuda" else "laptop"))
    dataset = registry.find(host, DatasetSpec, data)
    settings = dict(settings or {})
    check_plain(settings)
    for name in settings:
        if name in SETTING_NAMES or not (name.startswith("data.") or name in SIZE_SETTINGS or "." not in name):
            raise UsageError(
                f"--set {name}: nothing is trained here.",
                hint=f"Parameters of the data are data.NAME; numbers of images are {', '.join(SIZE_SETTINGS)}.",
            )
    check_names(settings, [], [dataset])
    asked, _ = task_of_option(host, dataset, task)  # an unknown name is refused before anything is drawn
    recipe = benchmark_recipe(host, dataset, budget=chosen, settings=settings, simulator=simulator, device=device)
    asked, opened, _ = completed(asked, dataset, try_population(host, dataset, recipe))
    sizes = numbers_of_images(chosen, settings)
    return BenchmarkProblem(
        dataset=dataset, recipe=recipe, sizes=sizes, budget=chosen.name, asked=asked.text, task=opened,
        task_version=asked.version,
    )  # fmt: skip


def numbers_of_images(budget: Budget, settings: Mapping[str, Any]) -> dict[str, int]:
    """Return split -> number of images: the budget's, or those of the settings.

    Raises:
        UsageError: A number is impossible.
    """
    sizes = {**budget.sizes}
    for name, split in SIZE_SETTINGS.items():
        if name in settings:
            value = settings[name]
            if type(value) is not int or not 1 <= value <= MOST_IMAGES:
                raise UsageError(f"{name}={value!r} must be a whole number of images from 1 to {MOST_IMAGES:,}.")
            sizes[split] = value
    return sizes


def benchmark_recipe(
    host: Host, dataset: DatasetSpec, *, budget: Budget, settings: Mapping[str, Any], simulator: str, device: str
) -> Recipe:
    """Return the recipe of the images of a benchmark.

    Raises:
        UsageError: A required parameter is missing, or the simulator is unknown.
        MissingError: The plugin of the simulator is absent.
        DataError: A file among the parameters cannot be read.
    """
    params = data_params(dataset, budget, settings)
    for name in dataset.required:
        if params[name] in (None, ""):
            raise UsageError(
                f"{dataset.id} needs {name}, which has no default.", hint=f"Write: --set data.{name}=VALUE"
            )
    channels = channels_of(host, dataset, settings)
    return make_recipe(host, dataset, params=params, simulator=simulator, device=device, channels=channels)
