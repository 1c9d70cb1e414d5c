"""Derived channels: part of the recipe, computed once, stored as images are, and computed again for a prediction."""

from __future__ import annotations

import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from cellhere import run_cells_here

from zoo.cli import main
from zoo.cli.simulate import command_for
from zoo.data.channels import camera_of, open_channels, read_channels
from zoo.data.folder import cache_folder
from zoo.data.open import Dataset
from zoo.data.recipe import Recipe
from zoo.data.rotation import rotate
from zoo.errors import DataError, MissingError, UsageError
from zoo.host import load_plugins
from zoo.inference.evaluate import evaluate, evaluation_recipe, open_evaluation, predictions
from zoo.models.load import load_weights
from zoo.plan.baselines import with_baselines
from zoo.plan.cells import make_plan
from zoo.plan.recipes import plan_images
from zoo.plan.request import Request
from zoo.results import store
from zoo.results.comparison import group_variants, problem_key
from zoo.run.cell import run_cell
from zoo.testing import ConformanceError, Options, check, require_passed

TOYS = Path(__file__).parents[1] / "toys"
PLUGINS = [TOYS / f"{name}.py" for name in ("toyzoo", "toysky", "toychannel")]
SIZES = {"train": 60, "val": 30, "test": 30}
CHANNELS = {"data.channels": "image,doubled"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=PLUGINS, environment={})


@pytest.fixture
def computed(host):
    """Number of images of each call of the channel that counts them."""
    found = sys.modules[next(name for name in sys.modules if name.endswith("toychannel"))].COMPUTED
    found.clear()
    return found


def recipe_with(host, **settings) -> Recipe:
    return plan_images(host, "toysky/discs", settings=settings, simulator="painter", device="cpu")[1]


def cells(host, **settings):
    request = Request(
        models=["toyzoo/tiny"], data=["toysky/discs"], simulator="painter", budget="smoke", device="cpu",
        settings={"train_images": 60, "val_images": 30, "test_images": 30, "epochs": 1, **settings},
    )  # fmt: skip
    return make_plan(host, request), request


def test_a_recipe_without_channels_is_what_it_was(host):
    plain, beside = recipe_with(host), recipe_with(host, **CHANNELS)
    assert "channels" not in plain.to_json()
    assert recipe_with(host, **{"data.channels": "image"}).hash == plain.hash
    assert list(beside.channels) == ["toychannel/doubled"]
    assert beside.channels["toychannel/doubled"].startswith("1 toychannel.py ")
    assert beside.hash != plain.hash
    assert beside.of_image_alone == plain
    assert Recipe(**beside.to_json()) == beside


def test_the_command_that_completes_a_folder_names_the_channels(host):
    recipe = recipe_with(host, **{"data.channels": "image,of_camera,doubled"})
    words = command_for(host, recipe, split="train", images=512, folder=Path("D")).split()
    given = dict(word.split("=", 1) for before, word in pairwise(words) if before == "--set")
    assert plan_images(host, "toysky/discs", settings=given, simulator="painter", device="cpu")[1] == recipe


def test_channels_stand_beside_the_same_images(host):
    plain = Dataset(host, recipe_with(host), SIZES)
    beside = Dataset(host, recipe_with(host, **{"data.channels": "image,of_camera,doubled"}), SIZES)
    assert beside.image_shape == (3, *plain.image_shape[1:])
    images, more = plain.split("val").images, beside.split("val").images
    assert np.array_equal(more[:, :1], images)
    assert np.array_equal(more[:, 1], 2 * images[:, 0])  # in the order of the ids, whatever the order of the setting
    assert np.allclose(more[:, 2], beside.instrument.pixel_scale)
    assert np.array_equal(beside.split("val").labels, plain.split("val").labels)


def test_stored_images_are_not_rendered_again(host, monkeypatch):
    plain = recipe_with(host)
    images = Dataset(host, plain, SIZES).split("val").images
    beside = Dataset(host, recipe_with(host, **CHANNELS), SIZES)
    monkeypatch.setattr("zoo.data.simulate.Simulation.expose", None)
    assert np.array_equal(beside.split("val").images[:, :1], images)


def test_channels_are_computed_once_and_an_interrupted_split_goes_on(host, computed):
    recipe, sizes = recipe_with(host, **CHANNELS), {**SIZES, "train": 600}
    Dataset(host, recipe, sizes).split("train")
    assert sum(computed) == 3 * (256 + 4)  # copies of the first two images of each shard
    computed.clear()
    (cache_folder(recipe) / "train" / "000001.safetensors").unlink()
    Dataset(host, recipe, sizes).split("train")
    assert sum(computed) == 256 + 4
    computed.clear()
    Dataset(host, recipe, sizes).split("train")
    assert not computed


