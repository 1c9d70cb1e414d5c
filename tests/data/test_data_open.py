"""Training images of a seed of their own: others are trained on, the same are tested on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo import registry
from zoo.data.folder import cache_folder
from zoo.data.open import Dataset
from zoo.data.stream import Stream
from zoo.errors import DataError
from zoo.host import load_plugins
from zoo.plan.recipes import make_recipe
from zoo.specs import DatasetSpec

TOYS = Path(__file__).parents[1] / "toys"
HOST = load_plugins(files=[TOYS / "foreignsky.py", TOYS / "toyzoo.py"], environment={})
SIZES = {"train": 30, "val": 20, "test": 20}


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    spec = registry.find(HOST, DatasetSpec, "foreignsky/bare")
    return make_recipe(HOST, spec, params=spec.params, simulator="foreignsky/painter", device="cpu")


def pixels(data: Dataset, split: str) -> np.ndarray:
    return np.concatenate([np.asarray(chunk) for chunk in data.split(split).chunks])


def test_the_training_images_of_a_seed_are_those_that_zoo_simulate_makes_with_it(recipe):
    usual, own = Dataset(HOST, recipe, SIZES), Dataset(HOST, recipe, SIZES, train_seed=3)
    made = Dataset(HOST, dataclasses.replace(recipe, seed=3), SIZES)
    np.testing.assert_array_equal(pixels(own, "train"), pixels(made, "train"))
    assert not np.array_equal(pixels(own, "train"), pixels(usual, "train"))
    np.testing.assert_array_equal(pixels(own, "test"), pixels(usual, "test"))
    # In the folders where other runs and `zoo simulate --seed 3` look for them.
    assert (cache_folder(own.recipe_of("train")) / "train").is_dir()
    assert not (cache_folder(own.recipe_of("train")) / "val").exists()
    for name in SIZES:
        own.check(name)


def test_a_stream_has_images_of_its_seed(recipe):
    first = []
    for seed in (None, 0, 1):
        data = Dataset(HOST, recipe, SIZES, train_seed=seed)
        simulation = data.simulation(expected_images=30, split="train")
        images, _ = Stream(simulation, images=30, device=torch.device("cpu")).render(torch.arange(4))
        first.append(images.numpy())
    np.testing.assert_array_equal(first[0], first[1])
    assert not np.array_equal(first[1], first[2])


@pytest.mark.parametrize(
    ("count", "kinds", "hint"),
    [
        (600, 3, "Try: --set val_images=60"),
        (20, 3, "Of the 20 images of the data set, 2 can be validation images: add images of "),
        (600, 2, "Of the 600 images of the data set, none shows c: check the labels, or add images."),
    ],
)
def test_a_missing_class_is_answered_by_what_the_data_set_holds(count, kinds, hint):
    spec = registry.find(HOST, DatasetSpec, "toyzoo/stripes")
    existing = make_recipe(HOST, spec, params={"count": count}, simulator=None, device="cpu")
    small, large = (Dataset(HOST, existing, {"train": 500, "val": images, "test": 500}) for images in (2, 60))
    small._content = dataclasses.replace(small._content, labels=np.arange(count) % kinds)
    with pytest.raises(DataError, match="show no ") as refused:
        small.check("val")
    assert hint in refused.value.hint
    if "Try" in hint:
        large.check("val")
