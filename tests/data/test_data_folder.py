"""Making shards: only the missing ones, the same ones however it is interrupted or shared between processes."""

import dataclasses
import errno
import hashlib
import json
import logging
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np
import pytest
import safetensors.numpy
import torch

from zoo.data import folder as folder_module
from zoo.data.folder import Share, cache_folder, fill_folder, open_folder
from zoo.data.manifest import read_manifest
from zoo.data.recipe import Recipe
from zoo.data.shards import SHARD_SIZE, read_shard, shard_path
from zoo.data.simulate import Simulation
from zoo.data.split import Split, from_shards
from zoo.errors import DataError, UsageError
from zoo.host import load_plugins
from zoo.lensing.observe import Rendered
from zoo.paths import written_whole

load_plugins(files=[Path(__file__).parents[1] / "toys" / "toysky.py"], environment={})
from toysky import Discs, Painter  # noqa: E402 - importable only now that its folder is on the path

RECIPE = Recipe(dataset="toy/discs", dataset_version=1, simulator="toy/fake", simulator_version=1)


def simulation(*, render: Callable | None = None, recipe: Recipe = RECIPE, population=None, expected=1) -> Simulation:
    return Simulation(
        recipe=recipe, classes=("a", "b", "c"), population=population or Discs(), render=render or Painter(),
        device="cpu", expected_images=expected,
    )  # fmt: skip


def split_folder(recipe: Recipe, split: str) -> Path:
    return cache_folder(recipe) / split


def make(count: int, *, split: str = "train", render: Callable | None = None, recipe: Recipe = RECIPE, **options):
    return fill_folder(simulation(render=render, recipe=recipe, expected=count), split, count, **options).shards


def as_split(shards: list[dict], count: int) -> Split:
    return from_shards("train", ("a", "b", "c"), shards, count)


def equal(first: list[dict], second: list[dict]) -> bool:
    return len(first) == len(second) and all(
        one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
        for one, other in zip(first, second, strict=True)
    )


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


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


