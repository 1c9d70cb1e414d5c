"""`zoo score`: predictions of a program that does not import zoo stand beside runs."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from msgspec.structs import replace
from predictiontables import table, write

import zoo as library
from zoo.errors import TrainingError
from zoo.paths import file_sha256
from zoo.report.problems import find_problems
from zoo.results import store

OPTIONS = ("--budget", "smoke", "--set", "train_images=300", "--set", "val_images=60", "--set", "test_images=90")
CLASSES = ("a", "b", "c")


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


def test_altered_predictions_are_found(zoo, outside, tmp_path):
    zoo("score", "predictions.csv", "--data", outside / "test")
    [result] = store.results(tmp_path / "results")
    arrays, metadata = store.read_arrays(result.run_dir / store.PREDICTIONS)
    arrays["test.logits"][0] = arrays["test.logits"][0][::-1]
    store.write_arrays(result.run_dir / store.PREDICTIONS, arrays, metadata)
    files = {**result.files, store.PREDICTIONS: file_sha256(result.run_dir / store.PREDICTIONS)}
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
