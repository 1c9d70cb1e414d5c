"""The reader of DeepLense's folders: every layout, classes and splits, files read once, nothing leaked."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from foldertools import COMMON, SIZE, below, fill, opened, pair, picture, put
from zoo_deeplense.folder import build, check
from zoo_deeplense.layout import CLASS_ALIASES, find_files

from zoo.data.content import content_digest
from zoo.data.images import Rows, assign_splits, chunks_of
from zoo.data.loader import Batches
from zoo.data.open import Dataset
from zoo.data.recipe import Recipe
from zoo.errors import DataError, UsageError
from zoo.host import load_plugins

pytestmark = pytest.mark.usefixtures("own_cache")


MODELS = ("no_sub", "cdm", "axion")
# Folders, the root below which they are read, and the splits that come out.
LAYOUTS = {
    "common test": (COMMON, ".", {"train", "test"}),
    "Model A": (below("images_f/train", "images_f/val"), ".", {"train", "test"}),
    "Model B, its own folder": (below("images_j/train", "images_j/val"), "images_j", {"train", "test"}),
    "three splits": (below("train", "val", "test"), ".", {"train", "val", "test"}),
    "Model I": (below("Model_I", "Model_I_test", names=MODELS), ".", {"train", "test"}),
    "Model II, no test": (below("Model_II", names=MODELS), ".", None),
    "bare": (below(".", names=("no_substructure", "subhalo", "superfluid")), ".", None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, tmp_path):
    folders, root, splits = LAYOUTS[layout]
    fill(tmp_path / "set", folders)
    content = opened(tmp_path / "set" / root)
    assert content.images.shape == (4 * len(folders), 1, SIZE, SIZE)
    assert content.images.dtype == np.float32
    np.testing.assert_array_equal(content.images[:, 0, 0, 0], content.labels)
    assert (None if content.split is None else set(content.split)) == splits
    numbers = content.images[:, 0, 0, 1].astype(int)
    assert len(set(numbers)) == len(numbers)
    if splits:
        for number, split in zip(numbers, content.split, strict=True):
            folder = list(folders)[number // 100]
            named = next((mark for mark in ("val", "test", "train") if mark in folder), "train")
            assert split == ("test" if named == "val" and "val" not in splits else named), folder


@pytest.mark.parametrize("label", range(3))
def test_every_alias(label, tmp_path):
    for alias in list(CLASS_ALIASES.values())[label]:
        root = tmp_path / alias
        others = [names[0] for k, names in enumerate(CLASS_ALIASES.values()) if k != label]
        for name in (alias.upper(), *others):
            put(root / name / "1.npy", picture(0))
        [found] = [file for file in find_files(root) if file.path.startswith(alias.upper())]
        assert found.label == label


def test_neither_id_nor_order_nor_type_tells_the_class(tmp_path):
    root = tmp_path / "set"
    for k, (name, kind) in enumerate((("no_sub", np.int64), ("cdm", np.float64), ("axion", object))):
        for j in range(60):
            image = (255 * picture(100 * k + j, SIZE, SIZE)).astype(np.int64)
            array = pair(image.astype(float), 1e-23) if kind is object else image.astype(kind)
            put(root / "Model_I" / name / f"{name}_sim_{j}.npy", array, allow_pickle=True)
    content = opened(root)
    assert not any(alias in name for name in content.ids for aliases in CLASS_ALIASES.values() for alias in aliases)
    assert {len(name) for name in content.ids} == {16}
    changes = (np.diff(content.labels) != 0).mean()
    assert changes == pytest.approx(2 / 3, abs=0.12)  # no runs of one class
    chosen = assign_splits(content, {"train": 999, "val": 999, "test": 999}, seed=0)
    for indices in chosen.values():
        counts = np.bincount(content.labels[indices], minlength=3)
        assert counts.min() > 0
        assert counts.max() - counts.min() < 4 * np.sqrt(len(indices))
    # The split of an image does not depend on which others are there.
    for path in list(root.rglob("*sim_1*.npy")):
        path.unlink()
    fewer = opened(root)
    again = assign_splits(fewer, {"train": 999, "val": 999, "test": 999}, seed=0)
    test = {content.ids[i] for i in chosen["test"]}
    kept = [fewer.ids[i] in test for i in again["test"]]
    assert np.mean(kept) > 0.8


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    fill(tmp_path / "two", {"no": 0, "sphere": 1})
    with pytest.raises(DataError, match=r"no images of the class vortex.\nIts folder may be called: vort, axion"):
        opened(tmp_path / "two")
    fill(tmp_path / "sets", {f"images_{k}/{name}": 0 for k in "fj" for name in ("no", "sphere", "vort")})
    with pytest.raises(UsageError, match="several sets: images_f, images_j"):
        opened(tmp_path / "sets")
    fill(tmp_path / "odd", {"no": 0, "sphere": 1, "spiral": 2})
    with pytest.raises(DataError, match=r"spiral holds arrays, but its path names no class"):
        opened(tmp_path / "odd")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.npy files and no PNGs"):
        opened(tmp_path / "empty")
    for root in (None, "", str(tmp_path / "nowhere")):
        with pytest.raises(UsageError, match=r"--set data\.root=DIR"):
            build(root=root, scaling="none", skip_broken=False)
    fill(tmp_path / "good", {"no": 0, "sphere": 1, "vort": 2})
    for wrong in ({"scaling": "max"}, {"skip_broken": "yes"}, {"pixel_scale": 0}, {"pixel_scale": "fine"}):
        with pytest.raises(UsageError, match=r"must be|not one of"):
            opened(tmp_path / "good", **wrong)


def test_hidden_files_and_folders_are_no_part_of_the_set(tmp_path):
    fill(tmp_path / "set", {"no": 0, "sphere": 1, "vort": 2})
    for name in ("no/._0.npy", "no/.ipynb_checkpoints/0-checkpoint.npy", ".trash/sphere/0.npy"):
        put(tmp_path / "set" / name, picture(9))
    assert len(opened(tmp_path / "set").images) == 12


def test_scaling_is_off_unless_asked_for(tmp_path):
    fill(tmp_path / "set", {"no": 0, "sphere": 1, "vort": 2})
    plain, scaled = opened(tmp_path / "set"), opened(tmp_path / "set", scaling="minmax")
    low, high = plain.images.min((1, 2, 3), keepdims=True), plain.images.max((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(scaled.images, (plain.images - low) / (high - low), rtol=1e-6)
    assert plain.ids == scaled.ids


def test_files_are_read_once_and_again_when_they_change(tmp_path, monkeypatch):
    root = tmp_path / "set"
    fill(root, {"no": 0, "sphere": 1, "vort": 2})
    first = opened(root)
    monkeypatch.setattr("zoo_deeplense.folder.read_image", lambda path: pytest.fail("read again"))
    np.testing.assert_array_equal(opened(root).images, first.images)
    monkeypatch.undo()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    put(root / "no" / "new.npy", picture(7))
    assert len(opened(root).images) == 13
    assert isinstance(first.images, np.memmap)
    index = json.loads(next((tmp_path / "cache" / "folders").glob("*/index.json")).read_text())
    assert all((root / path).exists() for path in index["files"])


@pytest.mark.parametrize("damage", ["images.npy", "index.json", "shorter", "no images", "without checksum"])
def test_a_damaged_array_is_made_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "set"
    fill(root, {"no": 0, "sphere": 1, "vort": 2})
    expected = np.array(opened(root).images)
    (folder,) = (tmp_path / "cache" / "folders").iterdir()
    images, index = folder / "images.npy", folder / "index.json"
    if damage == "shorter":
        images.write_bytes(images.read_bytes()[:-8])
    elif damage == "no images":
        images.unlink()
    elif damage == "without checksum":
        content = json.loads(index.read_text())
        del content["checksum"]
        index.write_text(json.dumps(content))
    else:
        whole = bytearray((folder / damage).read_bytes())
        whole[-20] ^= 1
        (folder / damage).write_bytes(whole)
    again = opened(root)
    np.testing.assert_array_equal(again.images, expected)
    assert len(again.ids) == len(expected)


def test_the_way_to_batches_stays_on_disk(tmp_path):
    """Data set, splits, moments, batches: the same numbers as from memory, in pieces that are read on demand."""
    root = tmp_path / "set"
    fill(root, COMMON, count=30)
    recipe = Recipe(
        dataset="deeplense/deeplense-folder", dataset_version=1,
        params={"root": str(root), "scaling": "none", "skip_broken": False}, content={"root": content_digest(root)},
    )  # fmt: skip
    data = Dataset(load_plugins(environment={}), recipe, {"train": 50, "val": 8, "test": 40})
    train, val, test = (data.split(name) for name in ("train", "val", "test"))
    assert [len(split) for split in (train, val, test)] == [50, 8, 40]
    assert all(isinstance(piece, Rows) for piece in train.chunks)
    mean, deviation = train.moments()
    assert mean[0] == pytest.approx(train.images.mean(dtype=np.float64))
    assert deviation[0] == pytest.approx(train.images.std(dtype=np.float64))
    # The first pixel is the label, so a batch shows whether rows and labels still belong together.
    for resident in (True, False):
        for images, labels in Batches(train, device=torch.device("cpu"), resident=resident).batches(16):
            assert torch.equal(images[:, 0, 0, 0], labels.float())
    assert not {*train.ids, *val.ids} & set(test.ids)
    content = opened(root)
    numbers = content.images[:, 0, 0, 1].astype(int)
    tested = {int(i) for i in test.images[:, 0, 0, 1]}
    assert tested <= {n for n, split in zip(numbers, content.split, strict=True) if split == "test"}


def test_rows_are_those_of_the_array(tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.float32, shape=(2500, 1, 2, 2))
    array[:] = np.arange(array.size).reshape(array.shape)
    index = np.random.default_rng(0).permutation(2500)[:2000]
    pieces = chunks_of(array, index)
    assert [len(piece) for piece in pieces] == [1024, 976]
    np.testing.assert_array_equal(np.concatenate([np.asarray(piece) for piece in pieces]), array[index])
    np.testing.assert_array_equal(pieces[1][[3, 5]], array[index[[1027, 1029]]])
    assert sum(piece.nbytes for piece in pieces) == array[index].nbytes
    assert len(chunks_of(np.array(array), index)) == 1


_MEMORY = """
import sys
from zoo.environment import peak_memory_bytes
from zoo_deeplense.folder import build, check
build(root=sys.argv[1], scaling="none", skip_broken=False)
small = peak_memory_bytes()
build(root=sys.argv[2], scaling="none", skip_broken=False)
print((peak_memory_bytes() - small) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the peak memory of one process alone is known on Linux only"
)
def test_memory_does_not_grow_with_the_set(tmp_path):
    """240 images of 300 x 300 doubles take 170 MB together."""
    for name, count in (("small", 1), ("large", 80)):
        for k, folder in enumerate(("no", "sphere", "vort")):
            for j in range(count):
                put(tmp_path / name / folder / f"{j}.npy", picture(k, 300, 300).astype(np.float64))
    command = [sys.executable, "-c", _MEMORY, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    assert float(done.stdout) < 25


def test_files_of_other_formats_are_named_with_the_page_that_reads_them(tmp_path):
    with pytest.raises(DataError, match=r"no PNGs in \S*\.\n.*HDF5 and other formats: docs/tutorials/your_own_data"):
        find_files(tmp_path)
    (tmp_path / "subhalo").mkdir()
    (tmp_path / "subhalo/ring.FITS").touch()
    with pytest.raises(DataError, match=r"no PNGs in \S*, but files of other formats, such as \S*ring\.FITS\.\n.*FITS"):
        find_files(tmp_path)


@pytest.mark.parametrize("layout", ["three splits", "Model A", "bare"])
def test_the_check_lists_the_images_that_the_reader_returns(layout, tmp_path):
    folders, root, _ = LAYOUTS[layout]
    fill(tmp_path / "set", folders)
    options = {"root": str(tmp_path / "set" / root), "scaling": "none"}
    listed, content = check(**options, skip_broken=False), build(**options, skip_broken=False)
    wanted = {"train": 5, "val": 2, "test": 99}
    divided = [
        {split: {one.ids[row] for row in rows} for split, rows in assign_splits(one, wanted, seed=3).items()}
        for one in (listed, content)
    ]
    assert divided[0] == divided[1]
    assert check(**options, skip_broken=True) is None
