"""Recipes: equal ones share a folder, different ones never do."""

import dataclasses
import json
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.recipe import Recipe, canonical_json, short_hash

RECIPE = Recipe(
    dataset="deeplense/modelA",
    dataset_version=1,
    params={"snr": None, "shear": "U(0, 0.3)", "sky": 0.1, "image_size": 150, "conserve_mass": True},
    simulator="caustics/caustics",
    simulator_version=1,
)

PLAIN = st.dictionaries(
    st.text(max_size=8),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    max_size=6,
)


def test_hash_is_that_of_the_canonical_text():
    # By `printf TEXT | sha256sum`: whoever changes this renames every folder of simulated images.
    assert canonical_json({"b": [1, 2.5, None], "a": "ä"}) == '{"a":"\\u00e4","b":[1,2.5,null]}'
    assert short_hash({"b": 1, "a": 2}) == "d3626ac30a87e6f7"
    assert RECIPE.hash == "2208f08598b3b3a2"


@settings(deadline=None)
@given(PLAIN, st.randoms())
def test_order_of_the_parameters_does_not_matter(params, random):
    shuffled = list(params.items())
    random.shuffle(shuffled)
    assert dataclasses.replace(RECIPE, params=params).hash == dataclasses.replace(RECIPE, params=dict(shuffled)).hash


def test_a_read_only_view_of_the_parameters_is_as_good():
    assert dataclasses.replace(RECIPE, params=MappingProxyType(dict(RECIPE.params))).hash == RECIPE.hash


CHANGES = [
    {"dataset": "deeplense/modelB"},
    {"dataset_version": 2},
    {"simulator": "autolens/autolens"},
    {"simulator": None},
    {"simulator_version": 2},
    {"seed": 1},
    {"device_type": "cuda"},
    {"content": {"sky": "content:0"}},
    {"code": {"sky.py": "0"}},
    {"commitment": "0:1"},
    {"channels": {"baselines/residual": "1"}},
    {"noiseless": True},
    {"params": {**RECIPE.params, "sky": 0.1000001}},
    {"params": {**RECIPE.params, "snr": 0}},
    {"params": {**RECIPE.params, "snr": "None"}},
    {"params": {**RECIPE.params, "conserve_mass": False}},
    {"params": {**RECIPE.params, "more": None}},
    {"params": {name: value for name, value in RECIPE.params.items() if name != "snr"}},
]


def test_every_field_changes_the_hash():
    assert {field.name for field in dataclasses.fields(Recipe)} == {name for change in CHANGES for name in change}
    hashes = [RECIPE.hash, *(dataclasses.replace(RECIPE, **change).hash for change in CHANGES)]
    assert len(set(hashes)) == len(hashes)


@settings(deadline=None)
@given(PLAIN)
def test_json_round_trip(params):
    recipe = dataclasses.replace(RECIPE, params=params)
    again = Recipe(**json.loads(json.dumps(recipe.to_json())))
    assert again == recipe
    assert again.hash == recipe.hash


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_values_that_json_cannot_hold_are_refused(value):
    with pytest.raises((ValueError, TypeError)):
        _ = dataclasses.replace(RECIPE, params={"x": value}).hash


def test_streams_differ_by_data_set_version_seed_and_split_and_by_nothing_else():
    same = [RECIPE.stream("train"), *(dataclasses.replace(RECIPE, **change).stream("train") for change in CHANGES)]
    assert len(set(same)) == 4  # data set, version and seed each give a stream of their own
    assert len({RECIPE.stream(split) for split in ("train", "val", "test")}) == 3
