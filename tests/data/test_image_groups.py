"""Groups of images that are not independent: by a stored parameter, in a file, of a part of a split."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from zoo import registry
from zoo.data.image_groups import ImageGroups
from zoo.data.open import Dataset
from zoo.errors import DataError
from zoo.host import load_plugins
from zoo.plan.recipes import make_recipe
from zoo.specs import DatasetSpec


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([7.0, 3.0, 7.0, 5.0], [2, 0, 2, 1]),
        (["m31", "m33", "m31"], [0, 1, 0]),
        ([2.0, np.nan, 2.0, np.nan], [0, 1, 0, 2]),
        ([4], [0]),
    ],
)
def test_equal_values_are_one_group(values, numbers):
    found = ImageGroups.by("galaxy", np.array(values))
    assert found.numbers.tolist() == numbers
    assert found.count == max(numbers) + 1


def test_values_of_other_shapes_are_refused():
    with pytest.raises(DataError, match=r"grouped by galaxy, which has the shape \(2, 2\)"):
        ImageGroups.by("galaxy", np.zeros((2, 2)))
    assert ImageGroups.by("galaxy", np.zeros(0)).count == 0


def test_groups_are_the_same_after_they_were_written():
    groups = ImageGroups.by("galaxy", np.random.default_rng(0).integers(0, 9, 50))
    again = ImageGroups.from_text(groups.text, images=50)
    assert again.name == "galaxy"
    assert np.array_equal(again.numbers, groups.numbers)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        '{"name": "a"}',
        '{"name": "a", "numbers": null}',
        '{"name": "a", "numbers": ["b"]}',
        '{"name": "a", "numbers": [[0, 1, 2]]}',
        '{"name": "a", "numbers": [0, 1]}',
        '{"name": "a", "numbers": [0, 1, 1e99]}',
    ],
)
def test_damaged_groups_are_refused(text):
    with pytest.raises(DataError, match="groups"):
        ImageGroups.from_text(text, images=3)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    host = load_plugins(files=[Path(__file__).parents[1] / "toys/toysky.py"], environment={})
    spec = registry.find(host, DatasetSpec, "toysky/crowds")
    recipe = make_recipe(host, spec, params=spec.params, simulator="toysky/painter", device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Dataset(host, recipe, {"train": 9, "val": 9, "test": 90}).split("test")


def test_a_split_has_the_groups_of_its_data_set(split):
    galaxies = split.parameters["galaxy"]
    assert split.groups.name == "galaxy"
    assert split.groups.count == len(np.unique(galaxies)) == 12
    assert all(np.ptp(galaxies[split.groups.numbers == number]) == 0 for number in range(12))


def test_a_part_of_a_split_has_the_groups_of_its_images(split):
    few = split.select(np.arange(0, 90, 9))
    assert few.groups.count == len(np.unique(split.parameters["galaxy"][::9])) < 12


def test_images_without_the_parameter_are_refused(split):
    with pytest.raises(DataError, match=r"groups its images by filter, which is not among .*: galaxy"):
        dataclasses.replace(split, grouped_by="filter")
    assert dataclasses.replace(split, grouped_by="").groups is None
