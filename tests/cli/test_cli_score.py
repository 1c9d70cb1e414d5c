"""`zoo score`: predictions of a program that does not import zoo stand beside runs; what does not fit is named."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from msgspec.structs import replace

import zoo as library
from zoo.errors import TrainingError
from zoo.report.problems import find_problems
from zoo.results import store

OPTIONS = ("--budget", "smoke", "--set", "train_images=300", "--set", "val_images=60", "--set", "test_images=90")
CLASSES = ("a", "b", "c")
# All that an outsider needs.
OUTSIDER = """
import csv, sys
import numpy as np

images = np.load("test/images.npy")
ids = [row["id"] for row in csv.DictReader(open("test/ids.csv", newline=""))]
train = np.load("train/images.npy").reshape(-1, images[0].size)
classes = [row["class"] for row in csv.DictReader(open("train/labels.csv", newline=""))]
names = sorted(set(classes))
centres = np.stack([train[[name == each for each in classes]].mean(0) for name in names])
distance = ((images.reshape(len(images), 1, -1) - centres) ** 2).sum(2)
share = np.exp(distance.min(1, keepdims=True) - distance)
share /= share.sum(1, keepdims=True)
with open("predictions.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["id", *names])
    for row in reversed(range(len(ids))):
        writer.writerow([ids[row], *share[row]])
assert not [name for name in sys.modules if name.partition(".")[0] in ("zoo", "torch")]
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with the exports of train and test, and the predictions of the outsider's script."""
    from pathlib import Path

    from zoo.host import load_plugins
    from zoo.run.exporting import export_split

    folder = tmp_path_factory.mktemp("outside")
    host = load_plugins(files=[Path(__file__).parents[1] / "toys/toyzoo.py"], environment={})
    settings = {"train_images": 300, "val_images": 60, "test_images": 90}
    for split in ("train", "test"):
        export_split(
            host, "stripes", folder / split, split=split, labels=split == "train", budget="smoke", settings=settings
        )
    subprocess.run([sys.executable, "-c", OUTSIDER], cwd=folder, check=True)
    return folder


@pytest.fixture
def outside(exported, tmp_path, surroundings):
    """Copy the predictions into the folder that the test works in."""
    (tmp_path / "predictions.csv").write_bytes((exported / "predictions.csv").read_bytes())
    return exported


def table(**changes):
    """Return the predictions as name -> column, with changed columns."""
    with open("predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]} | changes


def write(columns, path="changed.csv"):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    with open(path, "w", newline="") as file:
        file.write(out.getvalue())
    return path


@pytest.mark.slow
def test_predictions_of_a_script_stand_beside_a_run_of_the_same_problem(zoo, run_dir, outside, tmp_path):
    note = "no training: nearest mean, one second"
    out, _ = zoo("score", "predictions.csv", "--data", outside / "test", "--name", "nearest", "--author", "A. Nobody",
                 "--cost-note", note)  # fmt: skip
    assert "scored/nearest" in out
    results = {result.cell.model: result for result in store.results(tmp_path / "results")}
    scored = results["scored/nearest"]
    [problem] = find_problems(results.values())
    [comparison] = [one for one in problem.comparisons if one.score == "macro"]
    assert {comparison.first, comparison.second} == {"toyzoo/tiny", "scored/nearest"}
    assert not problem.notes
    # As computed from the file alone.
    columns = table()
    with open(outside / "test" / "ids.csv", newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    arrays, metadata = store.read_arrays(scored.run_dir / store.PREDICTIONS)
    assert json.loads(metadata["test.ids"]) == ids
    place = [columns["id"].index(name) for name in ids]
    given = np.array([columns[name] for name in CLASSES], dtype=float).T[place]
    stored_run, _ = store.read_arrays(run_dir / store.PREDICTIONS)
    np.testing.assert_array_equal(arrays["test.labels"], stored_run["test.labels"])
    assert scored.test.accuracy == np.mean(given.argmax(1) == stored_run["test.labels"])
    exponents = np.exp(arrays["test.logits"])
    np.testing.assert_allclose(exponents / exponents.sum(1, keepdims=True), given, atol=1e-6)  # divided by their sums

    zoo("score", "predictions.csv", "--data", outside / "test", "--name", "nearest")  # takes nothing away
    told, _ = zoo("report", "--html", "page.html", "--md")
    for text in (told, (tmp_path / "page.html").read_text()):
        for words in ("scored/nearest", "A. Nobody", note, "toyzoo/tiny"):
            assert words in text
    assert "(baseline)" not in told
    assert "scored/nearest" in zoo("report", "--csv")[0]
    shown, _ = zoo("show", scored.run_id[:6])
    assert "A. Nobody" in shown
    assert note in shown
    _, err = zoo("verify", "results")
    assert err.startswith("2 true, 0 false")
    for words in (("card", scored.run_id), ("rerun", scored.run_id), ("predict", scored.run_id, "x.npy")):
        assert "made elsewhere" in zoo(*words, code=1)[1]


@pytest.mark.slow
def test_every_format_and_python_give_the_same_result(zoo, outside, tmp_path):
    from pathlib import Path

    import pyarrow
    from pyarrow import parquet

    from zoo.host import load_plugins

    columns = {name: np.array(values, dtype=str if name == "id" else float) for name, values in table().items()}
    np.savez("predictions.npz", **columns)
    parquet.write_table(pyarrow.table({name: list(values) for name, values in columns.items()}), "predictions.parquet")
    ids = set()
    for kind in ("csv", "npz", "parquet"):
        out, _ = zoo("score", f"predictions.{kind}", "--data", "stripes", *OPTIONS, "--store", kind, "--json")
        ids.add(json.loads(out)["run_id"])
    host = load_plugins(files=[Path(__file__).parents[1] / "toys/toyzoo.py"], environment={})
    result = library.score("predictions.csv", str(outside / "test"), host=host)
    assert {*ids, result.run_id} == {result.run_id}
    assert result.scored.file == "predictions.csv"


def test_seeds_of_a_method_are_one_network_and_other_predictions_of_a_seed_are_refused(zoo, outside, tmp_path):
    data = ("--data", outside / "test", "--name", "nearest")
    zoo("score", "predictions.csv", *data)
    zoo("score", "predictions.csv", *data)  # the same again
    reversed_columns = table()
    other = write({"id": reversed_columns["id"], "a": reversed_columns["b"], "b": reversed_columns["a"],
                   "c": reversed_columns["c"]})  # fmt: skip
    _, err = zoo("score", other, *data, code=2)
    assert "other predictions of scored/nearest, seed 0" in err
    zoo("score", other, *data, "--seed", "1")
    [problem] = find_problems(store.results(tmp_path / "results"))
    [variant] = problem.variants
    assert [result.cell.seed for result in variant.results] == [0, 1]
    assert variant.name == "scored/nearest"


def test_an_earlier_result_stays_where_a_metric_fails(zoo, outside, tmp_path, monkeypatch):
    words = ("score", "predictions.csv", "--data", outside / "test", "--name", "nearest")
    zoo(*words)
    [before] = store.results(tmp_path / "results")

    def fail(*_, **__):
        raise TrainingError("The metric toy/m is not finite.")

    monkeypatch.setattr("zoo.run.scored.with_metrics", fail)
    zoo(*words, code=1)
    assert list(store.results(tmp_path / "results")) == [before]


def test_probabilities_are_divided_by_their_sum_within_the_tolerance(zoo, outside):
    a = [f"{float(value) * 1.0009:.9f}" for value in table()["a"]]
    out, _ = zoo("score", write(table(a=a)), "--data", outside / "test", "--json")
    assert 0 < json.loads(out)["scored"]["largest_error"] <= 1e-3
    assert "divided by their sum" in zoo("show", json.loads(out)["run_id"])[0]


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


def test_altered_predictions_are_found(zoo, outside, tmp_path):
    zoo("score", "predictions.csv", "--data", outside / "test")
    [result] = store.results(tmp_path / "results")
    arrays, metadata = store.read_arrays(result.run_dir / store.PREDICTIONS)
    arrays["test.logits"][0] = arrays["test.logits"][0][::-1]
    store.write_arrays(result.run_dir / store.PREDICTIONS, arrays, metadata)
    files = {**result.files, store.PREDICTIONS: store.file_sha256(result.run_dir / store.PREDICTIONS)}
    store.write_result(replace(result, files=files))
    assert "the cell states predictions" in zoo("verify", "results", code=1)[0]


def test_anomaly_scores_are_scored_as_those_of_networks(zoo, surroundings, tmp_path, monkeypatch):
    from pathlib import Path

    from sklearn.metrics import roc_auc_score

    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(Path(__file__).parents[1] / "toys" / "oddones.py"))
    problem = ("--task", "anomaly", "--budget", "smoke", "--set", "test_images=60")
    zoo("data", "export", "oddones/bumps", *problem, "--out", "test")
    with open("test/labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    bright = np.load("test/images.npy").max((1, 2, 3))
    write({"id": [row["id"] for row in rows], "score": bright.tolist()}, "bright.csv")
    out, _ = zoo("score", "bright.csv", "--data", "test", "--json")
    found = json.loads(out)["test"]["measures"]["auroc"]["value"]
    assert found == pytest.approx(roc_auc_score([row["class"] != "plain" for row in rows], bright))
    assert zoo("verify", "results")[1].startswith("1 true, 0 false")
    assert "scored/bright" in zoo("report", "--html", "page.html")[0]
    zoo("show", json.loads(out)["run_id"])
    columns = {"id": [row["id"] for row in rows], "plain": bright.tolist()}
    assert "no column 'score'" in zoo("score", write(columns), "--data", "test", code=2)[1]
    assert "a=nan" not in zoo("score", write(columns | {"score": ["nan"] * 60}), "--data", "test", code=2)[1]
