"""`zoo data export`: what programs without zoo get, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from zoo.cli import main
from zoo.data.hidden import read_seed_file
from zoo.data.image_files import FORMATS
from zoo.inference.read import read_pictures

SKY = Path(__file__).parents[1] / "toys" / "toysky.py"
SECRET = "9f86d081884c7d659a2feaa0c55ad015"


@pytest.fixture(autouse=True)
def _surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(SKY))
    (tmp_path / "seed.txt").write_text(SECRET)


@pytest.fixture
def export(capsys):
    def run(*words, out="out", code=0):
        with pytest.raises(SystemExit) as exit_request:
            main(["data", "export", "toysky/discs", "--budget", "smoke", "--set", "test_images=30", "--simulator",
                  "toysky/painter", "--device", "cpu", "--out", out, *map(str, words)])  # fmt: skip
        told = capsys.readouterr()
        assert exit_request.value.code == code, told.err
        return told.out + told.err

    return run


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def read_images(folder, kind):
    if kind == "npy":
        return np.load(folder / "images.npy")
    if kind == "fits":
        from astropy.io import fits

        with fits.open(folder / "images.fits") as units:
            assert units[0].header["PIXSCALE"] > 0
            return np.asarray(units[0].data, dtype=np.float32)[:, None]
    import h5py

    with h5py.File(folder / "images.hdf5") as file:
        assert file["images"].attrs["pixel_scale"] > 0
        return file["images"][:]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_holds_the_images_of_the_benchmark(tmp_path, export, kind):
    import zoo
    from zoo.host import load_plugins

    export("--format", kind)
    host = load_plugins(files=[SKY], environment={})
    split = zoo.open_dataset(
        "toysky/discs", split="test", images=30, simulator="toysky/painter", host=host, image_size=32
    )
    np.testing.assert_array_equal(read_images(tmp_path / "out", kind), split.images)
    assert [row["id"] for row in rows("out/ids.csv")] == split.ids
    labels = rows("out/labels.csv")
    assert [row["class"] for row in labels] == [split.classes[k] for k in split.labels]
    np.testing.assert_array_equal([float(row["colour"]) for row in labels], split.parameters["colour"])


@pytest.mark.parametrize("kind", ["npy", "fits"])
def test_zoo_predict_reads_the_pixel_scale(tmp_path, export, kind):
    export("--format", kind)
    [picture, *others] = read_pictures([tmp_path / "out" / f"images.{kind}"], channels=1)
    assert len(others) == 29
    assert picture.pixel_scale.arcsec == json.loads(Path("out/export.json").read_text())["pixel_scale"]
    if kind == "npy":
        (tmp_path / "out" / "images.npy").rename(tmp_path / "out" / "others.npy")
        assert next(read_pictures([tmp_path / "out" / "others.npy"], channels=1)).pixel_scale is None


def test_labels_are_left_out(tmp_path, export):
    assert "without labels" in export("--no-labels")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["export.json", "ids.csv", "images.npy"]


def test_an_export_that_is_there_is_checked_and_not_made_again(tmp_path, export, monkeypatch):
    export()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    monkeypatch.setattr("zoo.data.export.written_whole", None)
    export()
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "labels.csv").write_text("altered")
    assert "altered" in export(code=1)


def test_an_interrupted_export_continues(tmp_path, export, monkeypatch):
    from zoo.data import export as module

    export(out="whole")
    writes, real = [], module.WRITERS[".npy"]

    def stops(path, *rest):
        writes.append(path)
        real(path, *rest)
        if len(writes) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "WRITERS", {".npy": stops})
    export(code=130)
    assert not (tmp_path / "out" / "images.npy").exists()
    export()
    assert len(writes) == 2
    for name in ("images.npy", "ids.csv", "labels.csv", "export.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "out").glob(".*.part"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--split", "val"), "split test and not val"),
        (("--set", "data.snr=5"), "another recipe"),
        (("--no-labels",), "labels True and not False"),
        (("--format", "hdf5"), "images images.npy and not images.hdf5"),
        (("--seed-file", "seed.txt", "--labels"), "another recipe"),
    ],
)
def test_a_folder_with_another_export_is_refused(export, words, told):
    export()
    assert told in export(*words, code=2)


@pytest.mark.parametrize("name", ["images.npy", "seed.txt"])
def test_a_folder_with_files_of_others_is_refused_and_left_alone(tmp_path, export, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    assert f"out holds {name}, but no export.json: it is not an export" in export(code=2)
    assert (tmp_path / "out" / name).read_text() == "mine"
    assert not (tmp_path / "out" / "export.json").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--split", "tset"), "Did you mean 'test'"),
        (("--format", "fit"), "Did you mean 'fits'"),
        (("--set", "lr=1"), "nothing is trained"),
        (("--set", "data.snrr=1"), "Did you mean 'data.snr'"),
        (("--task", "middle"), "Unknown task 'middle'"),
        (("--seed-file", "nowhere"), "was not found"),
    ],
)
def test_impossible_options_are_named_and_nothing_is_written(tmp_path, export, words, told):
    assert told in export(*words, code=2)
    assert not (tmp_path / "out").exists()


def test_a_blind_export_shows_its_commitment_and_neither_seed_nor_class(tmp_path, export):
    told = export("--seed-file", "seed.txt")
    content = json.loads((tmp_path / "out" / "export.json").read_text())
    commitment = content["recipe"]["commitment"]
    assert commitment in told
    assert not content["labels"]
    number = str(read_seed_file(tmp_path / "seed.txt").number)
    everything = told.encode() + b"".join(
        path.name.encode() + path.read_bytes() for path in (tmp_path / "out").iterdir()
    )
    assert SECRET.encode() not in everything
    assert number.encode() not in everything
    # The images are in the order of their ids, and the hash that names the folder of the cache is not in the export.
    ids = [row["id"] for row in rows("out/ids.csv")]
    assert ids == sorted(ids)
    [folder] = {path.parents[1].name for path in (tmp_path / "cache").rglob("000000.safetensors")}
    assert not any(part.encode() in everything for part in folder.split("-") if len(part) > 8)
    export("--seed-file", "seed.txt")  # the same is there


def test_existing_images_have_no_hidden_seed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(SKY.with_name("toyzoo.py")))
    with pytest.raises(SystemExit) as exit_request:
        main(["data", "export", "toyzoo/stripes", "--out", "out", "--seed-file", "seed.txt"])
    assert exit_request.value.code == 2
    assert "existing images" in capsys.readouterr().err