def test_one_process_killed_then_two_at_once(cache, tmp_path, monkeypatch):
    finished = subprocess.run(
        [sys.executable, "-c", TWO_PROCESSES, __file__], capture_output=True, text=True, timeout=120, check=False
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
    with pytest.raises(DataError, match=r"toy/fake returned images of shape \(256, 9, 9\) where \(256, 8, 8\)"):
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


def test_moments_of_a_bright_flat_image_and_of_each_channel():
    random = np.random.default_rng(0)
    chunks = [
        (random.normal(size=(n, 2, 4, 4)) * [[[1e-3]], [[2]]] + [[[1e4]], [[-3]]]).astype(np.float32) for n in (5, 3)
    ]
    split = Split(
        name="train", classes=("a",), chunks=chunks, labels=np.zeros(8, np.int64), ids=[str(i) for i in range(8)]
    )
    stacked = np.concatenate(chunks).astype(np.float64)
    mean, deviation = split.moments()
    assert mean == pytest.approx(stacked.mean((0, 2, 3)), rel=1e-12)
    assert deviation == pytest.approx(stacked.std((0, 2, 3)), rel=1e-6)


def fill(folder: Path, count: int, *, machine: int = 0, of: int = 1, split: str = "train", **options):
    return fill_folder(
        simulation(**options), split, count, folder=folder, share=Share(machine=machine, of=of)
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    """Every file that is not hidden, by its path in the folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


MACHINES = """
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("fakes", sys.argv[1])
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)

def machine(folder, number, of, dies):
    child = os.fork()
    if child:
        return child
    replace = os.replace
    def die(source, target):
        if str(target).endswith(".safetensors"):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
    if dies:
        os.replace = die
    fakes.fill(folder, 2100, machine=number, of=of)
    os._exit(0)

def run(folder, of, dies):
    # All at once, the last machine first.
    children = [machine(folder, number, of, dies) for number in reversed(range(of))]
    return {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}

for of in (1, 3, 8):
    folder = fakes.Path(sys.argv[2], str(of))
    assert run(folder, of, True) == {-signal.SIGKILL}  # each while its first shard is being moved
    assert not (folder / "manifest.json").exists()
    assert run(folder, of, False) == {0}
"""


def test_any_number_of_machines_killed_and_started_again_make_the_same_files(tmp_path):
    command = [sys.executable, "-c", MACHINES, __file__, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr
    assert fill(tmp_path / "reference", 2100).complete
    reference = files(tmp_path / "reference")
    assert len(reference) == 9 + 2
    for of in (1, 3, 8):
        assert files(tmp_path / str(of)) == reference
    assert not list(tmp_path.rglob("*.part"))


def test_the_last_machine_completes_the_manifest_whichever_it_is(tmp_path):
    order = [2, 0, 1]
    complete = [fill(tmp_path, 1500, machine=machine, of=3).complete for machine in order]
    assert complete == [False, False, True]
    assert fill(tmp_path, 1500).made == 0


def test_a_machine_without_a_shard_has_nothing_to_do(tmp_path):
    filled = fill(tmp_path, 300, machine=7, of=8)
    assert (filled.shards, filled.made, filled.complete) == ([], 0, False)


@pytest.mark.parametrize("pixels", [1, 64 * 7, 64 * 255])
def test_the_images_do_not_depend_on_how_many_are_in_work(pixels, tmp_path, monkeypatch):
    monkeypatch.setitem(folder_module.PIXELS_AT_A_TIME, "cpu", pixels)
    fill(tmp_path / "pieces", 300)
    monkeypatch.undo()
    fill(tmp_path / "whole", 300)
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")


def test_the_manifest_is_true(tmp_path):
    fill(tmp_path, 700)
    fill(tmp_path, 300, split="val")
    manifest = read_manifest(tmp_path)
    assert manifest.recipe == RECIPE
    assert manifest.classes == ("a", "b", "c")
    assert set(manifest.splits) == {"train", "val"}
    train = manifest.splits["train"]
    assert train.images == 700
    contents = {path.name: path.read_bytes() for path in (tmp_path / "train").glob("*.safetensors")}
    assert train.shards == {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    labels = np.concatenate([safetensors.numpy.load(contents[name])["label"] for name in sorted(contents)])
    assert list(train.counts.values()) == np.bincount(labels[:700]).tolist()


def test_the_page_says_how_to_read_a_shard(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    fill(tmp_path / "DIR", 10)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    shape_and_labels, _, snr = capsys.readouterr().out.rpartition(" ")
    assert shape_and_labels == "(256, 1, 8, 8) [0 1 2 0 1 2]"
    assert float(snr) == pytest.approx(20, rel=1e-5)


def test_a_larger_set_extends_a_smaller_one_and_a_smaller_request_takes_nothing_away(tmp_path):
    fill(tmp_path, 300)
    few = read_manifest(tmp_path).splits["train"]
    fill(tmp_path, 700)
    many = read_manifest(tmp_path).splits["train"]
    assert few.shards.items() < many.shards.items()
    fill(tmp_path, 10)
    assert read_manifest(tmp_path).splits["train"] == many


def test_the_manifest_keeps_the_checksum_of_a_file_that_was_exchanged(tmp_path):
    fill(tmp_path, 300)
    before = read_manifest(tmp_path)
    path = shard_path(tmp_path / "train", 1)
    arrays = safetensors.numpy.load(path.read_bytes())
    folder_module.write_shard(
        path, arrays | {"label": arrays["label"][::-1]}, identity=f"{RECIPE.hash}/train/1"
    )  # fmt: skip
    assert fill(tmp_path, 300).made == 0
    assert read_manifest(tmp_path) == before


def test_another_machines_shard_is_checked_before_it_stands_in_the_manifest(tmp_path, caplog):
    fill(tmp_path, 700, machine=1, of=2)
    path = shard_path(tmp_path / "train", 1)
    path.write_bytes(path.read_bytes()[:-1])
    assert not fill(tmp_path, 700, machine=0, of=2).complete
    assert str(path) in caplog.text
    assert fill(tmp_path, 700).made == 256


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 5}, "seed is 0 there, 5 asked for"),
        ({"params": {"snr": 20}}, "snr is None there, 20 asked for"),
        (
            {"simulator": "toy/other", "device_type": "cuda"},
            "device_type is 'cpu' there, 'cuda' asked for; simulator is",
        ),
    ],
)
def test_two_recipes_in_one_folder_are_refused(tmp_path, change, words):
    fill(tmp_path, 10)
    before = files(tmp_path)
    with pytest.raises(UsageError, match=words):
        fill(tmp_path, 10, recipe=dataclasses.replace(RECIPE, **change))
    assert files(tmp_path) == before


def test_shards_of_nobody_knows_what_are_not_written_over(tmp_path):
    fill(tmp_path, 10)
    (tmp_path / "recipe.json").unlink()
    before = files(tmp_path)
    with pytest.raises(UsageError, match=r"no recipe\.json says what they are"):
        fill(tmp_path, 10)
    assert files(tmp_path) == before


def test_a_set_that_cannot_fit_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    enough = 256 * (4 * 64 + 8 * 10)  # the images are 8 x 8, one parameter is the population's
    usage = {"free": 3 * enough - 1}
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), usage))
    with pytest.raises(DataError, match=r"768 images need 258\.0 kB in .*new/train, where 258\.0 kB are free"):
        fill(tmp_path / "new", 600, render=Painter(fails_in=1, error=AssertionError("begun")))
    assert not (tmp_path / "new").exists()
    assert fill(tmp_path / "new", 500).complete
    size = shard_path(tmp_path / "new" / "train", 0).stat().st_size
    assert enough < size < 1.05 * enough  # the estimate is that of the file without its header


def test_images_too_large_for_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.loader.free_memory", lambda device: 30_000_000)
    with pytest.raises(UsageError, match=r"Images of 8 x 8 pixels are too large.*33\.6 MB of memory; 30\.0 MB are"):
        fill(tmp_path / "new", 10)
    assert not (tmp_path / "new").exists()


def test_a_disk_that_fills_in_mid_shard_leaves_nothing_half_written(tmp_path):
    """The operating system refuses to write beyond a limit, in the middle of the file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # a shard has 87 kB
    try:
        with pytest.raises(DataError, match=r"Cannot write .*000000.*File too large"):
            fill(tmp_path / "new", 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path / "new" / "train") == [".000000.lock"]
    assert fill(tmp_path / "new", 10).complete


def test_no_space_left_is_said(tmp_path, monkeypatch):
    def fsync(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(DataError, match="No space left on device"):
        fill(tmp_path, 10)
    assert files(tmp_path) == {}


def test_a_shard_that_another_process_makes_is_left_to_it(tmp_path):
    """While the lock of shard 0 is held, the others are made; then shard 0 is waited for, and made by nobody twice."""
    fill(tmp_path / "there", 700)
    place = tmp_path / "new" / "train"
    place.mkdir(parents=True)
    painter = Painter()
    lock = filelock.FileLock(place / ".000000.lock", thread_local=False)
    lock.acquire()
    worker = threading.Thread(target=fill, args=(tmp_path / "new", 700), kwargs={"render": painter})
    worker.start()
    while not shard_path(place, 2).exists():
        assert worker.is_alive()
    assert not shard_path(place, 0).exists()
    shard_path(place, 0).write_bytes(shard_path(tmp_path / "there" / "train", 0).read_bytes())
    lock.release()
    worker.join(timeout=60)
    assert painter.calls == 2
    assert files(tmp_path / "new") == files(tmp_path / "there")


def test_reading_a_folder_makes_nothing(tmp_path):
    fill(tmp_path, 600)
    shards = open_folder(tmp_path, RECIPE, "train", 300)
    assert equal(shards, make(300))
    with pytest.raises(DataError, match=r"no more than 768 train images in a row; 1,000 are needed") as caught:
        open_folder(tmp_path, RECIPE, "train", 1000)
    assert "zoo simulate toy/discs -n 1000 --split train" in str(caught.value)
    with pytest.raises(UsageError, match="seed is 0 there, 1 asked for"):
        open_folder(tmp_path, dataclasses.replace(RECIPE, seed=1), "train", 300)
    with pytest.raises(DataError, match="is no folder of simulated images"):
        open_folder(tmp_path / "absent", RECIPE, "train", 300)


def test_labels_that_no_class_has(tmp_path):
    bad = dataclasses.replace(simulation(), classes=("a", "b"))
    with pytest.raises(DataError, match="drew labels from 0 to 2 for 2 classes"):
        fill_folder(bad, "train", 10, folder=tmp_path)
