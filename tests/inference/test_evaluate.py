"""Trained weights scored again: on their own test images, on others, turned, under another question."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

import zoo
from zoo.cli.predict import _weights_in_words
from zoo.errors import DataError, UsageError
from zoo.host import load_plugins
from zoo.inference.evaluate import _batches, _rotated, evaluate, evaluation_recipe
from zoo.models.load import load_weights
from zoo.models.weights_file import read_weights, write_weights
from zoo.results.store import WEIGHTS
from zoo.schema import plain
from zoo.specs import MetricSpec
from zoo.testing.toys import with_toys
from zoo.weights.find import find_weights


@pytest.fixture
def trained(host, run_dir):
    return load_weights(host, run_dir / WEIGHTS)


def test_a_split_is_read_while_it_is_answered():
    """A split may be larger than the memory."""
    read = []

    class Chunks:
        def __iter__(self):
            for number in range(3):
                read.append(number)
                yield np.zeros((5, 1, 2, 2), dtype=np.float32)

    class Split:
        chunks = Chunks()

    batches = _batches(Split(), size=4)
    assert [len(next(batches)) for _ in range(2)] == [4, 1]
    assert read == [0]


def test_the_test_images_give_the_score_of_the_run(host, run_dir, trained):
    result = json.loads((run_dir / "result.json").read_text())
    recipe = evaluation_recipe(host, trained)
    found = evaluate(host, trained, recipe, images=result["cell"]["sizes"]["test"])
    assert found.images == result["test"]["images"]
    assert found.auc == pytest.approx(result["test"]["auc"], abs=1e-6)
    assert plain(found.confusion) == result["test"]["confusion"]
    assert found.recipe == recipe
    assert (found.trained_on, found.run_id) == ("toyzoo/stripes", result["run_id"])


def test_stored_images_have_one_division_into_splits(host, trained):
    """By another seed, images that the network was trained on would be test images."""
    for refused in (
        lambda: evaluation_recipe(host, trained, seed=1),
        lambda: zoo.open_dataset("toyzoo/stripes", split="test", images=8, seed=1, host=host),
    ):
        with pytest.raises(UsageError, match=r"seed=1: toyzoo/stripes consists of stored images.* divided .* once"):
            refused()


def test_metrics_of_plugins_are_computed(host, trained):
    with_metric = with_toys(
        host, MetricSpec(id="toyzoo/brier", target="brokenothers:directions", better={"brier": "lower"})
    )
    found = evaluate(with_metric, trained, evaluation_recipe(host, trained), images=64)
    assert found.extra["toyzoo/brier"] == {"brier": pytest.approx(found.brier, abs=1e-6)}
    low, high = found.extra_intervals["toyzoo/brier"]["brier"]
    assert low < found.brier < high


def test_other_classes_and_shapes_are_refused(host, trained):
    with pytest.raises(DataError, match="toyzoo/two has the classes a, b; the weights separate a, b, c"):
        evaluate(host, trained, evaluation_recipe(host, trained, data="toyzoo/two"))
    with pytest.raises(UsageError, match="Did you mean 'count'"):
        evaluation_recipe(host, trained, params={"cuont": 1})
    lenses = replace(trained.about, classes=("no_substructure", "subhalo", "vortex"))
    trained.about = lenses
    with pytest.raises(DataError, match=r"images of \(1, 150, 150\)"):
        evaluate(host, trained, evaluation_recipe(host, trained, data="modelA"))


@pytest.mark.parametrize(
    "options", [{"images": 0}, {"images": -1}, {"images": 1.5}, {"images": 10**12}, {"angle": float("nan")}]
)
def test_impossible_numbers_are_refused(host, trained, options):
    """-1 would score all images but one, and 10**12 list shards until the memory is full."""
    recipe = evaluation_recipe(host, trained)
    [(name, value)] = options.items()
    with pytest.raises(UsageError, match=f"{name}={value}"):
        evaluate(host, trained, recipe, **options)


@pytest.mark.parametrize("seed", [-1, "x", True])
def test_impossible_seeds_are_refused(host, trained, seed):
    with pytest.raises(UsageError, match="seed="):
        evaluation_recipe(host, trained, seed=seed)


def test_what_the_training_changed_is_changed_alike(host, trained):
    from zoo.plan.recipes import plan_images

    settings = {"data.image_size": 64, "data.mass_scale": 4.0, "data.snr": 50}
    _, recipe = plan_images(host, "modelA", settings=settings, simulator="caustics", device="cpu")
    trained.about = replace(trained.about, recipe=recipe)
    _, defaults = plan_images(host, "modelB", settings={}, simulator="caustics", device="cpu")
    other = evaluation_recipe(host, trained, data="modelB", params={"snr": 20}, seed=3)
    assert other.params == {**defaults.params, "image_size": 64, "mass_scale": 4.0, "snr": 20}
    assert (other.dataset, other.seed) == ("deeplense/modelB", 3)
    assert evaluation_recipe(host, trained).hash == recipe.hash
    stated = evaluation_recipe(host, trained, params={"mass_fraction": 0.1})
    assert (stated.params["mass_fraction"], stated.params["mass_scale"]) == (0.1, 1.0)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_turns_between_pixels_meet_those_of_the_pixels(quarter):
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 1, 9, 9)).astype(np.float32))
    exact, near = _rotated(images, 90.0 * quarter), _rotated(images, 90.0 * quarter + 1e-3)
    torch.testing.assert_close(near, exact, rtol=0, atol=1e-3)
    # Counter-clockwise with row 0 at the bottom: what is right of the centre goes up, to higher rows.
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 8] = 1
    assert _rotated(point, 90)[0, 0, 8, 4] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_not_finite_are_no_scores(host, trained, value):
    with torch.no_grad():
        next(parameter for parameter in trained.parameters() if parameter.ndim == 4)[0, 0, 0, 0] = value
    with pytest.raises(DataError, match=r"toyzoo/tiny cannot be scored .* 90 of 90 images are not finite"):
        evaluate(host, trained, evaluation_recipe(host, trained), images=90)


def test_weights_of_an_earlier_version_are_scored_on_its_definition_and_marked(tmp_path):
    """`zoo predict` notes the version; `zoo evaluate` takes the definition of version 1."""
    host = load_plugins(environment={})
    weights = read_weights(find_weights(host, "octic_small.modelA", store=Path("nowhere")))
    recipe = weights.header.about.recipe
    added = ("conserve_mass", "over_sampling", "reference_pixel_scale")  # by version 2
    params = {name: value for name, value in recipe.params.items() if name not in added} | {"mass_scale": 4.0}
    about = replace(weights.header.about, recipe=dataclasses.replace(recipe, dataset_version=1, params=params))
    write_weights(tmp_path / "old.safetensors", weights.state, about=about, golden=weights.golden)
    trained = load_weights(host, tmp_path / "old.safetensors")
    said = _weights_in_words(host, trained.about, detects=False)
    assert "note: trained on images of version 1 of deeplense/modelA; the installed version is 2: " in said
    assert "mass_scale 4.0, not 1.0 (multiplies every mass of substructure)" in said
    recipe = evaluation_recipe(host, trained)
    wanted = {**trained.about.recipe.params, "conserve_mass": True, "over_sampling": 2, "reference_pixel_scale": None}
    assert recipe.params == wanted
    assert recipe.params["mass_scale"] == 4.0
