"""Scores stored weights on fresh test images: as many as the benchmark's own, of the same kind, used nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import torch

from zoo.data.recipe import FRESH, Recipe
from zoo.errors import UsageError, ZooError
from zoo.inference.evaluate import open_evaluation, predictions, task_of_weights
from zoo.models.load import load_weights
from zoo.paths import file_sha256
from zoo.plain_values import check_seed
from zoo.results import store
from zoo.results.cell import Cell
from zoo.results.files import known_sha256, read_file
from zoo.results.find import good_result
from zoo.results.schema import Finished, FreshTest, RunResult
from zoo.scores.stats import difference_of_independent
from zoo.weights.find import weights_of

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.data.split import Split
    from zoo.host import Host

logger = logging.getLogger(__name__)


def check_fresh_test(cells: Sequence[Cell], *, seed: int) -> None:
    """Check that fresh test images of every cell can be made, before anything is trained.

    Args:
        cells: Cells of a plan.
        seed: Seed of the fresh images.

    Raises:
        UsageError: The seed is impossible, or a data set consists of existing images.
    """
    check_seed(seed, name="fresh_test")
    existing = sorted({cell.data for cell in cells if cell.recipe.simulator is None})
    if existing:
        raise UsageError(
            f"--fresh-test: {', '.join(existing)} consists of existing images; no simulator makes fresh ones.",
            hint="See which data sets are simulated: zoo list-datasets",
        )


def with_fresh_tests(
    host: Host,
    results: Sequence[RunResult],
    *,
    seed: int,
    device: str,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[list[RunResult], list[str]]:
    """Return results with the scores of their stored weights on fresh test images; nothing is trained.

    Args:
        host: The plugins.
        results: Results of any kind; failed ones stay as they are.
        seed: Seed of the fresh images.
        device: Device to compute on, a resolved one.
        progress: Function called with split, images made, images to be made while it simulates.

    Returns:
        The results, and a sentence for each run that could not be scored.
    """
    found: list[RunResult] = []
    problems = []
    for result in results:
        if result.status == "ok" and not (result.fresh and result.fresh.seed == seed and _stands(result)):
            try:
                result = _add(host, result, seed=seed, device=device, progress=progress)
            except ZooError as error:
                problems.append(f"{result.cell.model}, seed {result.cell.seed}: no fresh test: {error}")
        found.append(result)
    return found, problems


def _stands(result: Finished) -> bool:
    """Whether the predictions on fresh images are those of the result: a command that was killed may have left others.

    Results of earlier versions do not state them.
    """
    stated = result.files.get(store.FRESH)
    try:
        return stated is None or known_sha256(result.run_dir / store.FRESH) == stated
    except OSError:
        return False


def fresh_recipe(cell: Cell, *, seed: int, device: str) -> Recipe:
    """Return the recipe of a cell's images with another seed, rendered on a device that this machine has."""
    on_cuda = cell.recipe.device_type == "cuda" and device.startswith("cuda")
    return replace(cell.recipe, seed=seed, device_type="cuda" if on_cuda else "cpu")


def _of_the_same_groups(result: Finished, fresh: Split) -> tuple[Tensor, Tensor] | None:
    """Return predictions and labels of the test images if fresh ones are of the same groups, such as galaxies.

    The difference of both scores has no part of how groups differ then: its interval is over images.
    """
    if not fresh.grouped_by:
        return None
    name = f"test.parameter.{fresh.grouped_by}"
    arrays, _ = read_file(result, store.PREDICTIONS)
    if name not in arrays or set(arrays[name].tolist()) != set(fresh.shared.tolist()):
        return None
    return torch.from_numpy(arrays["test.logits"]), torch.from_numpy(arrays["test.labels"])


def _add(
    host: Host, result: Finished, *, seed: int, device: str, progress: Callable[[str, int, int], None] | None
) -> Finished:
    """Score the weights of a run on fresh images, store scores and predictions beside its result, and return it."""
    run_dir, cell = result.run_dir, result.cell
    trained = load_weights(host, weights_of(run_dir)).to(device)
    recipe = fresh_recipe(cell, seed=seed, device=device)
    data = open_evaluation(host, trained, recipe, sizes={FRESH: cell.sizes["test"]}, progress=progress)
    split = data.split(FRESH)
    logits, labels = predictions(trained, split, data=recipe.dataset)
    task = task_of_weights(host, trained.about)
    scores = task.score(logits, labels, split.groups)
    own, new = result.test.headline, scores.headline
    if (of_test := _of_the_same_groups(result, split)) is not None:
        own, new = task.score(*of_test).headline, task.score(logits, labels).headline
    difference, interval = difference_of_independent(own.value, own.interval, new.value, new.interval)
    fresh = FreshTest(
        seed=seed, recipe_hash=recipe.hash, scores=scores, difference=difference, interval=interval
    )  # fmt: skip
    with store.claim(run_dir):
        # The result as it is now: another command may have written it meanwhile.
        stored = good_result(run_dir)
        arrays = {"fresh.logits": logits.numpy(), "fresh.labels": labels.numpy()}
        metadata = {} if split.groups is None else {"fresh.image_groups": split.groups.text}
        store.write_arrays(run_dir / store.FRESH, arrays, metadata)
        files = {**stored.files, store.FRESH: file_sha256(run_dir / store.FRESH)}
        stored = msgspec.structs.replace(stored, fresh=fresh, files=files)
        store.write_result(stored)
    return stored