def test_a_stream_has_the_channels(host):
    simulation = Dataset(host, recipe_with(host, **CHANNELS), SIZES).simulation(expected_images=8, split="train")
    from zoo.data.stream import Stream

    images, _ = next(Stream(simulation, images=8, device=torch.device("cpu")).epoch(1, 8))
    assert images.shape[1] == 2
    assert torch.equal(images[:, 1], 2 * images[:, 0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("residual", "must begin with 'image'"),
        ("imgae,doubled", "Did you mean 'image'"),
        ("image,doubeld", "Did you mean"),
        ("image,doubled,toychannel/doubled", "twice"),
        (3, "must be names"),
        ([], "must begin with 'image'"),
        ([1], "must be names"),
    ],
)
def test_channels_that_cannot_be_read(host, value, message):
    with pytest.raises(UsageError, match=message):
        read_channels(host, value)


def test_stored_images_have_no_camera(host):
    with pytest.raises(UsageError, match="camera is unknown"):
        make_plan(
            host,
            Request(models=["toyzoo/tiny"], data=["toyzoo/stripes"], budget="smoke", device="cpu", settings=CHANNELS),
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", "RuntimeError: no such luck"), ("too_few", "must have"), ("no_tensor", "a list; it must be"),
        ("random", "differs when it is computed again"),
        ("turns_nan", "not finite for [0-9]+ of 32 images"), ("overflows", "not finite for 32 of 32 images"),
    ],
)  # fmt: skip
def test_a_channel_that_fails_is_named(host, name, message):
    data = Dataset(host, recipe_with(host, **{"data.channels": f"image,{name}"}), SIZES)
    with pytest.raises(DataError, match=message) as raised:
        data.split("val")
    assert f"toychannel/{name}" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("of_camera", "same number everywhere"),
        ("random", "computed again"),
        ("of_batch", "other images"),
        ("fixed", "turn"),
        ("raises", "no such luck"),
    ],
)
def test_the_kit_notices_channels_that_break_the_contract(host, name, message):
    with pytest.raises(ConformanceError, match=message):
        require_passed(check(host, f"toychannel/{name}", options=Options(data="modelB")))


def test_channels_of_another_version_or_an_absent_plugin(host):
    camera = Dataset(host, recipe_with(host, **CHANNELS), SIZES).camera
    with pytest.raises(DataError, match="needs version 2 of the channel toychannel/doubled"):
        open_channels(host, {"toychannel/doubled": "2"}, camera, of="weights")
    with pytest.raises(MissingError, match="nosuch/channel"):
        open_channels(host, {"nosuch/channel": "1"}, camera, of="weights")


def test_a_camera_holds_what_all_images_share(host):
    data = Dataset(host, recipe_with(host, **CHANNELS), SIZES)
    first, again = data.camera, camera_of(data._content, "another stream")
    assert first == again
    assert first.image_size == data.image_shape[1]
    assert Dataset(host, recipe_with(host), SIZES).camera is None


def test_a_cell_has_them_and_fits_of_their_own_do_not(host):
    [plain], _ = cells(host)
    [beside], request = cells(host, **CHANNELS)
    assert beside.run_id != plain.run_id
    assert problem_key(beside) == problem_key(plain)  # one table
    assert set(beside.versions) > set(plain.versions)
    added = with_baselines(host, request, [beside], note=lambda sentence: None)[1:]
    assert all(not cell.recipe.channels for cell in added)


@pytest.mark.slow
def test_a_network_is_trained_with_them_and_predicts_files(host, tmp_path):
    [cell], _ = cells(host, **CHANNELS)
    run_dir = store.prepare_run(tmp_path / "store", cell)
    result = run_cell(host, cell, run_dir, device="cpu")
    assert result.status == "ok", result.error
    assert result.data.image_shape[0] == 2
    assert group_variants([result])[0].results == (result,)
    trained = load_weights(host, run_dir / store.WEIGHTS)
    split = Dataset(host, cell.recipe, cell.sizes).split("test")
    complete, alone = split.images, split.images[:, :1]
    assert trained.stored_channels == 1
    assert np.array_equal(trained.predict_proba(alone), trained.predict_proba(complete))
    assert np.array_equal(trained.predict_proba(alone[:, 0]), trained.predict_proba(complete))
    # Brightness is that of the image: the channel is twice as bright.
    assert trained.about.pixels.peak[2] <= split.images_at(np.arange(30))[:, 0].max() * 1.5
    peaks = Dataset(host, cell.recipe, cell.sizes).split("train").images[:, 0].max((1, 2))
    assert trained.about.pixels.peak[1] == pytest.approx(np.median(peaks))
    without = load_plugins(files=PLUGINS[:2], environment={})
    with pytest.raises(MissingError, match="toychannel/doubled"):
        load_weights(without, run_dir / store.WEIGHTS)


