"""`zoo predict` on images that `zoo simulate` made for a split of the weights' own data set."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from zoo.cli import cli
from zoo.data.recipe import SPLIT_WORDS
from zoo.data.shards import SHARD_SIZE, shard_path
from zoo.models.weights_file import read_weights


@pytest.mark.parametrize(
    ("split", "of_version", "seen"),
    [("train", 0, True), ("val", 0, True), ("test", 0, False), ("train", 1, False)],
)
def test_training_and_validation_images_are_named(host, weights, tmp_path, split, of_version, seen):
    """Their answers look like those for new lenses, and better: `zoo simulate` makes training images by default."""
    recipe = read_weights(weights).header.about.recipe
    folder = tmp_path / "lenses"
    (folder / split).mkdir(parents=True)
    images = np.random.default_rng(0).normal(size=(SHARD_SIZE, 1, 12, 12)).astype(np.float32)
    save_file({"images": images}, shard_path(folder / split, 0))
    manifest = {
        "schema": 1, "classes": ["a", "b"], "recipe_hash": "x", "shard_size": SHARD_SIZE,
        "recipe": {"dataset": recipe.dataset, "dataset_version": recipe.dataset_version + of_version, "seed": 5},
        "splits": {split: {"images": 3, "counts": {}, "shards": {"000000.safetensors": ""}}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    np.save(tmp_path / "right.npy", images[0])
    for shares in ([], ["--launcher", "core/local", "--shards", 1, "--store", tmp_path / "store"]):
        words = ["predict", weights, folder, tmp_path / "right.npy", "--json", *shares]
        done = CliRunner().invoke(cli, [str(word) for word in words], obj=host)
        assert done.exit_code == 0, done.output
        warned = f"warning: 3 of 4 images were simulated as training or validation images of {recipe.dataset}, and"
        assert (warned in done.stderr) == seen
        marked = [f"simulated as a {SPLIT_WORDS[split]} image" in row["notes"] for row in json.loads(done.stdout)]
        assert marked == [seen] * 3 + [False]


@pytest.mark.parametrize("kind", ["npy", "fits", "hdf5"])
def test_exported_training_images_are_named_too(host, weights, tmp_path, kind):
    for split, warned in (("train", True), ("test", False)):
        folder = tmp_path / split
        words = ["data", "export", "toyzoo/stripes", "--split", split, "--budget", "smoke", "--format", kind]
        done = CliRunner().invoke(cli, [*words, "--out", str(folder)], obj=host)
        assert done.exit_code == 0, done.output
        answered = CliRunner().invoke(cli, ["predict", str(weights), str(folder), "--pixel-scale", "0.1"], obj=host)
        assert answered.exit_code == 0, answered.output
        assert ("simulated as training or validation images of toyzoo/stripes" in answered.stderr) == warned
