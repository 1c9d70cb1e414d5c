"""Shares of test images as jobs of a launcher: each answers its part of them; at the end the answers are scored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo import registry
from zoo.data.image_groups import ImageGroups
from zoo.data.open import Dataset
from zoo.data.recipe import SPLITS, Recipe, short_hash
from zoo.data.share import Share
from zoo.errors import DataError
from zoo.inference.answers_work import ImagesShare
from zoo.inference.evaluate import (
    Evaluation,
    TaskEvaluation,
    kinds_of_images,
    open_evaluation,
    predictions,
    scored,
)
from zoo.inference.share_jobs import Joined, answering, check_blocks, run_answers, stated
from zoo.results.store import read_arrays, write_arrays
from zoo.run.launch import Launch
from zoo.schema import plain
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.models.trained import TrainedClassifier

FOLDER = "evaluations"
_NAMES, _SHARED = ("logits", "labels", "block"), "shared"


def run_evaluation(
    host: Host,
    weights: Path,
    trained: TrainedClassifier,
    recipe: Recipe,
    *,
    images: int,
    angle: float,
    average: str,
    device: str,
    store: Path,
    shares: int,
    launch: Launch,
    watch: Callable[[int, int], None] | None = None,
    submitted: Callable[[], bool | None] = lambda: False,
) -> Joined:
    """Answer the test images of a recipe through a launcher, as `evaluate` does in one process; see `run_answers`.

    Args:
        host: The plugins.
        weights: Path of the weights.
        trained: The weights.
        recipe, images, angle, average: Arguments of `evaluate`.
        device: "cpu", "cuda" or "mps".
        store: Folder in whose folder "evaluations" the answers are kept.
        shares: Number of shares.
        launch, watch, submitted: Arguments of `run_answers`.

    Raises:
        UsageError: An impossible number of images or angle, or fewer blocks of images than shares.
        DataError: The images have another shape or other classes than the weights.
        ZooError: An error of `run_answers`.
    """
    kinds = kinds_of_images(host, trained.about, recipe, images=images, angle=angle)
    blocks, *_ = [_open(host, trained, kind, images).block_sizes("test") for kind, _ in kinds]
    check_blocks(shares, len(blocks), what="images")
    plugins = [name for kind, _ in kinds for name in kind.plugins]
    common = stated(host, weights, model=trained.about.model, average=average, device=device, ids=plugins)
    sizes = [sum(blocks[machine::shares]) for machine in range(shares)]
    contents = [
        ImagesShare(**common, recipe=recipe, images=images, angle=angle, machine=machine, of=shares, size=size)
        for machine, size in enumerate(sizes)
    ]
    return run_answers(
        host, contents, folder=store.absolute() / FOLDER / short_hash(plain(contents[0])), command="evaluate-share",
        what="images", sizes=sizes, launch=launch, watch=watch,
        submitted=submitted,
    )  # fmt: skip


def evaluate_share(host: Host, path: Path) -> None:
    """Answer a share in this process; the answers go beside its file.

    Args:
        host: The plugins.
        path: Path of share.json.

    Raises:
        BusyError: Another process answers the share.
        ZooError: The share cannot be answered.
    """
    with answering(host, path, ImagesShare) as (asked, trained, place, progress):
        kinds = kinds_of_images(host, trained.about, asked.recipe, images=asked.images, angle=asked.angle)

        def report(before: int, part: float) -> None:
            progress.report("evaluate", asked.size * (before + part) / len(kinds), asked.size)

        arrays: dict[str, NDArray[Any]] = {}
        for number, (recipe, angle) in enumerate(kinds):
            report(number, 0)
            answers = _answers(host, trained, asked, recipe, angle=angle, report=partial(report, number))
            arrays |= {f"{name}.{number}": values for name, values in answers.items()}
        write_arrays(place, arrays, {})


def joined_scores(
    host: Host, trained: TrainedClassifier, recipe: Recipe, joined: Joined, *, images: int, angle: float, average: str
) -> Evaluation | TaskEvaluation:
    """Return the scores of the answers of all shares.

    Args:
        host: The plugins.
        trained: The weights.
        recipe, images, angle, average: Arguments of `evaluate`.
        joined: The shares, none of which has failed.

    Raises:
        DataError: A file of answers cannot be read.
    """
    try:
        shares = [read_arrays(path)[0] for path in joined.paths]
    except DataError as error:
        raise DataError(str(error), hint="Delete the file, and run the same command again.") from error
    answers = []
    for number, (kind, _) in enumerate(kinds_of_images(host, trained.about, recipe, images=images, angle=angle)):
        there = [one for one in shares if f"{_NAMES[0]}.{number}" in one]
        logits, labels, block = (np.concatenate([one[f"{name}.{number}"] for one in there]) for name in _NAMES)
        order, groups = np.argsort(block, kind="stable"), None
        if grouped_by := registry.find(host, DatasetSpec, kind.dataset).image_groups:
            values = np.concatenate([one[f"{_SHARED}.{number}"] for one in there])
            groups = ImageGroups.by(grouped_by, values[order])
        answers.append((torch.from_numpy(logits[order]), torch.from_numpy(labels[order]), groups))
    return scored(host, trained.about, recipe, answers, angle=angle, average=average)


def _open(
    host: Host,
    trained: TrainedClassifier,
    recipe: Recipe,
    images: int,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Dataset:
    return open_evaluation(host, trained, recipe, sizes=dict.fromkeys(SPLITS, images), progress=progress)


def _answers(
    host: Host,
    trained: TrainedClassifier,
    asked: ImagesShare,
    recipe: Recipe,
    *,
    angle: float,
    report: Callable[[float], None],
) -> dict[str, NDArray[Any]]:
    """Return logits, labels, number of the block and shared parameter of each image of a share; {} without any.

    An image that is simulated counts as half done.
    """
    data = _open(host, trained, recipe, asked.images, progress=lambda _, made, all_: report(made / all_ / 2))
    found, done = [], 0
    for number, split in data.blocks("test", Share(machine=asked.machine, of=asked.of)):
        logits, labels = predictions(trained, split, data=recipe.dataset, angle=angle, average=asked.average)
        shared = [split.shared] if split.grouped_by else []
        found.append((logits.numpy(), labels.numpy(), np.full(len(split), number), *shared))
        done += len(split)
        report((1 + done / asked.size) / 2)
    columns = map(np.concatenate, zip(*found, strict=True))
    return dict(zip((*_NAMES, _SHARED), columns, strict=False))  # the last one only where images are in groups
