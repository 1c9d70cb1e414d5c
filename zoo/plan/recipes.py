"""From a data set and its parameters to the recipe of its images."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zoo import provenance, registry
from zoo.data.about import all_params, recorded_params, typed_params
from zoo.data.channels import SETTING, read_channels
from zoo.data.content import pin_paths
from zoo.data.recipe import Recipe, canonical_json
from zoo.errors import UsageError, ZooError
from zoo.isolation import plugin_code
from zoo.plan.overrides import check_names, check_plain, data_params
from zoo.plurals import counted
from zoo.remote import readable_path
from zoo.specs import DatasetSpec

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.lensing.scenes import Scenes

TRIAL_SCENES = 256


def pinned_params(dataset: DatasetSpec, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the parameters as a recipe records them, and parameter -> digest of the files at its path.

    Raises:
        UsageError: A required path does not exist.
        DataError: A file among the parameters cannot be read.
    """
    pinned, content = pin_paths(recorded_params(dataset, typed_params(dataset, params)), dataset.paths)
    for name in dataset.required:
        if name in dataset.paths and isinstance(pinned[name], str) and name not in content:
            place = readable_path(pinned[name])
            raise UsageError(f"data.{name}: {place} was not found.", hint="Give a file or a folder that exists.")
    return pinned, content


def make_recipe(
    host: Host,
    dataset: DatasetSpec,
    *,
    params: Mapping[str, Any],
    simulator: str,
    device: str,
    seed: int = 0,
    channels: Mapping[str, str] = MappingProxyType({}),
) -> Recipe:
    """Return the recipe of a data set.

    Args:
        host: The plugins.
        dataset: Spec of the data set.
        params: All parameters of the data set.
        simulator: Id or name; "" for the default one. It has no effect where images exist already, but must exist.
        device: A resolved one; images are rendered there if the simulator can.
        seed: Seed of the images.
        channels: Derived channels, as in `Recipe.channels`.

    Raises:
        UsageError: The simulator is unknown; or channels are to be derived from stored images, or these are to have a
            seed, which would divide them into other splits.
        MissingError: The plugin of the simulator is absent.
        DataError: A file among the parameters cannot be read.
    """
    params, content = pinned_params(dataset, params)
    if not dataset.simulated:
        if simulator:
            registry.find_simulator(host, simulator)
        if seed:
            raise UsageError(
                f"seed={seed}: {dataset.id} consists of stored images, which are divided into splits once; by another "
                "seed, images that networks were trained on would become test images.",
                hint="Leave out the seed; which data sets are simulated: zoo list-datasets",
            )
        if channels:
            raise UsageError(
                f"{dataset.id} consists of stored images: their camera is unknown, and no channel can be derived.",
                hint=f"Leave out --set {SETTING}; which data sets are simulated: zoo list-datasets",
            )
        return Recipe(
            dataset=dataset.id,
            dataset_version=dataset.version,
            params=params,
            seed=seed,
            content=content,
            code=provenance.image_code(host, dataset.id, None),
        )
    engine = registry.find_simulator(host, simulator)
    return Recipe(
        dataset=dataset.id,
        dataset_version=dataset.version,
        params=params,
        content=content,
        code=provenance.image_code(host, dataset.id, engine.id),
        simulator=engine.id,
        simulator_version=engine.version,
        seed=seed,
        device_type="cuda" if device == "cuda" and engine.device == "any" else "cpu",
        channels=dict(channels),
    )


