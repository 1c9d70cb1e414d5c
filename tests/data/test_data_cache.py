"""Shards in the cache: only missing ones are made, the same ones after any interruption."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from shardtools import RECIPE, equal, make, names, simulation
from toysky import Discs, Painter

from zoo.data.folder import cache_folder, fill_folder
from zoo.data.recipe import Recipe
from zoo.data.shards import SHARD_SIZE, read_shard, shard_path
from zoo.data.split import Split, from_shards
from zoo.errors import DataError, UsageError
from zoo.lensing.observe import Rendered
from zoo.paths import written_whole


def split_folder(recipe: Recipe, split: str) -> Path:
    return cache_folder(recipe) / split


def as_split(shards: list[dict], count: int) -> Split:
    return from_shards("train", ("a", "b", "c"), shards, count)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_a_shard_holds(cache):
    shards = make(SHARD_SIZE)
    assert split_folder(RECIPE, "train") == cache / "datasets" / RECIPE.hash / "train"
    (shard,) = shards
    scenes = Discs().sample(np.arange(SHARD_SIZE), RECIPE.stream("train"))
    assert shard["image"].shape == (SHARD_SIZE, 1, 8, 8)
    assert shard["image"].dtype == np.float32
    np.testing.assert_array_equal(shard["label"], scenes.label)
    np.testing.assert_array_equal(shard["parameter.colour"], scenes.parameters["colour"])
    np.testing.assert_array_equal(shard["parameter.source_x"], scenes.source.x)
    assert shard["parameter.snr"] == pytest.approx(np.full(SHARD_SIZE, 20), rel=1e-5)
    # The images show the scenes: noise is 1/20 of the peak at most, so the brightest pixel is near the source.
    row, column = np.divmod(shard["image"][:, 0].reshape(SHARD_SIZE, -1).argmax(1), 8)
    assert np.abs(column - 3.5 - scenes.source.x).mean() < 1
    assert np.abs(row - 3.5 - scenes.source.y).mean() < 1
    assert json.loads((cache / "datasets" / RECIPE.hash / "recipe.json").read_text()) == RECIPE.to_json()


@pytest.mark.parametrize(("count", "shards"), [(1, 1), (255, 1), (256, 1), (257, 2), (700, 3)])
def test_whole_shards_are_made(count, shards):
    painter = Painter()
    assert len(make(count, render=painter)) == painter.calls == shards
    assert len(as_split(make(count), count)) == count


def test_only_what_is_missing_is_made():
    first, second, third = Painter(), Painter(), Painter()
    few = make(300, render=first)
    many = make(700, render=second)
    few_again = make(300, render=third)
    assert (first.calls, second.calls, third.calls) == (2, 1, 0)
    assert equal(few, many[:2])
    assert equal(few, few_again)


def test_splits_and_recipes_are_kept_apart():
    train, test = make(256), make(256, split="test")
    other = make(256, recipe=Recipe(**(RECIPE.to_json() | {"seed": 1})))
    assert not np.array_equal(train[0]["image"], test[0]["image"])
    assert not np.array_equal(train[0]["image"], other[0]["image"])


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no luck"), MemoryError()])
def test_an_interruption_loses_nothing_that_was_made(error, tmp_path, monkeypatch):
    with pytest.raises(type(error)):
        make(1000, render=Painter(fails_in=3, error=error))
    assert names(split_folder(RECIPE, "train")) == [".000002.lock", "000000.safetensors", "000001.safetensors"]
    rest = Painter()
    continued = make(1000, render=rest)
    assert rest.calls == 2
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "elsewhere"))
    assert equal(continued, make(1000))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "garbage", "other recipe"])
def test_a_damaged_shard_is_made_again_with_a_warning(damage, caplog):
    good = [{name: array.copy() for name, array in shard.items()} for shard in make(600)]
    path = shard_path(split_folder(RECIPE, "train"), 1)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    elif damage == "truncate":
        content = content[:-1]
    elif damage == "empty":
        content = bytearray()
    elif damage == "garbage":
        content = bytearray(b"<html>")
    else:
        make(256, recipe=Recipe(**(RECIPE.to_json() | {"seed": 1})))
        other = Recipe(**(RECIPE.to_json() | {"seed": 1}))
        content = bytearray(shard_path(split_folder(other, "train"), 0).read_bytes())
    path.unlink()
    path.write_bytes(content)
    painter = Painter()
    with caplog.at_level(logging.WARNING):
        assert equal(make(600, render=painter), good)
    assert painter.calls == 1
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert "made again" in record.getMessage()
    assert make(600, render=Painter(fails_in=1, error=AssertionError("nothing is missing")))


def test_files_of_killed_writers_are_ignored_and_removed():
    folder = split_folder(RECIPE, "train")
    folder.mkdir(parents=True)
    with written_whole(shard_path(folder, 0)) as temporary:
        temporary.write_bytes(b"half a shard")
        name = temporary.name
    shard_path(folder, 0).unlink()
    (folder / name).write_bytes(b"half a shard")
    make(1)
    assert names(folder) == ["000000.safetensors"]


TWO_PROCESSES = """
import importlib.util, os, signal, sys
sys.path.insert(0, sys.argv[-1])
spec = importlib.util.spec_from_file_location("fakes", sys.argv[1])
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)

