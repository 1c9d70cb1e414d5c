"""Exports a split of a benchmark for programs that do not use zoo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.export import FORMAT, Export, prepare_export, write_export
from zoo.data.hidden import open_published, read_seed_file
from zoo.data.open import Dataset
from zoo.errors import UsageError
from zoo.plan.problem import BenchmarkProblem, plan_problem
from zoo.version import __version__

if TYPE_CHECKING:
    from zoo.host import Host


def export_split(
    host: Host,
    data: str,
    folder: Path,
    *,
    split: str = "test",
    kind: str = "npy",
    labels: bool | None = None,
    seed_file: Path | None = None,
    budget: str | None = None,
    task: str = "",
    simulator: str = "",
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> Export:
    """Write a split into a folder and return the content of its export.json; an interrupted export continues.

    Args:
        host: The plugins.
        data: Id or name of the data set.
        folder: Folder of the export.
        split: "train", "val" or "test".
        kind: One of `zoo.data.image_files.FORMATS`.
        labels: Whether classes and scene parameters are written; None writes them where the seed is public.
        seed_file: File of a hidden seed; None takes the public images of `zoo bench`.
        budget, task, simulator, settings, device: Options as for `zoo.plan.problem.plan_problem`.
        progress: Function called with name of the work, images done, images in all.

    Raises:
        UsageError: An unknown name, an impossible value, or a folder that holds something else.
        MissingError: A plugin or library that is needed is absent.
        DataError: The folder cannot be written, or a file in it has been altered.
    """
    seed = None if seed_file is None else read_seed_file(seed_file)
    problem = plan_problem(
        host, data, budget=budget, settings=settings, simulator=simulator, task=task, device=device
    )  # fmt: skip
    if seed is not None and not problem.dataset.simulated:
        raise UsageError(
            f"--seed-file: {problem.dataset.id} consists of existing images, which are not secret.",
            hint="See which data sets are simulated: zoo list-datasets",
        )
    recipe = problem.recipe if seed is None else seed.published(problem.recipe)
    problem = replace(problem, recipe=recipe)
    labels = (seed is None) if labels is None else labels
    export = prepare_export(folder, describe_export(host, problem, split=split, images=f"images.{kind}", labels=labels))
    opened = open_published(
        host, recipe, problem.sizes, split=split, question=problem.task.question, seed=seed, progress=progress
    )
    report = None if progress is None else lambda done, total: progress("write", done, total)
    return write_export(folder, export, opened, progress=report)


def describe_export(host: Host, problem: BenchmarkProblem, *, split: str, images: str, labels: bool) -> Export:
    """Return the description of an export of a split, without checksums.

    Args:
        host: The plugins.
        problem: Problem, whose recipe has the seed or its commitment.
        split: "train", "val" or "test".
        images: Name of the file of images.
        labels: Whether labels.csv is part of the export.
    """
    question = problem.task.question
    dataset = Dataset(host, replace(problem.recipe, commitment=""), problem.sizes, question=question)
    instrument = dataset.instrument
    return Export(
        format=FORMAT,
        zoo=__version__,
        data=problem.dataset.id,
        split=split,
        image_shape=dataset.image_shape,
        pixel_scale=None if instrument is None else instrument.pixel_scale,
        classes=question.classes,
        task=problem.asked,
        budget=problem.budget,
        sizes=problem.sizes,
        recipe=problem.recipe,
        images=images,
        labels=labels,
    )
