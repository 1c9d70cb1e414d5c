"""Measure how long the parts of a manifest take to be joined, at the size of ten million images.

The parts are those of 400 machines with 98 files each; the files are empty, since joining does not read them.

    uv run python benchmarks/join_parts.py [--machines 400] [--images 10000000]
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import tempfile
import time
from pathlib import Path

from zoo.data.manifest import read_manifest, record_split, unstated_shards
from zoo.data.recipe import Recipe
from zoo.data.shards import SHARD_SIZE, shard_count, shard_name, shard_path
from zoo.data.share import ShardEntry, Share, write_part

RECIPE = Recipe(dataset="deeplense/modelB", dataset_version=1, simulator="caustics/caustics", simulator_version=1)
CLASSES = ("no_substructure", "subhalo", "vortex")


def main() -> None:
    """Write the parts, join them, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=400)
    parser.add_argument("--images", type=int, default=10_000_000)
    given = parser.parse_args()
    images = shard_count(given.images) * SHARD_SIZE  # whole files: the labels of a part of one are read
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train").mkdir()
        for number in range(shard_count(images)):
            shard_path(folder / "train", number).touch()
        for machine in range(given.machines):
            share = Share(machine=machine, of=given.machines)
            shards = {
                shard_name(number): ShardEntry(
                    sha256=hashlib.sha256(str(number).encode()).hexdigest(), size=0, counts=(86, 85, 85)
                )
                for number in share.numbers(images)
            }
            write_part(folder, RECIPE, "train", share, shards=shards)
        started, cpu = time.perf_counter(), time.process_time()
        lacking = unstated_shards(folder, RECIPE, "train", images)
        looked = time.perf_counter()
        complete = record_split(folder, RECIPE, "train", images, classes=CLASSES, read=False)
        ended = time.perf_counter()
        manifest = read_manifest(folder)
        assert complete
        assert not lacking
        assert manifest is not None
        assert sum(manifest.splits["train"].counts.values()) == images
    print(f"{given.machines:,} parts, {shard_count(images):,} files, {images:,} images")
    print(f"what is missing: {looked - started:.1f} s; joined in {ended - looked:.1f} s")
    print(f"CPU of both: {time.process_time() - cpu:.1f} s")
    print(f"largest memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
