"""The manifest of a folder of shards: which splits are complete, with the checksum of every file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.recipe import Recipe
from zoo.data.shards import SHARD_SIZE, file_sha256, read_shard, shard_count, shard_identity, shard_path
from zoo.errors import DataError
from zoo.paths import write_text

MANIFEST = "manifest.json"
SCHEMA = 1


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the content of a folder's manifest, or None where there is none.

    Raises:
        DataError: it cannot be read.
    """
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"its schema is {content['schema']}, this zoo reads {SCHEMA}")
        if not content.keys() >= {"recipe", "recipe_hash"} or not isinstance(content.get("classes"), list):
            raise ValueError("it lacks its recipe or classes")
        for split in content["splits"].values():
            if not split.keys() >= {"images", "counts", "shards"}:
                raise ValueError("a split lacks its images, counts or shards")
            if type(split["images"]) is not int or not all(
                isinstance(split[key], dict) for key in ("counts", "shards")
            ):
                raise ValueError("the images, counts or shards of a split are none")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"Cannot read {folder / MANIFEST}: {error}.",
            hint="Delete it; it is written again by the zoo simulate command that made the folder.",
        ) from error
    return dict(content)


def record_split(
    folder: Path, recipe: Recipe, split: str, images: int, *, classes: tuple[str, ...], written: Mapping[int, str]
) -> bool:
    """Write a split into the manifest if all of its shards are there.

    A shard that the manifest knows keeps its checksum, unless it is among those just written: what changed on the
    disk since then must stay visible. A shard that another machine made is read and checked first.

    Args:
        folder: holds the splits.
        recipe: of the images.
        split: "train", "val" or "test".
        images: how many the split is to have; it may have more already.
        classes: the labels' names.
        written: number -> SHA-256 of the files that were just written.

    Returns:
        Whether the split is complete.

    Raises:
        DamagedShard: a shard that the manifest does not know is damaged.
        DataError: the manifest cannot be read or written.
    """
    import filelock

    with filelock.FileLock(folder / ".manifest.lock"):
        wanted = range(shard_count(images))
        if not all(shard_path(folder / split, number).exists() for number in wanted):
            return False
        manifest = read_manifest(folder) or {"schema": SCHEMA, "splits": {}}
        known = manifest["splits"].get(split, {"images": 0, "shards": {}})
        images = max(images, known["images"])
        numbers = range(shard_count(images))
        shards = dict(known["shards"])
        for number in numbers:
            path = shard_path(folder / split, number)
            if number in written:
                shards[path.name] = written[number]
            elif path.name not in shards:
                read_shard(path, identity=shard_identity(recipe, split, number))
                shards[path.name] = file_sha256(path)
        if images == known["images"] and shards == known["shards"]:
            return True
        manifest |= {
            "recipe": recipe.to_json(),
            "recipe_hash": recipe.hash,
            "classes": list(classes),
            "shard_size": SHARD_SIZE,
        }
        manifest["splits"][split] = {
            "images": images,
            "counts": count_classes(folder, recipe, split, images, classes=classes),
            "shards": dict(sorted(shards.items())),
        }
        write_text(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        return True


def count_classes(folder: Path, recipe: Recipe, split: str, images: int, *, classes: tuple[str, ...]) -> dict[str, int]:
    """Return class -> how many of the first `images` images of a split show it; reads the labels only.

    Raises:
        DamagedShard: a shard is not what it must be.
        FileNotFoundError: one is not there.
    """
    counts = np.zeros(len(classes), np.int64)
    for number in range(shard_count(images)):
        shard = read_shard(
            shard_path(folder / split, number), identity=shard_identity(recipe, split, number), verify=False
        )
        labels = shard["label"][: images - number * SHARD_SIZE]
        counts += np.bincount(labels, minlength=len(classes))
    return dict(zip(classes, counts.tolist(), strict=True))
