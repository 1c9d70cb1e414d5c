"""Share of a split that one machine makes, and its part of the manifest, by which no other machine reads its images."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.data.recipe import Recipe, short_hash
from zoo.data.shards import shard_count
from zoo.errors import DataError
from zoo.paths import file_sha256, make_dir, read_json, write_text
from zoo.schema import Count, Record, json_text, plain, read_record

logger = logging.getLogger(__name__)

PARTS, PART, SHARE = "parts", "part.json", "share.json"
SCHEMA = 1
CHECKSUM = "checksum"
"""Entry of part.json: a hash of all others."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of a split that one machine makes: every `of`-th shard.

    Args:
        machine: Number of the machine, from 0.
        of: Number of machines.
    """

    machine: int = 0
    of: int = 1

    def numbers(self, images: int) -> range:
        """Return the numbers of its shards in a split of this many images."""
        return range(self.machine, shard_count(images), self.of)

    def folder(self, folder: Path, split: str) -> Path:
        """Return the folder of its part and of its job, inside the folder of the shards of all splits."""
        return folder / PARTS / split / str(self.of) / str(self.machine)


WHOLE = Share()


class ShardEntry(Record):
    """A shard, as the machine that made it saw it.

    Args:
        sha256: SHA-256 of the file.
        size: Number of bytes.
        counts: Number of its images of each class.
    """

    sha256: str
    size: Count
    counts: tuple[Count, ...]


class Part(Record):
    """The content of part.json, without its checksum.

    Args:
        schema: Version of this format.
        recipe_hash: Hash of the recipe of the images.
        split: "train", "val" or "test".
        shards: File name -> shard.
    """

    schema: int
    recipe_hash: str
    split: str
    shards: Mapping[str, ShardEntry]


def shard_entry(path: Path, labels: NDArray[np.int64], *, classes: int, sha256: str | None = None) -> ShardEntry:
    """Return the entry of a shard that is there.

    Args:
        path: Path of the file.
        labels: Labels of its images.
        classes: Number of classes.
        sha256: SHA-256 of the file; None reads it.
    """
    counts = np.bincount(labels, minlength=classes).tolist()
    return ShardEntry(sha256=sha256 or file_sha256(path), size=path.stat().st_size, counts=tuple(counts))


def write_part(folder: Path, recipe: Recipe, split: str, share: Share, *, shards: Mapping[str, ShardEntry]) -> None:
    """Write the part of a share, whole or not at all.

    Args:
        folder: Folder of the shards of all splits.
        recipe: Recipe of the images.
        split: "train", "val" or "test".
        share: Share.
        shards: File name -> shard.

    Raises:
        DataError: The file cannot be written.
    """
    part = Part(schema=SCHEMA, recipe_hash=recipe.hash, split=split, shards=dict(sorted(shards.items())))
    content = plain(part)
    text = json_text({**content, CHECKSUM: short_hash(content)}, what=PART, indent=1)
    write_text(make_dir(share.folder(folder, split)) / PART, text + "\n")


def read_part(path: Path, *, recipe: Recipe, split: str) -> Part:
    """Return the content of a part.

    Raises:
        FileNotFoundError: The file is missing.
        DataError: It is damaged, or of other images.
    """
    try:
        content = read_json(path)
        checksum = content.pop(CHECKSUM, None) if isinstance(content, dict) else None
        if checksum != short_hash(content):
            raise ValueError("its checksum does not fit")
        part = read_record(content, Part, what=str(path))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    if (part.schema, part.recipe_hash, part.split) != (SCHEMA, recipe.hash, split):
        raise DataError(f"{path} is of other images or of another version of zoo.")
    return part


def shard_sizes(place: Path) -> dict[str, int]:
    """Return the size of every shard in the folder of a split, by its file name; one look, however many there are."""
    try:
        with os.scandir(place) as entries:
            return {one.name: one.stat().st_size for one in entries if one.name.endswith(".safetensors")}
    except FileNotFoundError:
        return {}


def stated_shards(folder: Path, recipe: Recipe, split: str, *, sizes: Mapping[str, int]) -> dict[str, ShardEntry]:
    """Return what all parts state of the shards that are there; of two parts that state one shard, the later counts.

    A part that cannot be used is named in a warning, and so is a shard that has another size than stated.

    Args:
        folder: Folder of the shards of all splits.
        recipe: Recipe of the images.
        split: "train", "val" or "test".
        sizes: Sizes of the shards, from `shard_sizes`.
    """
    found = _entries(folder, recipe, split)
    for name in sorted(of_other_size(folder, recipe, split, sizes=sizes, entries=found)):
        logger.warning(
            "%s has %d bytes; its machine wrote %d. It is made again.",
            folder / split / name,
            sizes[name],
            found[name].size,
        )
    return {name: entry for name, entry in found.items() if sizes.get(name) == entry.size}


def of_other_size(
    folder: Path,
    recipe: Recipe,
    split: str,
    *,
    sizes: Mapping[str, int],
    entries: Mapping[str, ShardEntry] | None = None,
) -> set[str]:
    """Return the names of the shards that are there and have another size than their machine wrote.

    Args:
        folder, recipe, split, sizes: As for `stated_shards`.
        entries: Content of the parts; default: read from the folder.
    """
    stated = _entries(folder, recipe, split) if entries is None else entries
    return {name for name, entry in stated.items() if name in sizes and sizes[name] != entry.size}


def _entries(folder: Path, recipe: Recipe, split: str) -> dict[str, ShardEntry]:
    """Return what all parts state; of two parts that state one shard, the later counts."""
    found: dict[str, ShardEntry] = {}
    times = {}
    for path in (folder / PARTS / split).glob(f"*/*/{PART}"):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            times[path] = path.stat().st_mtime_ns
    for path in sorted(times, key=times.__getitem__):
        try:
            found |= read_part(path, recipe=recipe, split=split).shards
        except FileNotFoundError:  # removed meanwhile
            continue
        except DataError as error:
            logger.warning("%s The shards that it stated are looked at again.", error)
    return found
