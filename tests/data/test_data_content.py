"""Paths from outside enter a run by the content of the files, and plugins by what they are."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from zoo.data.content import content_digest
from zoo.data.folder import fill_folder
from zoo.data.open import Dataset
from zoo.data.recipe import Recipe
from zoo.data.shards import read_shard, shard_identity, shard_path, write_shard
from zoo.errors import DataError
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.recipes import plan_images
from zoo.plan.request import Request
from zoo.plan.unchanged import check_unchanged
from zoo.results.store import prepare_run
from zoo.run.cell import run_cell
from zoo.run.rerun import _as_installed

PLUGIN = """
from pathlib import Path
import numpy as np
from zoo import DatasetSpec, ModelSpec, hookimpl

@hookimpl
def zoo_datasets():
    return [DatasetSpec(id="pathy/files", target="pathy:files", classes=("a", "b"), params={"root": None, "n": 4},
                        paths=("root",))]

@hookimpl
def zoo_models():
    return [ModelSpec(id="pathy/net", target="pathy:net", defaults={"start": None}, paths=("start",))]

def files(*, root, n):
    from zoo.data.images import ImageSet
    images = np.full((n, 1, 8, 8), 1, np.float32)
    return ImageSet(images=images, labels=np.arange(n) % 2, ids=[str(i) for i in range(n)])

def net(*, in_chans, num_classes, image_size, start):
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(image_size**2, num_classes))
"""


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """A function that plans one cell with these settings, in the folder tmp_path."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "pathy", raising=False)
    plugin = tmp_path / "pathy.py"
    plugin.write_text(PLUGIN)
    host = load_plugins(files=[plugin], environment={})

    def plan(**settings):
        names = {name.replace("__", "."): value for name, value in settings.items()}
        request = Request(models=["pathy/net"], data=["pathy/files"], budget="smoke", device="cpu", settings=names)
        return make_plan(host, request)[0]

    plan.host, plan.plugin = host, plugin
    return plan


def begin(host, cell):
    check_unchanged(host, cell, images=None)
    return Dataset(host, cell.recipe, cell.sizes)