def child(task):
    number = os.fork()
    if number == 0:
        status = 99
        try:
            status = task()
        finally:
            os._exit(status)
    return number

def exit_of(number):
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])

def killed_while_writing_its_second_shard():
    moves, replace = [], os.replace
    def die_in_the_third(*paths):  # the first moves recipe.json
        moves.append(paths)
        if len(moves) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)
    os.replace = die_in_the_third
    fakes.make(900)

def make_all():
    painter = fakes.Painter()
    shards = fakes.make(900, render=painter)
    assert len(shards) == 4
    return painter.calls

assert exit_of(child(killed_while_writing_its_second_shard)) == -signal.SIGKILL
folder = fakes.split_folder(fakes.RECIPE, "train")
print([name.endswith(".part") for name in fakes.names(folder) if not name.endswith(".lock")])
print(sum([exit_of(number) for number in [child(make_all), child(make_all)]]))
"""


@pytest.mark.slow
def test_one_process_killed_then_two_at_once(cache, tmp_path, monkeypatch):
    finished = subprocess.run(
        [sys.executable, "-c", TWO_PROCESSES, __file__, str(Path(__file__).parents[1] / "toys")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [
        "[True, False]",  # the unfinished file of the killed process, and the shard that it had finished
        "3",  # shards that the two made together: each missing one once
    ]
    folder = split_folder(RECIPE, "train")
    assert names(folder) == [f"{number:06d}.safetensors" for number in range(4)]
    made = [read_shard(shard_path(folder, number), identity=f"{RECIPE.hash}/train/{number}") for number in range(4)]
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "elsewhere"))
    assert equal(made, make(900))


def test_progress_counts_the_images_that_are_made():
    calls: list[tuple[int, int]] = []
    make(256)
    make(700, progress=lambda *call: calls.append(call))
    assert calls == [(0, 512), (256, 512), (512, 512)]
    calls.clear()
    make(700, progress=lambda *call: calls.append(call))
    assert calls == []


def test_the_simulator_learns_how_much_there_is_to_do():
    seen = []

    def render(scenes, instrument, *, device, expected_images):
        seen.append((len(scenes), instrument.image_size, device, expected_images))
        return Painter()(scenes, instrument, device=device, expected_images=expected_images)

    make(300, render=render)
    assert seen == [(256, 8, "cpu", 300)] * 2


def test_a_simulator_that_returns_another_size():
    with pytest.raises(DataError, match=r"toy/fake returned a source of shape \(256, 9, 9\) where \(256, 8, 8\)"):
        make(1, render=lambda scenes, *_, **__: Rendered(source=torch.ones(256, 9, 9)))


@pytest.mark.parametrize("which", ["source", "lens_light"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, "black"])
def test_an_image_that_cannot_be_exposed_is_named_and_nothing_is_kept(value, which):
    def render(scenes, *_, **__):
        light = {"source": torch.ones(256, 8, 8), "lens_light": torch.ones(256, 8, 8)}
        if value == "black":
            light["source"][200] = 0
        else:
            light[which][200, 3, 4] = value
        return Rendered(**light)

    make(256)
    with pytest.raises(UsageError, match="Image 456 of split train of toy/discs as toy/fake renders it is not finite"):
        make(512, render=render)
    assert names(split_folder(RECIPE, "train")) == [".000001.lock", "000000.safetensors"]


def test_rounding_below_zero_and_a_lens_without_light_are_allowed():
    def render(scenes, *_, **__):
        source = torch.ones(256, 8, 8)
        source[:, 0, 0] = -1e-7
        return Rendered(source=source, lens_light=torch.zeros(256, 8, 8))

    class Dark(Discs):
        def sample(self, indices, seed):
            scenes = super().sample(indices, seed)
            return dataclasses.replace(
                scenes, exposure=dataclasses.replace(scenes.exposure, sky=np.zeros(len(indices)))
            )

    (shard,) = fill_folder(simulation(population=Dark(), render=render), "train", 1).shards
    assert (shard["image"][:, 0, 0, 0] == 0).all()


def test_a_cache_that_cannot_be_used(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="ZOO_CACHE"):
        make(1)


def test_a_folder_where_a_shard_should_be():
    make(1, split="val")
    shard_path(split_folder(RECIPE, "train"), 0).mkdir(parents=True)
    with pytest.raises(DataError, match="ZOO_CACHE"):
        make(1)


def test_split_of_shards_cuts_the_last_one():
    split = as_split(make(300), 300)
    assert [len(chunk) for chunk in split.chunks] == [256, 44]
    assert split.image_shape == (1, 8, 8)
    assert len(split) == len(split.labels) == len(set(split.ids)) == 300
    assert split.ids[299] == "train-0000299"
    assert all(len(values) == 300 for values in split.parameters.values())
    assert "colour" in split.parameters
    np.testing.assert_array_equal(split.images, np.concatenate([shard["image"] for shard in make(512)])[:300])
    mean, deviation = split.moments()
    assert mean == pytest.approx([split.images.astype(float).mean()], rel=1e-12)
    assert deviation == pytest.approx([split.images.astype(float).std()], rel=1e-12)


class Wrong(Discs):
    """A population that breaks its contract in one way."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def sample(self, indices, seed):
        return self.change(super().sample(indices, seed))


