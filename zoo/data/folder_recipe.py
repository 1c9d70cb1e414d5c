"""The recipe of a folder of shards, FOLDER/recipe.json: one folder holds the images of one recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.data.recipe import SPLITS, Recipe, canonical_json
from zoo.errors import DataError, UsageError
from zoo.paths import make_dir, read_json, write_text
from zoo.schema import json_text

RECIPE = "recipe.json"


def claim_folder(folder: Path, recipe: Recipe) -> None:
    """Make a folder that belongs to one recipe.

    Raises:
        UsageError: The folder belongs to another recipe, or contains shards without a recipe.
        DataError: The folder cannot be written or read.
    """
    make_dir(folder)
    if not (folder / RECIPE).exists():
        check_folder(folder, recipe)
        write_text(folder / RECIPE, json_text(recipe.to_json(), what=RECIPE, indent=2, sort_keys=True) + "\n")
    check_folder(folder, recipe)  # what is there now: another process may have been quicker, with another recipe


def check_folder(folder: Path, recipe: Recipe) -> None:
    """See that a folder belongs to a recipe, or to none yet.

    Raises:
        UsageError: The folder belongs to another recipe, or contains shards without a recipe.
        DataError: The file cannot be read.
    """
    if (folder / RECIPE).exists():
        there = read_recipe(folder)
        if there.hash != recipe.hash:
            raise UsageError(
                f"{folder} holds other images: {describe_differences(there, recipe)}.",
                hint="One folder holds one recipe: choose another folder, or the options of its images.",
            )
    elif any(next((folder / split).glob("*.safetensors"), None) for split in SPLITS):
        raise UsageError(
            f"{folder} holds shards, but no {RECIPE}, so their recipe is unknown.", hint="Choose another folder."
        )


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe of a folder.

    Raises:
        DataError: The file was not found, or cannot be read.
    """
    try:
        content = read_json(folder / RECIPE)
        if not isinstance(content, dict):
            raise TypeError("it is not an object")
        recipe = Recipe(**content)
        if not isinstance(recipe.params, dict):
            raise TypeError("its params are not an object")
        return recipe
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{folder} is not a folder of simulated images: cannot read {folder / RECIPE}: "
            f"{getattr(error, 'strerror', None) or error}.",
            hint="Make a folder with: zoo simulate modelB -n 1000 --out DIR",
        ) from error


def differences(there: Recipe, wanted: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return key -> (value there, value wanted) of all that differs; parameters are named "params.NAME"."""
    first, second = (
        recipe.to_json() | {f"params.{name}": value for name, value in recipe.params.items()}
        for recipe in (there, wanted)
    )
    return {
        key: (first.get(key), second.get(key))
        for key in sorted(first.keys() | second.keys())
        # As JSON: a tuple and a list make the same recipe, 1 and 1.0 do not.
        if key != "params" and canonical_json(first.get(key)) != canonical_json(second.get(key))
    }


def describe_differences(there: Recipe, wanted: Recipe) -> str:
    """Return "image_size is 150 there, 64 requested; ..."."""
    return "; ".join(
        f"{key.removeprefix('params.')} is {old!r} there, {new!r} requested"
        for key, (old, new) in differences(there, wanted).items()
    )
