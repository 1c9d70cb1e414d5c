"""Memory and disk that the shards of a simulation need, compared with what there is."""

from __future__ import annotations

import shutil
from pathlib import Path

from zoo.data.shards import SHARD_SIZE
from zoo.data.simulate import PIXELS_AT_A_TIME, Simulation
from zoo.errors import DataError, UsageError
from zoo.plurals import counted


def check_memory(simulation: Simulation) -> None:
    """Compare the free memory with what a shard takes while it is made.

    Raises:
        UsageError: The images are too large.
    """
    from zoo.data.loader import CPU, free_memory

    size = simulation.population.instrument.image_size
    # The images of a shard, and the handful of arrays of each batch of it that is being rendered.
    fine = simulation.population.instrument.divided().image_size
    in_work = min(SHARD_SIZE * fine**2, max(fine**2, PIXELS_AT_A_TIME["cpu"]))
    need = 4 * simulation.image_channels * size**2 * SHARD_SIZE + 8 * 4 * in_work
    free = free_memory(CPU)
    if need > free:
        raise UsageError(
            f"Images of {size} x {size} pixels are too large: {SHARD_SIZE} of them, which make a shard, need "
            f"{_bytes(need)} of memory; {_bytes(free)} are free.",
            hint="Choose a smaller image_size.",
        )


def check_disk(simulation: Simulation, place: Path, shards: int) -> None:
    """Compare the free space with what is to be made.

    Args:
        simulation: Simulation that makes the images.
        place: Folder of the split.
        shards: Number of shards that are to be made.

    Raises:
        DataError: The disk is too small.
    """
    there = next(parent for parent in (place, *place.absolute().parents) if parent.exists())
    need, free = shards * simulation.shard_bytes(), shutil.disk_usage(there).free
    if need > free:
        raise DataError(
            f"{counted(shards * SHARD_SIZE, 'image')} need {_bytes(need)} in {place}, where {_bytes(free)} are free.",
            hint="Choose another folder with --out or the variable ZOO_CACHE, or make fewer images.",
        )


def _bytes(count: float) -> str:
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"