def leave(scenes):
    raise SystemExit("no more")


def exposed(**values):
    """Return a change that gives the second scene these values of its exposure."""

    def change(scenes):
        columns = {name: getattr(scenes.exposure, name).astype(float) for name in values}
        for name, value in values.items():
            columns[name][1] = value
        return dataclasses.replace(scenes, exposure=dataclasses.replace(scenes.exposure, **columns))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda scenes: None, "toy/discs: the population drew a NoneType, not Scenes."),
        (lambda scenes: scenes[:-1], r"drew scenes.label of shape \[\d+\] for \d+ images"),
        (lambda scenes: dataclasses.replace(scenes, parameters={"colour": np.zeros((3, 2))}), "parameters.colour of"),
        (lambda scenes: dataclasses.replace(scenes, label=scenes.label / 2), "labels of type float64"),
        (leave, "no more"),
        (exposed(seconds=0.0), "drew exposure.seconds 0; it must be above 0."),
        (exposed(seconds=np.nan), "drew exposure.seconds nan"),
        (exposed(sky=-1e-3), "drew exposure.sky -0.001; it must be at least 0"),
        (exposed(snr=-5.0), "drew exposure.snr -5; it must be above 0, or NaN for none"),
        (exposed(snr=np.inf), "drew exposure.snr inf"),
        (exposed(peak=0.0), "drew exposure.peak 0; it must be above 0, or NaN for none"),
    ],
)  # fmt: skip
def test_what_a_population_draws_is_checked(change, said):
    with pytest.raises(Exception, match=said) as raised:
        simulation(population=Wrong(change)).shard("train", 0)
    assert not isinstance(raised.value, SystemExit | AttributeError)


@pytest.mark.parametrize("returned", [None, "images", (1, 2)])
def test_what_a_simulator_returns_is_checked(returned):
    with pytest.raises(DataError, match=f"Simulator toy/fake returned a {type(returned).__name__}, not Rendered"):
        make(256, render=lambda *_, **__: returned)