@pytest.mark.slow
def test_images_of_another_camera_get_the_channels_of_the_weights(host, tmp_path):
    """As in `zoo predict`: a network that is tested on blurred images is not told their PSF."""
    [cell], _ = cells(host, **{"data.channels": "image,of_camera"})
    run_dir = store.prepare_run(tmp_path / "store", cell)
    assert run_cell(host, cell, run_dir, device="cpu").status == "ok"
    trained = load_weights(host, run_dir / store.WEIGHTS)
    recipe = evaluation_recipe(host, trained)
    whole = open_evaluation(host, trained, recipe, sizes=SIZES).split("test")
    alone = torch.from_numpy(whole.images[:, :1])
    assert whole.images.shape[1] == 2
    turned, _ = predictions(trained, whole, data="", angle=17)  # the channel is that of the turned image
    assert np.allclose(turned.exp().numpy(), trained.answers(rotate(alone, math.radians(17))), atol=1e-5)
    camera = msgspec.structs.replace(trained.about.camera, pixel_scale=0.2)  # as if trained on other images
    trained.about = msgspec.structs.replace(trained.about, camera=camera)
    trained.channels = open_channels(host, cell.recipe.channels, camera, of="a test")
    found = open_evaluation(host, trained, recipe, sizes=SIZES).split("test")
    assert np.array_equal(found.images, alone.numpy())
    answers = trained.answers(alone)
    assert not np.allclose(answers, trained.answers(whole.images), atol=1e-3)
    logits, _ = predictions(trained, found, data="")
    assert np.allclose(logits.exp().numpy(), answers)
    assert evaluate(host, trained, recipe, images=30).log_loss == pytest.approx(
        -float(logits[torch.arange(30), torch.from_numpy(found.labels)].mean()), rel=1e-4
    )


@pytest.fixture
def zoo(capsys):
    """Run zoo with the toy plugins; return stdout."""
    files = [word for path in PLUGINS for word in ("--plugin", str(path))]

    def run(*words) -> str:
        with pytest.raises(SystemExit) as exit_request:
            main([*files, *map(str, words)])
        told = capsys.readouterr()
        assert exit_request.value.code == 0, told.err
        run.stderr = told.err
        return told.out

    return run


@pytest.mark.slow
def test_commands_from_simulation_to_prediction(zoo, tmp_path, monkeypatch):
    run_cells_here(monkeypatch)
    monkeypatch.setenv("ZOO_PLUGIN_FILES", "")
    settings = [word for name, size in SIZES.items() for word in ("--set", f"{name}_images={size}")]
    sky = ("toysky/discs", "--simulator", "painter")
    channels = ("--set", "data.channels=image,doubled")
    zoo("simulate", *sky, *channels, "-n", 60, "--out", tmp_path / "images")
    out = zoo(
        "bench", "--model", "toyzoo/tiny", "--data", *sky, *channels, "--budget", "smoke", "--device", "cpu",
        *settings, "--set", "epochs=1", "--store", tmp_path / "store", "--json",
    )  # fmt: skip
    [result] = json.loads(out)
    size = result["data"]["image_shape"][1]
    np.save(tmp_path / "some.npy", np.random.default_rng(0).random((3, size, size)))
    predicted = json.loads(zoo("predict", result["run_dir"], tmp_path / "some.npy", "--json"))
    assert len(predicted) == 3
    assert "note: toychannel/doubled: Of no use on dark lenses." in zoo.stderr
    assert zoo("evaluate", result["run_dir"], "-n", 30, "--device", "cpu", "--json")
    assert zoo("equivariance", result["run_dir"], "--images", tmp_path / "some.npy", "--json")
    assert "factor" in zoo("show", "toychannel/doubled")
    card = zoo("card", result["run_dir"])
    assert "- toychannel/doubled: Of no use on dark lenses." in card
    plain = zoo(
        "bench", "--model", "toyzoo/tiny", "--data", *sky, "--budget", "smoke", "--device", "cpu", *settings, "--set",
        "epochs=1", "--store", tmp_path / "store", "--json",
    )  # fmt: skip
    assert json.loads(plain)[0]["cell"]["run_id"] != result["cell"]["run_id"]
    table = zoo("report", "--store", tmp_path / "store", "--md", "--html", tmp_path / "page.html")
    assert "toyzoo/tiny (channels image, doubled)" in table
    assert "not all variants" not in table.lower()
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_a_plan_names_the_channels(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_PLUGIN_FILES", "")
    files = [word for path in PLUGINS for word in ("--plugin", str(path))]
    data = ("--data", "toysky/discs", "--simulator", "painter", "--set", "data.channels=image,doubled")
    with pytest.raises(SystemExit) as exit_request:
        main([*files, "bench", "--model", "toyzoo/tiny", *data, "--store", str(tmp_path), "--dry-run"])
    told = capsys.readouterr().err
    assert exit_request.value.code == 0, told
    assert "channels image, doubled" in told