def channels_of(host: Host, dataset: DatasetSpec, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the derived channels among some settings, as `Recipe.channels`; a data set's own parameter is not one."""
    given = SETTING in settings and SETTING.removeprefix("data.") not in dataset.params
    return read_channels(host, settings[SETTING]) if given else {}


def recipe_of_folder(dataset: DatasetSpec, recipe: Recipe, folder: Path, sizes: Mapping[str, int]) -> Recipe:
    """Return the recipe of the images in a folder, which must match the requested one.

    The seed of the images and the type of device that they were rendered on are taken from the folder: no option of a
    benchmark states what they should be.

    Args:
        dataset: Spec of the data set.
        recipe: Requested recipe.
        folder: Made by `zoo simulate`.
        sizes: Split -> images that are needed.

    Raises:
        UsageError: The folder holds other images, or too few.
        DataError: The folder does not hold images of this recipe.
    """
    from zoo.data.folder_recipe import describe_differences, differences, read_recipe
    from zoo.data.shards import SHARD_SIZE, shard_count, shard_path

    if not dataset.simulated:
        raise UsageError(
            f"--images {folder}: {dataset.id} is not simulated; --images applies to simulated data sets only."
        )
    there = read_recipe(folder)
    recipe = replace(recipe, seed=there.seed, device_type=there.device_type)
    if there.hash != recipe.hash:
        raise UsageError(
            f"--images {folder} holds other images: {describe_differences(there, recipe)}.",
            hint=f"To use the images in the folder: {_asking_for(differences(there, recipe))}",
        )
    for split, size in sizes.items():
        missing = [n for n in range(shard_count(size)) if not shard_path(folder / split, n).exists()]
        if missing:
            have = (shard_count(size) - len(missing)) * SHARD_SIZE
            raise UsageError(
                f"--images {folder} has {have:,} of the {counted(size, f'{split} image')} needed.",
                hint=f"Make them with the command of the other images and -n {size} --split {split}, "
                f"or use fewer: --set {split}_images=N",
            )
    return recipe


def _asking_for(differences: Mapping[str, tuple[Any, Any]]) -> str:
    """Return the options of zoo bench that turn a recipe into the one of a folder."""
    words = []
    for key, (there, _) in differences.items():
        if key == "dataset":
            return f"--data {there}"
        if key == "simulator":
            words.append(f"--simulator {there}")
        elif key.startswith("params."):
            text = there if isinstance(there, str) else canonical_json(there)
            words.append(shlex.join(["--set", f"data.{key.removeprefix('params.')}={text}"]))
    return " ".join(words) or "install the versions that it was made with"


def plan_images(
    host: Host, name: str, *, settings: Mapping[str, Any], simulator: str, device: str, seed: int = 0
) -> tuple[DatasetSpec, Recipe]:
    """Return a data set that is to be simulated by itself, without a budget: its own parameters hold.

    Args:
        host: The plugins.
        name: Id or name.
        settings: "data.NAME" -> value.
        simulator: Id or name; "" for the default one.
        device: A resolved one; images are rendered there if the simulator can.
        seed: Seed of the images.

    Raises:
        UsageError: An unknown name, an impossible value, or images that exist already.
        MissingError: A plugin or library that is needed is absent.
    """
    dataset = registry.find(host, DatasetSpec, name)
    if not dataset.simulated:
        raise UsageError(
            f"{dataset.id} is a set of existing images; it cannot be simulated.",
            hint="See which data sets are simulated: zoo list-datasets",
        )
    check_plain(settings)
    check_names(settings, [], [dataset])
    for setting in settings:
        if not setting.startswith("data."):
            raise UsageError(f"--set {setting}: images are not trained.", hint="Parameters of the data are data.NAME.")
    params = data_params(dataset, None, settings)
    recipe = make_recipe(
        host, dataset, params=params, simulator=simulator, device=device, seed=seed,
        channels=channels_of(host, dataset, settings),
    )  # fmt: skip
    try_population(host, dataset, recipe)
    return dataset, recipe


def try_population(host: Host, dataset: DatasetSpec, recipe: Recipe) -> Scenes | None:
    """Draw a few scenes of a simulated data set, so that impossible parameters stop the plan and not its cells.

    Images that exist are not opened, since that may take long: their `DatasetSpec.check` is called.

    Returns:
        Scenes of the training split; None where images exist already.

    Raises:
        UsageError: A parameter is impossible, or the simulator does not render what the scenes contain.
        MissingError: The data set cannot be loaded.
    """
    if not dataset.simulated and dataset.check is None:
        return None
    import numpy as np

    from zoo.data.drawn import check_scenes
    from zoo.lensing.scenes import check_masses

    try:
        if not dataset.simulated:
            run_check(dataset, recipe)
            return None
        build = registry.load_target(dataset)
        with plugin_code(dataset.id, "sample"):
            population = build(**all_params(dataset, recipe.params))
            scenes: Scenes = population.sample(np.arange(TRIAL_SCENES), recipe.stream("train"))
        check_scenes(scenes, TRIAL_SCENES)
        engine = registry.find_simulator(host, recipe.simulator or "")
        check_masses(scenes, simulator=engine.id, known=engine.masses)
        return scenes
    except UsageError as error:
        raise UsageError(f"{dataset.id}: {error.args[0]}", hint=error.hint) from error
    except ZooError:
        raise
    except Exception as error:
        what = "drawn" if dataset.simulated else "opened"
        given = [
            f"{name}={value!r} (default {dataset.params.get(name)!r})"
            for name, value in recipe.params.items()
            if value != dataset.params.get(name)
        ]
        raise UsageError(
            f"{dataset.id} cannot be {what} with {', '.join(given) or 'its parameters'}: "
            f"{type(error).__name__}: {error}",
            hint=f"See: zoo show {dataset.id}",
        ) from error


def run_check(dataset: DatasetSpec, recipe: Recipe) -> Any:
    """Return what `DatasetSpec.check` of existing images returns, and raise what it raises; None without a check."""
    if dataset.check is None:
        return None
    check = registry.load_target(replace(dataset, target=dataset.check))
    with plugin_code(dataset.id, "check"):
        return check(**all_params(dataset, recipe.params))
