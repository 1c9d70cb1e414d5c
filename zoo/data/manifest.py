"""The manifest of a folder of shards: which splits are complete, with the checksum of every file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from zoo.data.recipe import Recipe
from zoo.data.shards import SHARD_SIZE, read_shard, shard_count, shard_identity, shard_name, shard_path
from zoo.data.share import ShardEntry, of_other_size, shard_sizes, stated_shards
from zoo.errors import DataError
from zoo.locks import lock_held
from zoo.paths import file_sha256, read_json, write_text
from zoo.plurals import counted
from zoo.schema import Count, Record, json_text, plain, read_record

MANIFEST = "manifest.json"
SCHEMA = 1


class SplitEntry(Record):
    """A complete split.

    Args:
        images: Number of its images; the last shard may hold more.
        counts: Class -> images that show it.
        shards: File name of each shard -> its SHA-256.
    """

    images: Count
    counts: Mapping[str, Count]
    shards: Mapping[str, str]


class Manifest(Record):
    """The content of manifest.json.

    Args:
        schema: Version of this format.
        recipe: Recipe of the images.
        recipe_hash: Hash of it.
        classes: Names of the labels.
        shard_size: Images in a shard.
        splits: Name -> the split, of those that are complete.
    """

    schema: int
    recipe: Recipe
    recipe_hash: str
    classes: tuple[str, ...]
    shard_size: int
    splits: Mapping[str, SplitEntry]


def read_manifest(folder: Path) -> Manifest | None:
    """Return the content of a folder's manifest, or None without a manifest.

    Raises:
        DataError: The file cannot be read.
    """
    path = folder / MANIFEST
    hint = "Delete it; it is written again by the zoo simulate command that made the folder."
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {path}: {error}.", hint=hint) from error
    if isinstance(content, dict) and content.get("schema") != SCHEMA:
        raise DataError(f"{path} is of schema {content.get('schema')}; this zoo reads schema {SCHEMA}.", hint=hint)
    try:
        manifest = read_record(content, Manifest, what=str(path))
    except DataError as error:
        raise DataError(error.args[0], hint=hint) from error
    if manifest.shard_size != SHARD_SIZE:
        raise DataError(
            f"{path} is of shards of {counted(manifest.shard_size, 'image')}; this zoo reads {SHARD_SIZE}.", hint=hint
        )
    return manifest


def record_split(
    folder: Path,
    recipe: Recipe,
    split: str,
    images: int,
    *,
    classes: tuple[str, ...],
    written: Mapping[int, str] = MappingProxyType({}),
    read: bool = True,
) -> bool:
    """Write a split into the manifest if all of its shards are there.

    A shard listed in the manifest, or else in the part of the machine that made it, keeps its checksum, unless it is
    among those just written: what changed on the disk since then must stay visible.

    Args:
        folder: Folder of the splits.
        recipe: Recipe of the images.
        split: "train", "val" or "test".
        images: Number of images that the split is to have; it may have more already.
        classes: Names of the labels.
        written: Files that were just written: number -> SHA-256.
        read: Whether a shard that neither the manifest nor a part states is read and checked; without, the split is
            not complete.

    Returns:
        Whether the split is complete.

    Raises:
        DamagedShard: A shard that is read is damaged.
        DataError: The manifest cannot be read or written.
    """
    with lock_held(folder / ".manifest.lock"):
        sizes = shard_sizes(folder / split)
        if not all(shard_name(number) in sizes for number in range(shard_count(images))):
            return False
        manifest = read_manifest(folder)
        splits = {} if manifest is None else manifest.splits
        known = splits.get(split, SplitEntry(images=0, counts={}, shards={}))
        images = max(images, known.images)
        numbers = range(shard_count(images))
        stated = stated_shards(folder, recipe, split, sizes=sizes)
        shards = dict(known.shards)
        for number in numbers:
            path = shard_path(folder / split, number)
            if number in written:
                shards[path.name] = written[number]
            elif path.name in shards:
                continue
            elif path.name in stated:
                shards[path.name] = stated[path.name].sha256
            elif read:
                read_shard(path, identity=shard_identity(recipe, split, number))
                shards[path.name] = file_sha256(path)
            else:
                return False
        if images == known.images and shards == known.shards:
            return True
        stated = {name: one for name, one in stated.items() if shards.get(name) == one.sha256}
        counts = count_classes(folder, recipe, split, images, classes=classes, stated=stated)
        entry = SplitEntry(images=images, counts=counts, shards=dict(sorted(shards.items())))
        content = Manifest(
            schema=SCHEMA,
            recipe=recipe,
            recipe_hash=recipe.hash,
            classes=classes,
            shard_size=SHARD_SIZE,
            splits={**splits, split: entry},
        )
        write_text(folder / MANIFEST, json_text(plain(content), what=MANIFEST, indent=1, sort_keys=True) + "\n")
        return True


def unstated_shards(folder: Path, recipe: Recipe, split: str, images: int) -> set[int]:
    """Return the numbers of the shards that are not there as the manifest or a part states them; reads no image.

    Args:
        folder: Folder of the splits.
        recipe: Recipe of the images.
        split: "train", "val" or "test".
        images: Number of images that the split is to have.

    Raises:
        DataError: The manifest cannot be read.
    """
    sizes = shard_sizes(folder / split)
    manifest = read_manifest(folder)
    stated = set(stated_shards(folder, recipe, split, sizes=sizes))
    if manifest is not None and split in manifest.splits:
        cut = of_other_size(folder, recipe, split, sizes=sizes)
        stated |= (manifest.splits[split].shards.keys() & sizes.keys()) - cut
    return {number for number in range(shard_count(images)) if shard_name(number) not in stated}


def count_classes(
    folder: Path,
    recipe: Recipe,
    split: str,
    images: int,
    *,
    classes: tuple[str, ...],
    stated: Mapping[str, ShardEntry] = MappingProxyType({}),
) -> dict[str, int]:
    """Return class -> how many of the first `images` images of a split show it; reads the labels only.

    Args:
        folder: Folder of the splits.
        recipe: Recipe of the images.
        split: "train", "val" or "test".
        images: Number of images.
        classes: Names of the labels.
        stated: File name -> shard, of those whose labels need not be read.

    Raises:
        DamagedShard: A shard is truncated, altered, or another one.
        FileNotFoundError: A shard is missing.
    """
    counts = np.zeros(len(classes), np.int64)
    for number in range(shard_count(images)):
        path, here = shard_path(folder / split, number), images - number * SHARD_SIZE
        if path.name in stated and here >= SHARD_SIZE:
            counts += stated[path.name].counts
            continue
        shard = read_shard(path, identity=shard_identity(recipe, split, number), verify=False)
        counts += np.bincount(shard["label"][:here], minlength=len(classes))
    return dict(zip(classes, counts.tolist(), strict=True))
