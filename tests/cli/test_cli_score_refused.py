"""`zoo score` refuses predictions, descriptions and options that do not fit, names them, and stores nothing."""

from __future__ import annotations

import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from predictiontables import table, write

OPTIONS = ("--budget", "smoke", "--set", "train_images=300", "--set", "val_images=60", "--set", "test_images=90")


def changed(name, row, value):
    return lambda: table(**{name: [value if i == row else old for i, old in enumerate(table()[name])]})


def without(*rows):
    return lambda: {name: [old for i, old in enumerate(values) if i not in rows] for name, values in table().items()}


def doubled():
    return {name: [*values, values[0]] for name, values in table().items()}


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (without(3, 7), ["no prediction for 2 images", "Nothing was scored"]),
        (doubled, ["more than one row for 1 id"]),
        (lambda: table(id=["stripe-00", *table()["id"][1:]]), ["'stripe-00'", "Did you mean"]),
        (changed("a", 0, "nan"), ["not finite", "a=nan"]),
        (changed("a", 0, ""), ["a='' of", "is not a number"]),
        (changed("b", 5, "-0.5"), ["b=-0.5"]),
        (changed("b", 5, "inf"), ["b=inf"]),
        (changed("c", 0, "0.9"), ["do not sum to 1 within 0.001"]),
        (lambda: {("B" if name == "b" else name): values for name, values in table().items()},
         ["no column 'b'", "Did you mean 'B'", "Rename it to 'b'. Columns: id, a, b, c"]),
        (lambda: table(aa=table()["a"]), ["'aa', which is not a class", "Did you mean 'a'"]),
        (lambda: {name: values for name, values in table().items() if name != "id"}, ["no column 'id'"]),
        (lambda: {name: [] for name in table()}, ["no prediction for 90 images"]),
    ],
)  # fmt: skip
def test_predictions_that_do_not_fit_are_named_and_nothing_is_stored(zoo, outside, tmp_path, columns, told):
    _, err = zoo("score", write(columns()), "--data", outside / "test", code=2)
    for words in told:
        assert words in err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (b"", "empty.csv", "no column 'id'"),
        (b"id,a,b,c\nx,1,0\n", "short.csv", "line 2: 3 values for 4 columns"),
        (b"id,a,a,b,c\n", "twice.csv", "'a' twice"),
        (b"\xff\xfe\x00", "binary.csv", "not a CSV file in UTF-8"),
        (b"id;a;b;c\nx;1;0;0\n", "semicolons.csv", "separated by ';'"),
        (b"\0" * 100, "zeros.csv", "not a text file"),
        (b"nonsense", "bad.npz", "is not an npz file"),
        (b"nonsense", "bad.parquet", "cannot be read"),
        (b"id", "table.tsv", "not one of .csv, .npz, .parquet"),
    ],
)
def test_files_that_are_no_table_are_named(zoo, outside, tmp_path, content, name, told):
    (tmp_path / name).write_bytes(content)
    _, err = zoo("score", name, "--data", outside / "test", code=2)
    assert told in err
    assert "Traceback" not in err


def test_arrays_of_npz_must_be_columns_without_pickles(zoo, outside):
    columns = {name: np.array(values, dtype=str if name == "id" else float) for name, values in table().items()}
    for changes, told in (
        ({"a": columns["a"][:, None]}, "one dimension"),
        ({"a": columns["a"][:-1]}, "different lengths"),
        ({"id": np.array(table()["id"], dtype=object)}, "dtype=str"),
        ({"a": columns["a"] + 0.5j}, "a holds complex numbers"),
        ({"a": columns["a"].astype(int).astype("M8[s]")}, "not real numbers"),
        ({"a": columns["a"].astype([("x", float)])}, "not real numbers"),
    ):
        np.savez("changed.npz", **columns | changes)
        assert told in zoo("score", "changed.npz", "--data", outside / "test", code=2)[1]


def test_an_array_larger_than_the_memory_is_named(zoo, outside):
    stated = io.BytesIO()
    np.lib.format.write_array_header_1_0(stated, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile("large.npz", "w") as file:
        file.writestr("a.npy", stated.getvalue())
    assert "larger than the memory" in zoo("score", "large.npz", "--data", outside / "test", code=2)[1]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("classes", ["b", "a", "c"], "classes"),
        ("image_shape", [1, 5, 5], "image_shape"),
        ("pixel_scale", 9.0, "pixel_scale"),
        ("budget", "large", "not one of smoke"),
        ("sizes", {"train": 300, "val": 60}, "sizes"),
        ("sizes", {"train": 300, "val": 60, "test": 0}, "sizes"),
        ("data", "toyzoo/two", "the recipe makes images of toyzoo/stripes"),
        ("recipe", {"params": {"count": 600, "widht": 3}}, "widht, which is not a parameter"),
    ],
)
def test_an_altered_description_of_an_export_is_refused(zoo, outside, tmp_path, name, value, told):
    content = json.loads((outside / "test" / "export.json").read_text())
    content[name] = content[name] | value if name == "recipe" else value
    (tmp_path / "export.json").write_text(json.dumps(content))
    _, err = zoo("score", "predictions.csv", "--data", "export.json", code=2 if name == "budget" else 1)
    assert told in err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["images.npy", "ids.csv"])
def test_predictions_from_altered_files_of_an_export_are_refused(zoo, outside, tmp_path, name):
    shutil.copytree(outside / "test", "copy")
    content = (tmp_path / "copy" / name).read_bytes()
    (tmp_path / "copy" / name).write_bytes(content[:-1] + b"0")
    assert f"{name} is missing, or has been altered" in zoo("score", "predictions.csv", "--data", "copy", code=1)[1]
    (tmp_path / "copy" / name).unlink()  # who scores needs the description only
    zoo("score", "predictions.csv", "--data", "copy")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--data", "stripess"), "Did you mean 'stripes'"),
        (("--data", "stripes", "--split", "val"), "cannot be scored"),
        (("--data", "stripes", "--name", "a/b"), "must begin with a letter or digit"),
        (("--data", "stripes", "--set", "lr=1"), "nothing is trained"),
        (("--data", "stripes", "--task", "middel", *OPTIONS), "Did you mean 'middle'"),
        (("--data", "stripes", "--task", "middle", *OPTIONS), "no column 'other', 'middle'"),
        (("--data", "stripes", "--set", "test_images=50", "--budget", "smoke"), "not found among the 50 images"),
        (("--data", "OUT/test", "--budget", "smoke"), "stated by the export"),
        (("--data", "OUT/train"), "split 'train'"),
    ],
)
def test_impossible_options_are_named(zoo, outside, words, told):
    words = [word.replace("OUT", str(outside)) for word in words]
    assert told in zoo("score", "predictions.csv", *words, code=2)[1]
