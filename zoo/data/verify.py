"""Checks a folder of shards: every file against its own checksum and the manifest's, gaps, counts, recipe."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from zoo.data.folder_recipe import RECIPE, describe_differences, read_recipe
from zoo.data.manifest import MANIFEST, count_classes, read_manifest
from zoo.data.recipe import SPLITS, Recipe
from zoo.data.shards import SHARD_SIZE, DamagedShard, read_shard, shard_count, shard_identity, shard_path
from zoo.errors import DataError
from zoo.paths import file_sha256
from zoo.plurals import counted

_NAME = re.compile(r"(\d{6})\.safetensors")


@dataclass(frozen=True, kw_only=True)
class FolderProblem:
    """Something wrong with a folder.

    Args:
        text: Description of the fault, with the file's name.
        split: Name of the split, or None for the folder itself.
        delete: File to delete before the split is made again, where that is needed.
    """

    text: str
    split: str | None = None
    delete: Path | None = None


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """State of a split.

    Args:
        split: "train", "val" or "test".
        images: Number of images that it is to have, by the manifest; without one, as far as the last shard reaches.
        shards: Number of files that exist.
        counts: Numbers of images by the manifest: class -> images.
    """

    split: str
    images: int
    shards: int
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FolderReport:
    """The result of `verify_folder`.

    Args:
        recipe: Recipe of the folder.
        splits: Splits of the folder.
        problems: Faults that were found.
        notes: Observations that are not problems.
    """

    recipe: Recipe
    splits: list[SplitReport]
    problems: list[FolderProblem]
    notes: list[str]


def verify_folder(folder: Path, *, progress: Callable[[int, int], None] | None = None) -> FolderReport:
    """Read every file of a folder and return all problems.

    Args:
        folder: Folder made by `zoo simulate`, or a data set's folder in the cache.
        progress: Function called with images read and images to be read.

    Raises:
        DataError: The folder does not contain simulated images, or a file cannot be read.
    """
    recipe = read_recipe(folder)
    problems: list[FolderProblem] = []
    notes: list[str] = []
    try:
        manifest = read_manifest(folder)
    except DataError as error:
        manifest = None
        problems.append(FolderProblem(text=error.args[0], delete=folder / MANIFEST))
    if manifest is not None and manifest.recipe_hash != recipe.hash:
        other = describe_differences(recipe, manifest.recipe)
        text = f"{MANIFEST} and {RECIPE} are of different recipes: {other} ({RECIPE} is what is 'there')."
        problems.append(FolderProblem(text=text, delete=folder / MANIFEST))
        manifest = None
    known = {} if manifest is None else manifest.splits
    present = {split: _numbers(folder / split) for split in SPLITS}
    total = sum(map(len, present.values())) * SHARD_SIZE
    done = 0
    splits = []
    try:
        for split, numbers in present.items():
            if not numbers and split not in known:
                continue
            entry = known.get(split)
            images = entry.images if entry else (max(numbers) + 1) * SHARD_SIZE
            splits.append(
                SplitReport(split=split, images=images, shards=len(numbers), counts=dict(entry.counts) if entry else {})
            )
            before = len(problems)
            if entry is None:
                problems.append(FolderProblem(text=f"{split} is not complete: no {MANIFEST} names it.", split=split))
            problems += _gaps(split, sorted(set(range(shard_count(images))) - set(numbers)))
            for number in numbers:
                path = shard_path(folder / split, number)
                wanted = entry.shards.get(path.name) if entry else None
                problems += _check(path, shard_identity(recipe, split, number), split=split, sha256=wanted)
                done += SHARD_SIZE
                if progress is not None:
                    progress(done, total)
            if beyond := [number for number in numbers if number >= shard_count(images)]:
                notes.append(
                    f"{split} has {counted(len(beyond), 'shard')} more than the manifest names: a larger set was begun."
                )
            if manifest is not None and entry is not None and len(problems) == before:
                counts = count_classes(folder, recipe, split, images, classes=manifest.classes)
                if counts != entry.counts:
                    text = f"{split} has {counts}, but {MANIFEST} states {dict(entry.counts)}."
                    problems.append(FolderProblem(text=text, split=split, delete=folder / MANIFEST))
            parts = list((folder / split).glob(".*.part"))
            if parts:
                unfinished = counted(len(parts), "unfinished file")
                notes.append(f"{split} has {unfinished} of processes that run or were killed.")
    except OSError as error:
        raise DataError(f"Cannot read {folder}: {error}.") from error
    if not splits:
        problems.append(FolderProblem(text="The list of shards is empty."))
    return FolderReport(recipe=recipe, splits=splits, problems=problems, notes=notes)


def _numbers(place: Path) -> list[int]:
    matches = (_NAME.fullmatch(path.name) for path in place.glob("*.safetensors"))
    return sorted(int(match[1]) for match in matches if match is not None)


def _gaps(split: str, missing: list[int]) -> list[FolderProblem]:
    if not missing:
        return []
    shown = ", ".join(f"{number:06d}" for number in missing[:5]) + (", ..." if len(missing) > 5 else "")
    return [FolderProblem(text=f"{split} lacks {counted(len(missing), 'shard')}: {shown}.", split=split)]


def _check(path: Path, identity: str, *, split: str, sha256: str | None) -> list[FolderProblem]:
    try:
        read_shard(path, identity=identity)
    except DamagedShard as error:
        return [FolderProblem(text=str(error), split=split)]
    if sha256 is not None and file_sha256(path) != sha256:
        # Whole in itself, so making what is missing or damaged would leave it.
        return [
            FolderProblem(text=f"{path} is whole, but not the file that {MANIFEST} names.", split=split, delete=path)
        ]
    return []
