"""Scores predictions that were made elsewhere, and stores them beside runs: the same scores, intervals, comparisons."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from zoo import provenance, registry
from zoo.budgets import find_budget
from zoo.data.export import DESCRIPTION, check_files, differences, read_export
from zoo.data.hidden import open_published, read_seed_file
from zoo.data.recipe import Recipe
from zoo.data.split import Split
from zoo.devices import planned_device
from zoo.environment import describe
from zoo.errors import DataError, UsageError
from zoo.paths import file_sha256, user_path
from zoo.plan.parts import taking_part
from zoo.plan.problem import BenchmarkProblem, plan_problem
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell, Rule
from zoo.results.comparison import problem_key
from zoo.results.declared import declared_of
from zoo.results.files import predictions_digest
from zoo.results.schema import DataSummary, Finished, Scored
from zoo.run.exporting import describe_export
from zoo.run.gaussians import as_gaussians, read_gaussians
from zoo.run.kept import write_mistakes, write_predictions
from zoo.run.metrics import with_metrics
from zoo.run.predictions import Columns, as_probabilities, match_rows, read_columns
from zoo.specs import DatasetSpec, SimulatorSpec
from zoo.tasks.find import task_of_option
from zoo.tasks.task import Task

if TYPE_CHECKING:
    from zoo.host import Host

NAMESPACE, SCORE = "scored", "score"
LEAST_PROBABILITY = 1e-30
"""Smaller probabilities count as this one, so that the log loss stays finite."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,79}")
_LONGEST_NOTE = 500


def score_file(
    host: Host,
    file: Path,
    *,
    data: str,
    split: str = "test",
    budget: str | None = None,
    task: str = "",
    simulator: str = "",
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    name: str = "",
    author: str = "",
    cost_note: str = "",
    seed: int = 0,
    seed_file: Path | None = None,
    folder: Path = Path("results"),
    progress: Callable[[str, int, int], None] | None = None,
) -> Finished:
    """Score a file of predictions on a test split, store the result, and return it.

    Args:
        host: The plugins.
        file: CSV, npz or parquet file with an id and a probability of each class.
        data: Id or name of a data set, or the folder (or export.json) of an export, which states all options.
        split: "test"; networks are chosen by the other splits.
        budget, task, simulator, settings, device: Options as for `zoo.plan.problem.plan_problem`.
        name: Name of the method; default: that of the file.
        author: Author of the predictions.
        cost_note: Cost of the method, in its author's words.
        seed: Seed of the method's training, to tell several of its trainings apart.
        seed_file: File of the hidden seed that an export was made with.
        folder: Store of the result.
        progress: Function called with split, images made, images to be made while it simulates.

    Raises:
        UsageError: An unknown name, options that an export states already, or predictions that do not fit the images.
        MissingError: A plugin or library that is needed is absent.
        DataError: The export is damaged, or the store cannot be written.
    """
    started = time.perf_counter()
    if split != "test":
        raise UsageError(
            f"split '{split}' cannot be scored: only test images were in no choice of a network.",
            hint="Leave out --split; it is test.",
        )
    name = name or file.stem
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"The name {name[:80]!r} must begin with a letter or digit and have up to 80 letters, digits or _.+-",
            hint="For example: --name my_method",
        )
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise UsageError(f"seed={seed!r} must be a whole number from 0 to 2147483647.")
    for what, text in (("author", author), ("cost_note", cost_note)):
        if len(text) > _LONGEST_NOTE:
            raise UsageError(f"{what} has more than {_LONGEST_NOTE} characters.")
    given = {"budget": budget, "task": task, "simulator": simulator, "set": settings}
    problem = _problem(host, data, given=given, device=device)
    asked = problem.task
    # Before anything is simulated.
    names, columns = read_gaussians(file, asked.question.targets) if asked.question.targets else _read(asked, file)
    secret = None if seed_file is None else read_seed_file(seed_file)
    recipe = problem.recipe
    opened = open_published(
        host, recipe, problem.sizes, split="test", question=asked.question, seed=secret, progress=progress
    )
    answers, largest_error = match_rows(columns, names=names, ids=opened.ids, path=file), 0.0
    if asked.weights_outputs is None:
        answers, largest_error = as_probabilities(answers, names=names, ids=opened.ids, path=file)
        answers = np.log(np.clip(answers, LEAST_PROBABILITY, None))
    if asked.question.targets:
        gaussians = as_gaussians(answers, names=names, ids=opened.ids, path=file)
        answers = asked.of_gaussians(torch.from_numpy(gaussians)).numpy()
    cell = Cell(
        model=f"{NAMESPACE}/{name}",
        model_version=1,
        hparams={},
        recipe=recipe,
        sizes=problem.sizes,
        training={},
        seed=seed,
        budget=problem.budget,
        rule=cast(Rule, asked.rules[0]),
        precision="fp32",
        versions=provenance.installed_versions(
            host, *taking_part(model="", recipe=recipe, training={}, task=problem.asked)
        ),
        task=problem.asked,
        task_version=problem.task_version,
        predictions=predictions_digest(answers, opened.ids, opened.classes),
    )
    _refuse_second(folder, cell)
    # The same command without them, such as one that repeats the scores, does not take an author away.
    earlier = store.read_result(folder / cell.folder)
    if isinstance(earlier, Finished) and earlier.scored is not None:
        author, cost_note = author or earlier.scored.author, cost_note or earlier.scored.cost_note
    origin = Scored(author=author, cost_note=cost_note, file=file.name, largest_error=largest_error)
    return _store(host, cell, opened, answers, origin, task=asked, folder=folder, started=started)


