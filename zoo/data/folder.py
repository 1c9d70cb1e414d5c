"""A folder of shards: FOLDER/recipe.json and FOLDER/<split>/NNNNNN.safetensors, made in shares or read only.

Many processes on many machines may fill one folder. Each shard is made under a lock of its own, appears whole, and is
the same on every machine.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from zoo.data.folder_recipe import check_folder, claim_folder, read_recipe
from zoo.data.manifest import record_split
from zoo.data.recipe import Recipe
from zoo.data.shards import (
    SHARD_SIZE,
    DamagedShard,
    read_shard,
    shard_checksum,
    shard_count,
    shard_identity,
    shard_name,
    shard_path,
    write_shard,
)
from zoo.data.share import WHOLE, Share, shard_entry, shard_sizes, stated_shards, write_part
from zoo.data.simulate import Simulation
from zoo.data.space import check_disk, check_memory
from zoo.errors import DataError
from zoo.locks import lock_held
from zoo.paths import cache_dir, in_shell, make_dir
from zoo.plurals import counted

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Shard = dict[str, NDArray[Any]]


def cache_folder(recipe: Recipe) -> Path:
    """Return the folder in the cache where the images of a recipe are kept."""
    return cache_dir() / "datasets" / recipe.hash


@dataclass(frozen=True, kw_only=True)
class Filled:
    """Result of `fill_folder`.

    Args:
        shards: All shards of the share, mapped from disk.
        made: Number of images made by this call.
        complete: Whether the whole split is stored and in the manifest.
    """

    shards: list[Shard]
    made: int
    complete: bool


def fill_folder(
    simulation: Simulation,
    split: str,
    images: int,
    *,
    folder: Path | None = None,
    share: Share = WHOLE,
    part: bool = False,
    progress: Progress | None = None,
) -> Filled:
    """Make the shards of a split that are missing or damaged.

    Safe to interrupt at any moment. A shard that another process is making is left to it and waited for at the end.

    Args:
        simulation: Simulation that makes the images.
        split: "train", "val" or "test".
        images: Number of images that the split is to have; whole shards are made.
        folder: Folder of the shards; default: the recipe's own folder in the cache.
        share: Share of the shards.
        part: Whether a part of the manifest states the shards even if the share is the whole split.
        progress: Function called with images made so far in this call, and images to be made in it.

    Raises:
        DataError: The folder cannot be written, or the disk is too small.
        UsageError: The folder holds another recipe, images are too large for the memory, or a parameter is impossible.
    """
    recipe = simulation.recipe
    folder = cache_folder(recipe) if folder is None else folder
    try:
        check_folder(folder, recipe)
        place = folder / split
        # One look into the folder: asking for a million files that are not there takes minutes.
        names = shard_sizes(place)
        found = {
            number: _found(place, recipe, split, number) if shard_name(number) in names else None
            for number in share.numbers(images)
        }
        missing = [number for number, shard in found.items() if shard is None]
        if missing:
            check_memory(simulation)
            check_disk(simulation, place, len(missing))
        # Not before it is known that the request can be met.
        claim_folder(folder, recipe)
        make_dir(place)
        written: dict[int, str] = {}
        busy: list[int] = []  # with another process
        total = len(missing) * SHARD_SIZE

        def report(done: int) -> None:
            if progress is not None and done < SHARD_SIZE:  # the end of a shard is the start of the next one
                progress(len(written) * SHARD_SIZE + done, total)

        for wait in (False, True):
            for number in busy if wait else missing:
                with _lock(place, number, wait=wait) as ours:
                    if not ours:
                        busy.append(number)
                        continue
                    # Another process may have made it first; the warning about damage is logged already.
                    found[number] = _found(place, recipe, split, number, level=logging.DEBUG)
                    if found[number] is None:
                        report(0)
                        arrays = simulation.shard(split, number, progress=report)
                        path, identity = shard_path(place, number), shard_identity(recipe, split, number)
                        written[number] = write_shard(path, arrays, identity=identity)
                        found[number] = read_shard(path, identity=identity, verify=False)
                    else:
                        total -= SHARD_SIZE
        if written:
            report(0)
        if part := part or share != WHOLE:
            _write_part(simulation, split, share, folder=folder, found=found, written=written)
        try:
            complete = record_split(
                folder, recipe, split, images, classes=simulation.classes, written=written, read=not part
            )
        except DamagedShard as error:
            logger.warning("%s The manifest waits until it is made again.", error)
            complete = False
    except OSError as error:
        raise DataError(
            f"Cannot use the folder {folder}: {error}.", hint="Choose another with --out or the variable ZOO_CACHE."
        ) from error
    shards = [shard for shard in found.values() if shard is not None]
    return Filled(shards=shards, made=len(written) * SHARD_SIZE, complete=complete)


def _write_part(
    simulation: Simulation,
    split: str,
    share: Share,
    *,
    folder: Path,
    found: Mapping[int, Shard | None],
    written: Mapping[int, str],
) -> None:
    """State the shards of a share for the machine that joins all parts."""
    recipe, place = simulation.recipe, folder / split
    stated = {}
    if len(written) < len(found):
        stated = stated_shards(folder, recipe, split, sizes=shard_sizes(place))
    shards = {}
    for number, shard in found.items():
        path = shard_path(place, number)
        if number not in written and path.name in stated:
            shards[path.name] = stated[path.name]
        elif shard is not None:
            shards[path.name] = shard_entry(
                path, shard["label"], classes=len(simulation.classes), sha256=written.get(number)
            )
    write_part(folder, recipe, split, share, shards=shards)


def open_folder(folder: Path, recipe: Recipe, split: str, images: int) -> list[Shard]:
    """Return the shards of the first `images` images of a split, mapped from disk; make none.

    Raises:
        UsageError: The folder holds another recipe.
        DataError: A shard is missing or damaged.
    """
    read_recipe(folder)
    check_folder(folder, recipe)
    shards = []
    for number in range(shard_count(images)):
        path = shard_path(folder / split, number)
        try:
            shards.append(read_shard(path, identity=shard_identity(recipe, split, number)))
        except FileNotFoundError as error:
            there = counted(number * SHARD_SIZE, f"{split} image")
            what = f"has no more than {there} in a row; needed: {images:,}" if number else f"has no {split} images"
            raise DataError(
                f"{folder} {what}.",
                hint="Make the others, with --set for what differs in recipe.json: "
                f"zoo simulate {recipe.dataset} -n {images} --split {split} --out {in_shell(folder)}",
            ) from error
        except OSError as error:
            raise DataError(f"Cannot read {path}: {error}.") from error
        except DamagedShard as error:
            raise DataError(str(error), hint=f"See: zoo data verify {in_shell(folder)}") from error
    return shards


def folder_digest(folder: Path, split: str, images: int) -> str:
    """Return the SHA-256 over the checksums that the shards of a split state; reading a shard compares its own.

    Raises:
        DataError: A shard is missing or damaged.
    """
    stated = [shard_checksum(shard_path(folder / split, number)) for number in range(shard_count(images))]
    return hashlib.sha256("".join(stated).encode()).hexdigest()


def _found(place: Path, recipe: Recipe, split: str, number: int, *, level: int = logging.WARNING) -> Shard | None:
    try:
        return read_shard(shard_path(place, number), identity=shard_identity(recipe, split, number))
    except FileNotFoundError:
        return None
    except DamagedShard as error:
        logger.log(level, "%s It is made again.", error)
        return None


@contextmanager
def _lock(place: Path, number: int, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a shard; give False where another process holds it and `wait` is not set."""
    import filelock

    path = place / f".{number:06d}.lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(lock_held(path, seconds=None if wait else 0))
        except filelock.Timeout:
            yield False
            return
        for stale in place.glob(f".{shard_name(number)}.*.part"):  # left by a process that was killed
            stale.unlink(missing_ok=True)
        yield True
        # The shard is there: a process that still waits for this lock, or makes the file anew, looks for it first.
        path.unlink(missing_ok=True)