def replace_kept(path, content):
    """Write another content of the same length, with the same time of change."""
    before = path.stat()
    path.write_bytes(content)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "replaced": lambda folder: replace_kept(folder / "b" / "1.npy", b"two"),
    "added": lambda folder: (folder / "b" / "2.npy").write_bytes(b"one"),
    "renamed": lambda folder: (folder / "b" / "1.npy").rename(folder / "b" / "3.npy"),
    "removed": lambda folder: (folder / "b" / "1.npy").unlink(),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "b").mkdir()
    (tmp_path / "set" / "a" / "0.npy").write_bytes(b"zero")
    (tmp_path / "set" / "b" / "1.npy").write_bytes(b"one")
    return tmp_path / "set"


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_is_of_the_content(folder, change, cached, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    if cached:
        monkeypatch.setattr("zoo.data.content._SETTLED_NS", -(10**12))
    before = content_digest(folder)
    assert content_digest(folder) == before
    assert (tmp_path / "cache" / "digests").exists() == cached
    shutil.copytree(folder, tmp_path / "copy")
    (folder / ".DS_Store").write_text("x")
    os.mkfifo(folder / "pipe")  # not a file: opening it would wait for ever
    assert content_digest(tmp_path / "copy") == before == content_digest(folder)
    CHANGES[change](folder)
    assert content_digest(folder) != before


@pytest.mark.parametrize("damage", ["one digit", "nothing", "another form", "not JSON", "too deep", "a folder"])
def test_a_damaged_file_of_digests_is_not_believed(folder, monkeypatch, tmp_path, damage):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("zoo.data.content._SETTLED_NS", -(10**12))
    before = content_digest(folder)
    [kept] = (tmp_path / "cache" / "digests").iterdir()
    whole = kept.read_text()
    stated = hashlib.sha256(b"zero").hexdigest()
    assert stated in whole
    if damage == "a folder":
        kept.unlink()
        kept.mkdir()
    else:
        texts = {
            "one digit": whole.replace(stated, f"{int(stated[0], 16) ^ 1:x}{stated[1:]}"),
            "nothing": "",
            "another form": json.dumps(json.loads(whole)["files"]),
            "not JSON": whole[:-9],
            "too deep": "[" * 100_000,
        }
        kept.write_text(texts[damage])
    assert content_digest(folder) == before
    assert kept.is_dir() or kept.read_text() == whole


@pytest.mark.parametrize("setting", ["data__root", "model__start"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_path_enters_the_run_by_its_content(cells, folder, tmp_path, monkeypatch, setting, change):
    cell = cells(**{setting: "set"})
    shutil.copytree(folder, tmp_path / "elsewhere" / "set")
    assert cells(**{setting: str(folder)}).run_id == cell.run_id
    monkeypatch.chdir(tmp_path / "elsewhere")
    copy = cells(**{setting: "set"})
    assert copy.run_id == cell.run_id
    assert copy.recipe.hash == cell.recipe.hash
    assert copy.to_json() != cell.to_json()  # each names the path that it was planned with
    begin(cells.host, cell)
    CHANGES[change](folder)
    assert cells(**{setting: str(folder)}).run_id != cell.run_id
    # A cell that was planned before does not run, and so no checkpoint goes on.
    with pytest.raises(DataError, match=r"the files at (root|start)=.* are not those that this run was planned with"):
        begin(cells.host, cell)
    begin(cells.host, copy)


def test_a_relative_path_of_another_folder_is_another_run(cells, tmp_path, monkeypatch):
    ids = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pictures.npy").write_text(name)
        monkeypatch.chdir(tmp_path / name)
        ids.add(cells(data__root="pictures.npy").run_id)
    assert len(ids) == 2


def test_a_plugin_that_was_edited_makes_other_images(cells, tmp_path):
    """The recipe, which names the folder of cached images, holds the code; a planned cell does not run with another."""
    cell = cells()
    assert list(cell.recipe.code) == ["pathy.py"]
    cells.plugin.write_text(PLUGIN + "\n# edited\n")
    edited = cells()
    assert edited.recipe.hash != cell.recipe.hash
    with pytest.raises(DataError, match=r"planned with pathy\.py"):
        check_unchanged(cells.host, cell, images=None)
    with pytest.raises(DataError, match=r"The images of pathy/files were planned with pathy\.py"):
        Dataset(cells.host, cell.recipe, cell.sizes)
    assert _as_installed(cells.host, cell) == edited


def test_a_helper_module_that_was_edited_makes_other_images(cells):
    cells.plugin.with_name("pathy_numbers.py").write_text("level = 1\n")
    cells.plugin.write_text(PLUGIN.replace("    from zoo.data", "    import pathy_numbers\n    from zoo.data"))
    cell = cells()
    check_unchanged(cells.host, cell, images=None)
    cells.plugin.with_name("pathy_numbers.py").write_text("level = 2\n")
    edited = cells()
    assert edited.recipe.hash != cell.recipe.hash
    assert edited.run_id != cell.run_id
    with pytest.raises(DataError, match=r"planned with pathy\.py"):
        check_unchanged(cells.host, cell, images=None)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_images_of_a_folder_that_were_changed_are_another_run(tmp_path, monkeypatch, split):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    toys = Path(__file__).parents[1] / "toys"
    host = load_plugins(files=[toys / "toysky.py", toys / "toyzoo.py"], environment={})
    folder = tmp_path / "images"
    sizes = {f"{name}_images": 30 for name in ("train", "val", "test")}
    _, recipe = plan_images(host, "toysky/discs", settings={"data.image_size": 8}, simulator="painter", device="cpu")
    simulation = Dataset(host, recipe, {}).simulation(expected_images=90)
    for name in ("train", "val", "test"):
        fill_folder(simulation, name, 30, folder=folder)

    def plan():
        request = Request(
            models=["toyzoo/tiny"], data=["toysky/discs"], simulator="painter", budget="smoke", device="cpu",
            settings={**sizes, "data.image_size": 8}, images=folder,
        )  # fmt: skip
        return make_plan(host, request)[0]

    cell = plan()
    assert plan().run_id == cell.run_id
    check_unchanged(host, cell, images=folder)
    path = shard_path(folder / split, 0)
    identity = shard_identity(recipe, split, 0)
    arrays = {name: array.copy() for name, array in read_shard(path, identity=identity).items()}
    arrays["image"][7] *= 1.5
    write_shard(path, arrays, identity=identity)  # whole and sound, and other images
    assert plan().run_id != cell.run_id
    with pytest.raises(DataError, match=f"The {split} images in .* are not those that the run was planned with"):
        check_unchanged(host, cell, images=folder)
    result = run_cell(host, cell, prepare_run(tmp_path / "store", cell), device="cpu", images=folder)
    assert "are not those that the run was planned with" in result.error


def test_first_party_plugins_raise_the_version_of_a_spec_instead(cells):
    request = Request(models=["pathy/net"], data=["deeplense/modelA"], budget="smoke", device="cpu")
    [cell] = make_plan(cells.host, request)
    assert cell.recipe.code == {}
    assert Recipe(**cell.recipe.to_json()).hash == cell.recipe.hash


def test_every_parameter_that_names_a_path_is_declared():
    """A parameter of this project's specs that is documented as a file or folder is among `paths`."""
    host = load_plugins(environment={})
    declared = {
        (spec.id, name)
        for specs in host.specs.values()
        for spec in specs.values()
        for name in getattr(spec, "paths", ())
    }
    for expected in (
        ("deeplense/deeplense-folder", "root"),
        ("deeplense/real_sources", "pictures"),
        ("timm/resnet18", "pretrained"),
        ("gconv/p4m_resnet18", "init"),
    ):
        assert expected in declared
