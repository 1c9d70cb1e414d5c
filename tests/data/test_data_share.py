"""Shares of a split: what a machine states of its shards, and how the statements of all become a manifest."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from shardtools import RECIPE, simulation

from zoo.data import manifest as manifest_module
from zoo.data.folder import fill_folder
from zoo.data.manifest import MANIFEST, record_split, unstated_shards
from zoo.data.shards import read_shard, shard_identity, shard_path
from zoo.data.share import PART, ShardEntry, Share, read_part, stated_shards, write_part
from zoo.paths import file_sha256

IMAGES = 1300
"""Six shards, of which the last one has more images than the split."""


def fill(folder: Path, machine: int = 0, of: int = 1, images: int = IMAGES) -> bool:
    made = fill_folder(simulation(), "train", images, folder=folder, share=Share(machine=machine, of=of))
    return made.complete


def part_of(folder: Path, machine: int, of: int) -> Path:
    return Share(machine=machine, of=of).folder(folder, "train") / PART


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> bytes:
    """The manifest of one machine that makes the whole split."""
    folder = tmp_path_factory.mktemp("whole")
    assert fill(folder)
    return (folder / MANIFEST).read_bytes()


def test_the_parts_are_joined_without_the_images_to_the_manifest_of_one_machine(tmp_path, manifest, monkeypatch):
    read = []
    monkeypatch.setattr(
        manifest_module, "read_shard", lambda path, **options: read.append(path.name) or read_shard(path, **options)
    )
    monkeypatch.setattr(manifest_module, "file_sha256", lambda path: pytest.fail(f"read {path}"))
    assert [fill(tmp_path, machine, 3) for machine in (1, 2, 0)] == [False, False, True]
    assert (tmp_path / MANIFEST).read_bytes() == manifest
    assert read == ["000005.safetensors"]  # the labels of a shard that the split holds in part


def test_a_part_states_what_is_on_the_disk(tmp_path):
    fill(tmp_path, 1, 4)
    part = read_part(part_of(tmp_path, 1, 4), recipe=RECIPE, split="train")
    paths = {path.name: path for path in (tmp_path / "train").glob("*.safetensors")}
    assert part.shards.keys() == paths.keys() == {"000001.safetensors", "000005.safetensors"}
    for name, entry in part.shards.items():
        assert (entry.sha256, entry.size) == (file_sha256(paths[name]), paths[name].stat().st_size)
        labels = read_shard(paths[name], identity=shard_identity(RECIPE, "train", int(name[:6])))["label"]
        assert entry.counts == tuple((labels == label).sum() for label in range(3))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:40],
        lambda text: text.replace('"sha256": "', '"sha256": "0', 1),
        lambda text: json.dumps({"schema": 1}),
        lambda text: "[]",
        lambda text: text.replace(RECIPE.hash, "0" * 16),
    ],
)
def test_a_damaged_part_is_named_and_its_share_is_not_done(tmp_path, manifest, caplog, damage):
    fill(tmp_path, 0, 2)
    path = part_of(tmp_path, 0, 2)
    path.write_text(damage(path.read_text()))
    with caplog.at_level(logging.WARNING):
        assert not fill(tmp_path, 1, 2)
    assert str(path) in caplog.text
    assert unstated_shards(tmp_path, RECIPE, "train", IMAGES) == {0, 2, 4}
    # The share again: its shards are there and made by nobody twice.
    made = fill_folder(simulation(), "train", IMAGES, folder=tmp_path, share=Share(machine=0, of=2))
    assert (made.made, made.complete) == (0, True)
    assert (tmp_path / MANIFEST).read_bytes() == manifest


def test_a_missing_part_and_a_missing_shard_are_found(tmp_path):
    for machine in range(2):
        fill(tmp_path, machine, 2)
    (tmp_path / MANIFEST).unlink()
    part_of(tmp_path, 1, 2).unlink()
    shard_path(tmp_path / "train", 4).unlink()
    assert unstated_shards(tmp_path, RECIPE, "train", IMAGES) == {1, 3, 4, 5}
    assert not record_split(tmp_path, RECIPE, "train", IMAGES, classes=("a", "b", "c"), read=False)


def test_of_two_statements_the_later_one_counts(tmp_path):
    """Two numbers of shares, between which a shard was made anew by a processor that rounds differently."""
    sizes = {"000000.safetensors": 7}
    for of, seconds in ((3, 2_000), (2, 1_000)):
        entry = ShardEntry(sha256=f"{of:064d}", size=7, counts=(1, 2, 3))
        write_part(tmp_path, RECIPE, "train", Share(of=of), shards=dict.fromkeys(sizes, entry))
        os.utime(part_of(tmp_path, 0, of), (seconds, seconds))
    found = stated_shards(tmp_path, RECIPE, "train", sizes=sizes)
    assert found["000000.safetensors"].sha256 == f"{3:064d}"


def test_a_larger_split_needs_what_its_parts_do_not_state(tmp_path):
    for machine in range(2):
        fill(tmp_path, machine, 2, images=600)
    assert unstated_shards(tmp_path, RECIPE, "train", IMAGES) == {3, 4, 5}
    assert [fill(tmp_path, machine, 2) for machine in range(2)] == [False, True]


def test_a_shard_that_was_cut_off_is_not_as_its_part_states_it_though_the_manifest_lists_it(tmp_path):
    for machine in range(2):
        fill(tmp_path, machine, 2)
    assert unstated_shards(tmp_path, RECIPE, "train", IMAGES) == set()
    with shard_path(tmp_path / "train", 3).open("r+b") as file:
        file.truncate(100)
    assert unstated_shards(tmp_path, RECIPE, "train", IMAGES) == {3}


def test_the_whole_split_as_one_share_has_a_part(tmp_path, manifest):
    filled = fill_folder(simulation(), "train", IMAGES, folder=tmp_path, share=Share(), part=True)
    assert filled.complete
    assert part_of(tmp_path, 0, 1).is_file()
    assert (tmp_path / MANIFEST).read_bytes() == manifest