def _read(task: Task, file: Path) -> tuple[tuple[str, ...], Columns]:
    """Return names and columns of a file of predictions: the classes, or "score" for a task with one number.

    Raises:
        UsageError: The task has several numbers for an image.
    """
    if task.weights_outputs is None:
        return task.question.classes, read_columns(file, task.question.classes)
    if task.weights_outputs == 1:
        return (SCORE,), read_columns(file, (SCORE,))
    raise UsageError(
        f"Predictions for the task {task.name} cannot be read from a file: it has several numbers an image."
    )


def _problem(host: Host, data: str, *, given: Mapping[str, Any], device: str) -> BenchmarkProblem:
    """Return the problem of an export or of a data set and options.

    Raises:
        UsageError: Options beside an export, or an unknown name.
        DataError: The export is damaged.
    """
    path = user_path(data)
    if not ((path / DESCRIPTION).is_file() or (path.name == DESCRIPTION and path.is_file())):
        return plan_problem(
            host, data, budget=given["budget"], settings=given["set"], simulator=given["simulator"],
            task=given["task"], device=device,
        )  # fmt: skip
    if stated := [option for option, value in given.items() if value]:
        raise UsageError(
            f"--{stated[0]} is stated by the export {path}.",
            hint=f"Leave out {', '.join(f'--{one}' for one in stated)}; to change it, export again with this option: "
            "zoo data export",
        )
    export = read_export(path)
    if export.split != "test":
        raise UsageError(f"{path} is an export of the split '{export.split}'; scores are those of test images.")
    dataset = registry.find(host, DatasetSpec, export.data)
    recipe = export.recipe
    _check_versions(host, dataset, recipe, path)
    if recipe.device_type == "cuda" and planned_device(device) != "cuda":
        raise UsageError(
            f"The images of {path} were rendered on a GPU, and their noise cannot be drawn again here.",
            hint="Score on a machine with a GPU, or export with --device cpu.",
        )
    asked, task = task_of_option(host, dataset, export.task)
    budget = find_budget(export.budget).name
    problem = BenchmarkProblem(
        dataset=dataset, recipe=recipe, sizes=export.sizes, budget=budget, asked=asked.text, task=task,
        task_version=asked.version,
    )  # fmt: skip
    wanted = describe_export(host, problem, split=export.split, images=export.images, labels=export.labels)
    if words := differences(export, wanted):
        raise DataError(
            f"{path} has been altered since it was exported: {words}.", hint="Export again: zoo data export"
        )
    check_files(path if path.is_dir() else path.parent, export)
    return problem


def _check_versions(host: Host, dataset: DatasetSpec, recipe: Recipe, path: Path) -> None:
    """Compare the versions that made the images of an export with the installed ones: others make other images.

    Raises:
        DataError: A version differs.
    """
    made = {dataset.id: (recipe.dataset_version, dataset.version)}
    if recipe.simulator is not None:
        engine = registry.find(host, SimulatorSpec, recipe.simulator)
        made[engine.id] = (recipe.simulator_version or 0, engine.version)
    for name, (then, now) in made.items():
        if then != now:
            raise DataError(
                f"The images of {path} are of version {then} of {name}; those of version {now}, installed, differ.",
                hint="Score with the versions that made the export, or export again.",
            )


def _refuse_second(folder: Path, cell: Cell) -> None:
    """Refuse other predictions of a method and a seed that are scored already: they would count as another seed.

    Raises:
        UsageError: The store holds them.
    """
    for path in (folder / cell.folder).parent.glob(f"*/{store.CELL}"):
        result = store.read_result(path.parent)
        if result is None or result.run_id == cell.run_id:
            continue
        if (result.cell.seed, problem_key(result.cell)) == (cell.seed, problem_key(cell)):
            raise UsageError(
                f"{folder} holds other predictions of {cell.model}, seed {cell.seed}, on the same images: "
                f"{path.parent.name}.",
                hint=f"Choose another --name; or --seed N for another training of it; or delete {path.parent}",
            )


def _store(
    host: Host,
    cell: Cell,
    opened: Split,
    predictions: NDArray[np.float64],
    origin: Scored,
    *,
    task: Task,
    folder: Path,
    started: float,
) -> Finished:
    """Write scores and predictions into the store, and return the result."""
    answers, labels = torch.from_numpy(predictions), torch.from_numpy(opened.asked)
    test = task.score(answers, labels, opened.groups)
    run_dir = store.prepare_run(folder, cell)  # an earlier result stays until the new one replaces it
    with store.claim(run_dir):
        write_predictions(run_dir / store.PREDICTIONS, {"test": (opened, answers, labels)})
        files = [store.PREDICTIONS]
        if not cell.recipe.commitment:  # images with their classes would give answers of a challenge away
            write_mistakes(run_dir / store.MISTAKES, opened, answers, labels, task)
            files.append(store.MISTAKES)
        result = Finished(
            schema=SCHEMA,
            status="ok",
            run_id=cell.run_id,
            cell=cell,
            run_dir=run_dir,
            classes=tuple(opened.classes),
            test=test,
            val=None,
            equivariance=None,
            cost=None,
            data=DataSummary(
                recipe_hash=cell.recipe.hash,
                image_shape=opened.image_shape,
                counts={"test": opened.class_counts},
                trained_on=task.question.trained_on_names,
                declared=declared_of(registry.find(host, DatasetSpec, cell.data), budget=cell.budget),
            ),
            init=None,
            device="cpu",
            files={name: file_sha256(run_dir / name) for name in files},
            seconds=time.perf_counter() - started,
            environment=describe(),
            plugins=provenance.loaded_plugins(host),
            scored=origin,
        )
        result = with_metrics(host, result, answers, labels, task=task, groups=opened.groups)
        store.write_result(result)
    return result
