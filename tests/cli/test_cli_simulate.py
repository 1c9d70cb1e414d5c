"""Output and errors of `zoo simulate`, `zoo data show` and `zoo bench --images`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from cellhere import run_cells_here
from PIL import Image
from safetensors.numpy import load_file

from zoo.cli import main
from zoo.cli.simulate import MOST_IMAGES

TESTS = Path(__file__).parents[1]
PLUGINS = [TESTS / "toys" / "toyzoo.py", TESTS / "toys" / "toysky.py"]
DISCS = ["simulate", "toysky/discs", "--simulator", "painter", "--device", "cpu"]
BENCH = ["bench", "--model", "toyzoo/tiny", "--simulator", "painter", "--device", "cpu", "--budget", "smoke"]
SPLITS = ("train", "val", "test")
LOCAL = ["--launcher", "core/local", "--shards", 2]


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_PLUGIN_FILES", os.pathsep.join(map(str, PLUGINS)))


@pytest.fixture
def zoo(capsys):
    """Run zoo; return the exit code, stdout and stderr."""

    def run(*words):
        with pytest.raises(SystemExit) as exit_request:
            main([str(word) for word in words])
        return int(exit_request.value.code or 0), *capsys.readouterr()

    return run


@pytest.mark.slow
def test_a_data_set_may_be_simulated_by_three_machines_in_any_order(zoo, tmp_path):
    """With the real population and simulator, once into a folder, once into the cache."""
    tiny = ["--set", "data.image_size=8", "--set", "data.pixel_scale=0.8", "--device", "cpu"]
    words = ["simulate", "modelB", "-n", 700, *tiny]
    for machine, complete in ((2, False), (0, False), (1, True)):
        code, said, _ = zoo(*words, "--out", "three", "--shard", f"{machine}:3")
        assert code == 0
        assert f"machine {machine} of 3: 256 images made, 0 found" in said
        assert ("train: complete, 700 images" in said) == complete
    code, said, _ = zoo(*words, "--json")
    summary = json.loads(said)
    assert (summary["made_images"], summary["complete"], summary["device"]) == (768, True, "cpu")
    cached = Path(summary["folder"])
    assert cached == tmp_path / "cache" / "datasets" / summary["recipe_hash"]
    names = sorted(str(path.relative_to(cached)) for path in cached.rglob("[!.]*") if path.is_file())
    assert len(names) == 5
    assert all((cached / name).read_bytes() == (tmp_path / "three" / name).read_bytes() for name in names)
    code, said, _ = zoo(*words, "--json")
    assert json.loads(said)["made_images"] == 0


def sizes(**images: int) -> list[str]:
    return [word for split in SPLITS for word in ("--set", f"{split}_images={images.get(split, 150)}")]


@pytest.mark.slow
def test_bench_reads_what_was_simulated(zoo, tmp_path, monkeypatch):
    """From a folder with --images: the very images, none simulated, and the cache is left alone."""
    run_cells_here(monkeypatch)
    for split in SPLITS:
        words = ["-n", 200, "--split", split, "--seed", 3, "--set", "data.image_size=12", "--out", "images"]
        assert zoo(*DISCS, *words)[0] == 0
    words = [*BENCH, "--data", "toysky/discs", *sizes(), "--images", "images"]
    code, _, told = zoo(*words)
    assert code == 2
    assert "image_size is 12 there, 32 requested" in told
    # The hint holds the options that ask for what is there.
    hint = told.partition("To use the images in the folder: ")[2].split()
    code, said, told = zoo(*words, *hint, "--json")
    assert code == 0, told
    [result] = json.loads(said)
    assert result["cell"]["recipe"]["seed"] == 3
    assert result["cost"]["simulated_images"] == 0
    assert not (tmp_path / "cache" / "datasets").exists()
    label = load_file(tmp_path / "images" / "test" / "000000.safetensors")["label"]
    assert result["data"]["counts"]["test"] == np.bincount(label[:150]).tolist()


@pytest.mark.parametrize(("chosen", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_of_torch_wait_without_a_core(zoo, monkeypatch, tmp_path, chosen, expected):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_WAIT_POLICY", chosen)
    zoo(*DISCS, "-n", 1, "--out", tmp_path / "images")
    assert os.environ["OMP_WAIT_POLICY"] == expected


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (sizes(val=300), 2, ["has 256 of the 300 val images needed", "-n 300 --split val"]),
        ([*sizes(), "--images", "nowhere"], 1, ["nowhere is not a folder of simulated images", "zoo simulate"]),
        (
            [*sizes(), "--simulator", "caustics"],
            2,
            ["simulator is 'toysky/painter' there", "--simulator"],
        ),
        (
            [*sizes(), "--data", "toysky/moons"],
            2,
            ["'toysky/discs' there", "--data toysky/discs"],
        ),
        ([*sizes(), "--data", "toyzoo/stripes"], 2, ["toyzoo/stripes is not simulated"]),
    ],
)
def test_images_of_another_recipe_are_refused(zoo, words, code, said):
    for split in SPLITS:
        zoo(*DISCS, "-n", 10, "--split", split, "--out", "images", "--set", "data.image_size=32")
    data = [] if "--data" in words else ["--data", "toysky/discs"]
    found, out, told = zoo(*BENCH, *data, "--images", "images", *words)
    assert (found, out) == (code, ""), told
    for word in said:
        assert word in told
    assert not Path("results").exists()


def test_a_number_is_the_same_number_however_it_is_written(zoo):
    texts = ("20", "20.0", "2e1")
    summaries = [zoo(*DISCS, "-n", 1, "--set", f"data.snr={text}", "--json")[1] for text in texts]
    hashes = {json.loads(summary)["recipe_hash"] for summary in summaries}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["modelC", "-n", 5], 2, ["Unknown data set 'modelC'"]),
        (["modelB"], 2, ["The number of images is missing", "zoo simulate modelB -n 300"]),
        (["modelB", "-n", 0], 2, ["0 is not in the range"]),
        (["modelB", "-n", MOST_IMAGES + 1], 2, ["is not in the range"]),
        (["modelB", "-n", 5, "--split", "tset"], 2, ["'tset' is not one of train, val, test", "Did you mean 'test'?"]),
        (["modelB", "-n", 5, "--shard", "64:64"], 2, ["--shard 64:64", "counted from 0", "0:64 to 63:64"]),
        (["modelB", "-n", 5, "--shard", "0:0"], 2, ["at least one machine"]),
        (["modelB", "-n", 5, "--shard", "3/64"], 2, ["not of the form I:N", "--shard 0:8"]),
        (["modelB", "-n", 5, "--shard", "-1:8"], 2, ["not of the form I:N"]),
        (["modelB", "-n", 5, "--shards", "8"], 2, ["no --launcher is given", "--launcher core/local", "--shard 0:8"]),
        (["modelB", "-n", 5, "--jobs", "2"], 2, ["--jobs is an option of a launcher", "--launcher core/local"]),
        (["modelB", "-n", 5, "--launcher", "core/local"], 2, ["needs the number of shares: --shards K"]),
        (["modelB", "-n", 5, *LOCAL, "--shard", "0:2"], 2, ["--shard 0:2 is one share", "leave out one of them"]),
        (["modelB", *LOCAL, "--accuracy", 5], 2, ["--accuracy keeps no images", "--launcher"]),
        (["modelB", "-n", 5, *LOCAL], 2, ["--shards 2: 5 images make 1 file of 256", "At most: --shards 1"]),
        (["modelB", "-n", 5, *LOCAL, "--launcher", "core/locl"], 2, ["Unknown launcher 'core/locl'", "'core/local'"]),
        (["modelB", "-n", 5, *LOCAL, "--launcher-set", "job=2"], 2, ["has no option 'job'", "Did you mean 'jobs'"]),
        (["modelB", "-n", 5, *LOCAL, "--launcher-set", "gpus=x"], 2, ["must be a whole number"]),
        (["modelB", "-n", 90_000_000, *LOCAL], 1, ["TB in", "are free", "fewer images"]),
        (["modelB", "-n", 5, "--simulator", "caustic"], 2, ["Unknown simulator 'caustic'", "'caustics'"]),
        (["modelB", "-n", 5, "--simulator", "nobody/x"], 2, ["Unknown simulator"]),
        (["modelB", "-n", 5, "--set", "snr=20"], 2, ["Write: --set data.snr=..."]),
        (["modelB", "-n", 5, "--set", "epochs=2"], 2, ["images are not trained"]),
        (["modelB", "-n", 5, "--set", "data.snt=20"], 2, ["Did you mean 'data.snr'"]),
        (["modelB", "-n", 5, "--set", "data.halo_axis_ratio=2"], 2, ["halo_axis_ratio"]),
        (["modelB", "-n", 5, "--set", "data.source_redshift=0.1"], 2, ["must lie above lens_redshift"]),
        (["toyzoo/stripes", "-n", 5], 2, ["is a set of existing images", "zoo list-datasets"]),
        (["modelB", "-n", 90_000_000], 1, ["images need 8", "TB in", "are free", "fewer images"]),
    ],
)
def test_impossible_simulations_are_refused_before_any_image_is_made(zoo, words, code, said, tmp_path):
    found, out, told = zoo("simulate", *words)
    assert (found, out) == (code, ""), told
    for word in said:
        assert word in told
    assert not (tmp_path / "cache").exists()


def test_two_simulators_are_compared(zoo, tmp_path):
    tiny = ["--set", "data.image_size=16", "--set", "data.pixel_scale=0.4"]
    words = ["simulate", "modelB", "-n", 6, *tiny, "--device", "cpu"]
    code, said, _ = zoo(*words, "--compare", "lenstronomy")
    assert code == 0
    assert "caustics/caustics and lenstronomy/lenstronomy on 6 scenes of deeplense/modelB" in said
    code, said, _ = zoo(*words, "--compare", "lenstronomy", "--json")
    found = json.loads(said)
    assert found["params"] == {"image_size": 16, "pixel_scale": 0.4}
    assert 0 < found["largest"] < 5e-3  # how close they really are, the plugins' own tests say
    assert not (tmp_path / "cache" / "datasets").exists()
    code, _, told = zoo(*words, "--compare", "lenstronomy", "--out", "somewhere")
    assert (code, "leave out --out" in told) == (2, True)
    code, _, told = zoo(*words, "--compare", "lenstronomi")
    assert (code, "Did you mean" in told) == (2, True)


@pytest.mark.parametrize("images", [300, 10])
def test_a_smaller_number_than_there_is_counts_all_that_is_there(zoo, images):
    assert "train: complete, 500 images; the folder has 12 more (2 files of 256)" in zoo(*DISCS, "-n", 500)[1]
    _, said, told = zoo(*DISCS, "-n", images)
    assert f"0 images made, {512 if images > 256 else 256} found" in said
    assert f"train: complete, {images} images; the folder has {512 - images} more (2 files of 256)" in said
    assert "the split is" not in told  # it stays that of 500


@pytest.mark.parametrize(("machine", "idle"), [(1, False), (2, True), (3, True)])
def test_a_machine_without_a_file_says_so(zoo, machine, idle):
    """An array of machines may make a large training split and a small test split."""
    code, said, told = zoo(*DISCS, "-n", 300, "--out", "lenses", "--shard", f"{machine}:4")
    assert code == 0
    assert f"machine {machine} of 4: {0 if idle else 256} images made" in said
    named = f"Machine {machine} of 4, counted from 0, has nothing to make: the split of 300 images has 2 files of 256."
    assert (named in told) == idle


@pytest.mark.slow
def test_pictures_show_a_folder_and_a_data_set(zoo):
    _, said, told = zoo(*DISCS, "-n", 20, "--out", "lenses")
    assert "Files hold 256 images; the split is the first 20." in told
    assert "train: complete, 20 images; the folder has 236 more (1 file of 256); checksums" in said
    code, said, _ = zoo("data", "show", "lenses", "-n", 3)
    assert (code, said) == (0, "lenses-train.png\n")
    three = np.asarray(Image.open("lenses-train.png").convert("RGB"))
    show = ["data", "show", "toysky/discs", "--simulator", "painter"]
    code, said, _ = zoo(*show, "-n", 3, "--out", "again.png")
    assert (code, said) == (0, "again.png\n")
    np.testing.assert_array_equal(np.asarray(Image.open("again.png").convert("RGB")), three)
    # A file holds 256 images; the split has 20 of them, seven of a class at most.
    for each in (7, 9):
        zoo("data", "show", "lenses", "-n", each, "--out", f"{each}.png")
    assert Path("7.png").read_bytes() == Path("9.png").read_bytes()
    zoo(*show, "-n", 1, "--out", "one.png")
    assert Image.open("one.png").width < three.shape[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["modelC"], 2, "Unknown data set 'modelC'"),
        (["."], 1, "is not a folder of simulated images"),
        (["toyzoo/stripes"], 2, "is a set of existing images"),
        ([".", "--set", "data.snr=3"], 2, "--set applies to a data set"),
        (["modelB", "--split", "valid"], 2, "Did you mean 'val'"),
    ],
)
def test_data_that_cannot_be_shown_are_reported(zoo, words, code, said):
    found, out, told = zoo("data", "show", *words)
    assert (found, out) == (code, "")
    assert said in told
