"""The truth of a scene stored beside its image: the scene comes back, and with it the image, to the bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from shardtools import make
from toysky import Discs

from zoo import registry
from zoo.data.open import Dataset
from zoo.data.recipe import SPLITS
from zoo.data.split import Split, from_shards
from zoo.data.truth import OFFSET, UNKNOWN, CommonTruth, common_truth, joined, scenes_of, truth_arrays
from zoo.errors import DataError
from zoo.host import load_plugins
from zoo.lensing.scenes import Scenes
from zoo.plan.cells import make_plan
from zoo.plan.recipes import make_recipe
from zoo.plan.request import Request
from zoo.results.store import prepare_run
from zoo.specs import DatasetSpec

HOST = load_plugins(environment={})
TINY = {"image_size": 12, "pixel_scale": 0.5, "over_sampling": 2}
SIMULATED = [spec.id for spec in registry.listed(HOST, DatasetSpec) if spec.simulated]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def dataset(name: str, **changes: object) -> Dataset:
    spec = registry.find(HOST, DatasetSpec, name)
    recipe = make_recipe(HOST, spec, params={**spec.params, **TINY, **changes}, simulator="caustics", device="cpu")
    return Dataset(HOST, recipe, dict.fromkeys(("train", "val", "test"), 40))


def leaves(value: object, name: str = "") -> dict[str, object]:
    """Return every array and text of some scenes by its dotted name."""
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if not isinstance(value, dict):
        return {name: value}
    return {key: leaf for part, item in value.items() for key, leaf in leaves(item, f"{name}.{part}").items()}


@pytest.mark.parametrize("name", SIMULATED)
def test_scenes_come_back_whole(name):
    """Every array of every part, in any order and number; masses without the empty places between them."""
    spec = registry.find(HOST, DatasetSpec, name)
    scenes = registry.load_target(spec)(**spec.params).sample(np.arange(30), "truth/train")
    arrays = joined([truth_arrays(scenes[:11]), truth_arrays(scenes[11:])])
    index = np.array([29, 3, 3, 0, 11, 10])
    again = scenes_of(arrays, index, label=scenes.label, parameters=scenes.parameters)
    wanted, found = leaves(scenes[index]), leaves(again)
    assert wanted.keys() == found.keys()
    for key, values in found.items():
        if not isinstance(values, np.ndarray):
            assert values == wanted[key], key
        elif key.startswith((".points.", ".truncated_haloes.")):
            radius = f"{key.rpartition('.')[0]}.einstein_radius"
            np.testing.assert_array_equal(values[found[radius] > 0], wanted[key][wanted[radius] > 0])
        elif key == ".source.pixels":
            np.testing.assert_array_equal(values, wanted[key].astype(np.float32))
        else:
            np.testing.assert_array_equal(values, wanted[key], err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), [
    ("modelB", {"lens_light": True}), ("published", {}), ("model1", {}), ("real_sources", {}),
    ("modelA_multipoles", {}), ("modelA_tnfw", {"multipoles": 0.02}),
])  # fmt: skip
def test_an_image_is_rendered_again_from_its_record_alone(name, changes, monkeypatch):
    data = dataset(name, **changes)
    split = data.split("test")
    simulation = data.simulation(expected_images=120)
    chosen = np.array([37, 2, 5])
    monkeypatch.setattr(type(simulation.population), "sample", None)  # no scene is drawn again
    observed = simulation.observe("test", chosen, split.scenes(chosen))
    np.testing.assert_array_equal(observed.image.numpy(), split.images[chosen, 0])
    assert len(split.scenes()) == 40


def test_the_page_says_how_to_render_an_image_again(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    code = page.partition("can be rendered again")[2].partition("```python\n")[2].partition("```")[0]
    settings = {f"data.{name}": value for name, value in TINY.items()} | {f"{name}_images": 40 for name in SPLITS}
    request = Request(
        models=["pca_linear"], data=["modelA"], budget="smoke", device="cpu", settings=settings, store=tmp_path
    )
    [cell] = make_plan(HOST, request)
    prepare_run(tmp_path, cell).rename(tmp_path / "RUN")
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(code, found)
    np.testing.assert_array_equal(found["again"].numpy(), found["data"].split("test").images[[37, 2, 5], 0])


def test_offsets_begin_each_images_masses_in_a_shard_and_in_a_split_of_several():
    arrays = joined([{OFFSET: np.array([0, 2, 2]), "truth.points.x": np.array([1.0, 2.0]), "truth.a": np.arange(2)},
                     {OFFSET: np.array([0, 1, 4]), "truth.points.x": np.arange(4.0), "truth.a": np.arange(2)}],
                    count=3)  # fmt: skip
    assert arrays[OFFSET].tolist() == [0, 2, 2, 3]
    assert arrays["truth.points.x"].tolist() == [1, 2, 0]
    assert arrays["truth.a"].tolist() == [0, 1, 0]


def test_a_split_over_two_shards_has_the_scenes_of_its_stream():
    split = from_shards("train", ("a", "b", "c"), make(300), 300)
    drawn = Discs().sample(np.arange(300), "toy/discs/1/0/train")
    again = split.scenes([299, 255, 256])
    np.testing.assert_array_equal(again.source.effective_radius, drawn.source.effective_radius[[299, 255, 256]])
    assert again.points.x.shape == (3, 0)
    assert isinstance(again, Scenes)


def test_images_without_a_truth_are_an_error():
    old = [{name: values for name, values in shard.items() if not name.startswith("truth.")} for shard in make(4)]
    images = np.zeros((2, 1, 4, 4), np.float32)
    alone = Split(name="test", classes=("a", "b"), chunks=[images], labels=np.array([0, 1]), ids=["p", "q"])
    for split in (from_shards("train", ("a", "b", "c"), old, 4), alone):
        with pytest.raises(DataError, match="without the truth of their scenes"):
            split.scenes()


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("modelA", {}, CommonTruth(exposure_seconds=300.0, sky=0.1, round_haloes=True, lens_light=False)),
        ("modelB", {}, CommonTruth(exposure_seconds=300.0, sky=None, round_haloes=True, lens_light=False)),
        ("modelA", {"read_noise": 3.0}, CommonTruth(exposure_seconds=300.0, sky=0.1 + 9 / 300, round_haloes=True,
                                                    lens_light=False)),
        ("modelA_lens_light", {}, CommonTruth(exposure_seconds=300.0, sky=0.1, round_haloes=True, lens_light=True)),
        ("modelA_multipoles", {}, CommonTruth(exposure_seconds=300.0, sky=0.1, round_haloes=False, lens_light=False)),
        ("published", {}, CommonTruth(round_haloes=True, lens_light=False)),  # stretched pixels are not counts
        ("model1", {}, CommonTruth(round_haloes=False, lens_light=False)),  # exposures differ
    ],
)  # fmt: skip
def test_what_all_images_share_is_in_their_truth(name, changes, expected):
    spec = registry.find(HOST, DatasetSpec, f"deeplense/{name}")
    scenes = registry.load_target(spec)(**{**spec.params, **changes}).sample(np.arange(30), "truth/train")
    found = dataclasses.asdict(common_truth(truth_arrays(scenes)))
    assert found == pytest.approx(dataclasses.asdict(expected))


def test_a_population_that_calls_its_parameters_otherwise_states_the_same():
    """Its spec has no exposure, no sky and no halo among its parameters: the scenes state them."""
    scenes = Discs().sample(np.arange(9), "s")
    assert common_truth(truth_arrays(scenes)) == CommonTruth(
        exposure_seconds=300.0, sky=0.1, round_haloes=True, lens_light=False
    )
    assert common_truth({}) == UNKNOWN  # images that were not simulated
