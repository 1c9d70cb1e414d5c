"""Folders of shards that many machines fill: the manifest, shares, what is refused."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import resource
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import numpy as np
import pytest
import safetensors.numpy
from shardtools import RECIPE, equal, make, names, simulation
from toysky import Painter

from zoo.data import folder as folder_module
from zoo.data import simulate
from zoo.data.folder import fill_folder, open_folder
from zoo.data.manifest import read_manifest
from zoo.data.shards import shard_path
from zoo.data.share import PARTS, Share
from zoo.data.simulate import PIXELS_AT_A_TIME
from zoo.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(folder: Path, count: int, *, machine: int = 0, of: int = 1, split: str = "train", **options):
    return fill_folder(
        simulation(**options), split, count, folder=folder, share=Share(machine=machine, of=of)
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    """Every file of the data set, by its path in the folder: without hidden files and what machines have left."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.relative_to(folder).parts[0] != PARTS
    }


MACHINES = """
import importlib.util, os, signal, sys
sys.path.insert(0, sys.argv[-1])
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


@pytest.mark.slow
def test_any_number_of_machines_killed_and_started_again_make_the_same_files(tmp_path):
    command = [sys.executable, "-c", MACHINES, __file__, str(tmp_path), str(Path(__file__).parents[1] / "toys")]
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


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [1, 64 * 7, 64 * 255])
def test_the_images_do_not_depend_on_how_many_are_in_work(pixels, tmp_path, monkeypatch):
    monkeypatch.setitem(PIXELS_AT_A_TIME, "cpu", pixels)
    fill(tmp_path / "pieces", 300)
    monkeypatch.undo()
    fill(tmp_path / "whole", 300)
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")


@pytest.mark.parametrize(("quick", "seen"), [(0.0, [64, 128, 192, 256, 300]), (1e9, [64, 256, 300])])
def test_batches_grow_only_where_they_take_little_time(quick, seen, monkeypatch):
    side = simulation().population.instrument.divided().image_size
    monkeypatch.setattr(simulate, "FIRST_PIXELS", 64 * side**2)
    monkeypatch.setitem(PIXELS_AT_A_TIME, "cpu", 192 * side**2)
    monkeypatch.setattr(simulate, "QUICK", quick)
    done: list[int] = []
    simulation().arrays("train", np.arange(300), progress=done.append)
    assert done == seen


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
        ({"seed": 5}, "seed is 0 there, 5 requested"),
        ({"params": {"snr": 20}}, "snr is None there, 20 requested"),
        (
            {"simulator": "toy/other", "device_type": "cuda"},
            "device_type is 'cpu' there, 'cuda' requested; simulator is",
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
    with pytest.raises(UsageError, match=r"no recipe\.json, so their recipe is unknown"):
        fill(tmp_path, 10)
    assert files(tmp_path) == before


def test_a_set_that_cannot_fit_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    # The images are 8 x 8, one parameter is the population's, 19 numbers are the scene's; offsets have one more.
    enough = 256 * (4 * 64 + 8 * (10 + 20)) + 8
    usage = {"free": 3 * enough - 1}
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), usage))
    with pytest.raises(DataError, match=r"768 images need 381\.0 kB in .*new/train, where 381\.0 kB are free"):
        fill(tmp_path / "new", 600, render=Painter(fails_in=1, error=AssertionError("begun")))
    assert not (tmp_path / "new").exists()
    assert fill(tmp_path / "new", 500).complete
    size = shard_path(tmp_path / "new" / "train", 0).stat().st_size
    assert enough < size < 1.05 * enough  # the estimate is that of the file without its header


def test_images_too_large_for_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.loader.free_memory", lambda device: 500_000)
    with pytest.raises(UsageError, match=r"Images of 8 x 8 pixels are too large.*589\.8 kB of memory; 500\.0 kB are"):
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


@pytest.mark.slow
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
    with pytest.raises(DataError, match=r"no more than 768 train images in a row; needed: 1,000") as caught:
        open_folder(tmp_path, RECIPE, "train", 1000)
    assert "zoo simulate toy/discs -n 1000 --split train" in str(caught.value)
    with pytest.raises(UsageError, match="seed is 0 there, 1 requested"):
        open_folder(tmp_path, dataclasses.replace(RECIPE, seed=1), "train", 300)
    with pytest.raises(DataError, match="is not a folder of simulated images"):
        open_folder(tmp_path / "absent", RECIPE, "train", 300)


def test_labels_that_no_class_has(tmp_path):
    bad = dataclasses.replace(simulation(), classes=("a", "b"))
    with pytest.raises(DataError, match="drew labels from 0 to 2 for 2 classes"):
        fill_folder(bad, "train", 10, folder=tmp_path)
