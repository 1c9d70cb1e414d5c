"""Makes the shards of a recipe that are not there yet: population -> simulator -> noise -> file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.recipe import Recipe
from zoo.data.shards import SHARD_SIZE, DamagedShard, read_shard, shard_path, write_shard
from zoo.errors import DataError, UsageError
from zoo.lensing.draws import Draws
from zoo.lensing.observe import observe
from zoo.lensing.scenes import Sersic
from zoo.paths import cache_dir, make_dir, write_text

if TYPE_CHECKING:
    from zoo.lensing.observe import Rendered
    from zoo.lensing.population import Population

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


def split_folder(recipe: Recipe, split: str) -> Path:
    """Return the cache folder of a recipe's split."""
    return cache_dir() / "datasets" / recipe.hash / split


def ensure_shards(
    recipe: Recipe,
    split: str,
    count: int,
    *,
    population: Population,
    render: Callable[..., Any],
    device: str,
    expected_images: int,
    progress: Progress | None = None,
) -> list[dict[str, NDArray[Any]]]:
    """Return all shards of the first `count` images of a split, making those that are missing or damaged.

    Safe to interrupt at any moment and to run in several processes at once: a shard appears whole, and one
    process at a time makes them.

    Args:
        recipe: what the images are.
        split: "train", "val" or "test".
        count: how many images are needed; whole shards are made.
        population, render: the targets that the recipe names.
        device: to render on.
        expected_images: of all splits together, so that the simulator may choose how to work once and for all.
        progress: called with images made so far in this call, and images to be made in it.

    Raises:
        DataError: the cache cannot be written.
        UsageError: a parameter is impossible.
    """
    import filelock

    folder = make_dir(split_folder(recipe, split))
    write_text(folder.parent / "recipe.json", _pretty(recipe))
    numbers = range(-(-count // SHARD_SIZE))
    try:
        with filelock.FileLock(folder / ".lock"):
            for stale in folder.glob(".*.part"):  # left by a process that was killed while it wrote
                stale.unlink(missing_ok=True)
            found = {number: _found(shard_path(folder, number), identity(recipe, split, number)) for number in numbers}
            missing = [number for number, shard in found.items() if shard is None]
            for done, number in enumerate(missing):
                if progress is not None:
                    progress(done * SHARD_SIZE, len(missing) * SHARD_SIZE)
                arrays = _simulate(
                    recipe, split, number, population=population, render=render, device=device,
                    expected_images=expected_images,
                )  # fmt: skip
                path = shard_path(folder, number)
                write_shard(path, arrays, identity=identity(recipe, split, number))
                found[number] = read_shard(path, identity=identity(recipe, split, number), verify=False)
            if progress is not None and missing:
                progress(len(missing) * SHARD_SIZE, len(missing) * SHARD_SIZE)
    except OSError as error:
        raise DataError(
            f"Cannot use the folder {folder}: {error}.", hint="Choose another with the variable ZOO_CACHE."
        ) from error
    return [shard for shard in found.values() if shard is not None]


def identity(recipe: Recipe, split: str, number: int) -> str:
    """Return what a shard says that it is: a file copied to another place is noticed."""
    return f"{recipe.hash}/{split}/{number}"


def _found(path: Path, expected: str) -> dict[str, NDArray[Any]] | None:
    try:
        return read_shard(path, identity=expected)
    except FileNotFoundError:
        return None
    except DamagedShard as error:
        logger.warning("%s It is made again.", error)
        return None


def _simulate(
    recipe: Recipe,
    split: str,
    number: int,
    *,
    population: Population,
    render: Callable[..., Any],
    device: str,
    expected_images: int,
) -> dict[str, NDArray[Any]]:
    indices = np.arange(number * SHARD_SIZE, (number + 1) * SHARD_SIZE)
    stream = recipe.stream(split)
    scenes = population.sample(indices, stream)
    rendered = render(scenes, population.instrument, device=device, expected_images=expected_images)
    size = population.instrument.image_size
    if tuple(rendered.source.shape) != (len(scenes), size, size):
        raise DataError(
            f"Simulator {recipe.simulator} returned images of shape {tuple(rendered.source.shape)} "
            f"where {(len(scenes), size, size)} was asked for."
        )
    # Before the noise: a Poisson draw of a rate that is no number raises, on CUDA beyond repair.
    if len(bad := np.flatnonzero(_unusable(rendered))):
        raise UsageError(
            f"Image {indices[bad[0]]} of split {split} of {recipe.dataset} as {recipe.simulator} renders it "
            "is not finite, negative, or shows no source."
        )
    observed = observe(rendered, scenes.exposure, draws=Draws(stream, indices))
    image = observed.image.cpu().numpy()
    columns = {
        **scenes.parameters,
        "snr": observed.snr.cpu().numpy(),
        "scale": observed.scale.cpu().numpy(),
        "sky": scenes.exposure.sky,
        "halo_einstein_radius": scenes.halo.einstein_radius,
        "source_x": scenes.source.x,
        "source_y": scenes.source.y,
    }
    if isinstance(scenes.source, Sersic):
        columns["source_effective_radius"] = scenes.source.effective_radius
        columns["source_axis_ratio"] = scenes.source.axis_ratio
    return {
        "image": image[:, None],
        "label": scenes.label,
        **{f"parameter.{name}": np.asarray(values, np.float64) for name, values in columns.items()},
    }


def _unusable(rendered: Rendered) -> NDArray[np.bool_]:
    """Return [n] whether an image cannot be exposed; values below 0 by rounding alone are allowed."""
    source = rendered.source.flatten(1)
    bad = ~(source.amax(1) > 0)
    for light in (source, None if rendered.lens_light is None else rendered.lens_light.flatten(1)):
        if light is not None:
            bad |= ~light.isfinite().all(1) | (light.amin(1) < -1e-5 * light.amax(1).abs())
    result: NDArray[np.bool_] = bad.cpu().numpy()
    return result


def _pretty(recipe: Recipe) -> str:
    import json

    return json.dumps(recipe.to_json(), indent=2, sort_keys=True) + "\n"
