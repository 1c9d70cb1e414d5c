"""`zoo rescore`: metrics of plugins from stored predictions, in the result, tables, page and comparisons."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from click.testing import CliRunner
from reportdata import good, make_cell, stored

from zoo.cli import cli
from zoo.cli.report import name_stale_metrics
from zoo.errors import DataError, TrainingError
from zoo.host import load_plugins
from zoo.registry import find
from zoo.report.narrow import to_rich
from zoo.report.problems import find_problems
from zoo.report.tables import make_tables
from zoo.results import store
from zoo.results.files import is_metric_file, read_resampled
from zoo.results.find import good_result
from zoo.results.verify import verify_run
from zoo.run.metrics import resampled
from zoo.run.rescore import rescore
from zoo.scores.stats import softmax
from zoo.specs import MetricSpec

PLUGIN = """
from zoo import MetricSpec, hookimpl


@hookimpl
def zoo_metrics():
    better = {"right": "higher", "wrong": "lower"}
    return [
        MetricSpec(id="sharemetric/share", target="sharemetric:share", better=better),
        MetricSpec(id="sharemetric/raises", target="sharemetric:raises"),
        MetricSpec(id="sharemetric/nan", target="sharemetric:nan"),
        MetricSpec(id="sharemetric/moody", target="sharemetric:moody", better={"x": "higher"}),
        MetricSpec(id="sharemetric/error", target="sharemetric:error", tasks=("regress",), better={"error": "lower"}),
    ]


def share(probabilities, labels):
    right = (probabilities.argmax(1) == labels).mean()
    return {"right": right, "wrong": 1 - right, "images": len(labels)}


def error(predictions, truths):
    return {"error": abs(predictions[:, : truths.shape[1]] - truths).mean()}


def raises(probabilities, labels):
    raise KeyError("a metric's own mistake")


def nan(probabilities, labels):
    return {"x": float("nan")}


def moody(probabilities, labels, calls=[]):
    calls.append(1)
    if len(calls) > 1:
        raise ValueError("not for a second set of images")
    return {"x": 1.0}
"""


@pytest.fixture(scope="session")
def metrics(tmp_path_factory):
    """The plugins with the metrics."""
    path = tmp_path_factory.mktemp("plugin") / "sharemetric.py"
    path.write_text(PLUGIN)
    return load_plugins(files=[path], environment={})


def test_values_are_those_of_the_stored_predictions_and_all_else_stays(run_dir, metrics):
    before = good_result(run_dir)
    result = rescore(metrics, run_dir, only=["sharemetric/share"])
    assert result == good_result(run_dir)  # its checksum fits
    accuracy = before.test.accuracy
    assert result.test.extra == {
        "sharemetric/share": {"right": accuracy, "wrong": pytest.approx(1 - accuracy), "images": 90.0}
    }
    assert result.directions == {"sharemetric/share": {"right": "higher", "wrong": "lower"}}
    assert result.metric_code["sharemetric/share"].startswith("sharemetric.py")
    verdict = verify_run(run_dir)
    assert (verdict.state, verdict.problems) == ("true", [])
    unchanged = {
        name: value
        for name, value in store.plain_result(result).items()
        if name not in ("test", "files", "metric_code", "directions")
    }
    assert unchanged.items() <= store.plain_result(before).items()
    drawn = read_resampled(result)
    assert drawn.keys() == {("sharemetric/share", "right"), ("sharemetric/share", "wrong")}
    # Of the share of right answers, the error of each class is known.
    arrays, _ = store.read_arrays(run_dir / store.PREDICTIONS)
    labels = arrays["test.labels"]
    right = arrays["test.logits"].argmax(1) == labels
    variance = sum((labels == k).sum() * right[labels == k].var() for k in range(3)) / len(labels) ** 2
    assert drawn["sharemetric/share", "right"].std() == pytest.approx(np.sqrt(variance), rel=0.2)
    low, high = result.test.extra_intervals["sharemetric/share"]["right"]
    assert (high - accuracy, accuracy - low) == pytest.approx([1.96 * np.sqrt(variance)] * 2, rel=0.3)


def test_a_result_stays_as_it_was_where_a_metric_fails_or_writing_stops(run_dir, metrics, monkeypatch):
    rescore(metrics, run_dir, only=["sharemetric/share"])
    before = (run_dir / store.RESULT).read_bytes()
    with pytest.raises(DataError, match="sharemetric/raises failed"):
        rescore(metrics, run_dir, only=["sharemetric/share", "sharemetric/raises"])
    with pytest.raises(TrainingError, match="not finite"):
        rescore(metrics, run_dir, only=["sharemetric/nan"])
    monkeypatch.setattr("zoo.run.metrics.RESAMPLE_SEED", 1)  # another file of draws

    def stops(result):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_result", stops)
        with pytest.raises(KeyboardInterrupt):
            rescore(metrics, run_dir, only=["sharemetric/share"])
    assert (run_dir / store.RESULT).read_bytes() == before
    assert verify_run(run_dir).state == "true"
    result = rescore(metrics, run_dir, only=["sharemetric/share"])
    assert [path.name for path in run_dir.iterdir() if is_metric_file(path.name)] == [
        name for name in result.files if is_metric_file(name)
    ]
    assert verify_run(run_dir).state == "true"


def test_a_metric_that_fails_for_drawn_images_has_a_value_and_no_interval(run_dir, metrics, caplog):
    result = rescore(metrics, run_dir, only=["sharemetric/moody"])
    assert result.test.extra["sharemetric/moody"] == {"x": 1.0}
    assert (read_resampled(result), result.test.extra_intervals) == ({}, {})
    assert "has no intervals" in caplog.text


@pytest.mark.parametrize("truths", [1, 2])
def test_images_are_drawn_from_all_where_labels_are_truths(metrics, truths):
    labels = np.random.default_rng(0).normal(size=(60, truths))
    spec = find(metrics, MetricSpec, "error")
    drawn = resampled(spec, ["error"], np.zeros((60, 2 * truths)), labels)["error"]
    assert drawn.std() == pytest.approx(abs(labels).mean(1).std() / np.sqrt(60), rel=0.25)


def test_a_slow_metric_is_left_before_its_time_is_over(metrics, monkeypatch, caplog):
    calls = []

    def slow(probabilities, labels):
        calls.append(time.sleep(0.02))
        return {"x": 1.0}

    monkeypatch.setattr("zoo.run.metrics.MOST_SECONDS", 0.5)
    monkeypatch.setattr("zoo.registry.load_target", lambda spec: slow)
    assert resampled(find(metrics, MetricSpec, "share"), ["x"], np.zeros((4, 2)), np.arange(4) % 2) == {}
    assert len(calls) < 10
    assert "has no intervals" in caplog.text


def test_an_altered_file_of_draws_is_found(run_dir, metrics):
    result = rescore(metrics, run_dir, only=["sharemetric/share"])
    [name] = filter(is_metric_file, result.files)
    (run_dir / name).write_bytes(b"x" + (run_dir / name).read_bytes()[1:])
    assert any(name in problem for problem in verify_run(run_dir).problems)


def rescored(folder, metrics, *, seeds=1):
    """Return results of a good and a bad network with the metric."""
    found = []
    for model, signal in (("toyzoo/good", 3.0), ("toyzoo/bad", 0.5)):
        for seed in range(seeds):
            result = stored(folder, good(0.9, make_cell(model, seed=seed)), images=300, signal=signal)
            found.append(rescore(metrics, result.run_dir, only=["sharemetric/share"]))
    return found


@pytest.mark.parametrize("seeds", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_networks_are_compared_in_the_direction_that_is_declared(tmp_path, metrics, seeds):
    results = rescored(tmp_path / "store", metrics, seeds=seeds)
    [problem] = find_problems(results)
    assert problem.metrics == ["share right", "share wrong"]
    right, wrong = (next(one for one in problem.comparisons if one.score == name) for name in problem.metrics)
    for one in (right, wrong):
        assert (one.first, one.second) == ("toyzoo/good", "toyzoo/bad")
        assert one.found
        assert one.low < one.difference < one.high
    assert wrong.difference == pytest.approx(-right.difference)
    assert (wrong.low, wrong.high) == (pytest.approx(-right.high), pytest.approx(-right.low))
    words = problem.sentences("share wrong")[0]
    assert ("toyzoo/good below toyzoo/bad" if seeds == 1 else "has a lower share wrong than") in words
    # The interval of paired images, by the formula for a mean of differences within each class.
    if seeds == 1:
        hits = []
        for result in results:
            arrays, _ = store.read_arrays(result.run_dir / store.PREDICTIONS)
            hits.append((softmax(arrays["test.logits"]).argmax(1) == arrays["test.labels"]).astype(float))
        labels, gain = arrays["test.labels"], hits[0] - hits[1]
        assert right.difference == pytest.approx(gain.mean())
        variance = sum((labels == k).sum() * gain[labels == k].var() for k in range(3)) / len(labels) ** 2
        assert right.high - right.difference == pytest.approx(1.96 * np.sqrt(variance), rel=0.2)


def test_equal_networks_are_not_called_different(tmp_path, metrics):
    results = [
        rescore(
            metrics,
            stored(tmp_path / "store", good(0.9, make_cell(model)), images=300, signal=1.0).run_dir,
            only=["sharemetric/share"],
        )
        for model in ("toyzoo/one", "toyzoo/other")
    ]
    [problem] = find_problems(results)
    assert not any(one.found for one in problem.comparisons)


def test_tables_and_page_show_values_with_a_direction(tmp_path, metrics):
    folder = tmp_path / "store"
    results = rescored(folder, metrics)
    lacking = stored(folder, good(0.8, make_cell("toyzoo/later")), images=300)
    [table] = make_tables([*results, lacking])
    assert {"share right ↑", "share wrong ↓"} <= set(table.columns)
    assert "share images" not in " ".join(table.columns)
    column = table.columns.index("share right ↑")
    values = {row[0]: row[column] for row in table.rows}
    assert values["toyzoo/later"] == "-"
    value = results[0].test.extra["sharemetric/share"]["right"]
    low, high = results[0].test.extra_intervals["sharemetric/share"]["right"]
    assert values["toyzoo/good"] == f"{value:.4g} ({low:.4g} to {high:.4g})"
    assert "zoo rescore STORE" in " ".join(table.notes)
    assert not any("share" in str(each.header) for each in to_rich(table, width=60).columns)
    done = CliRunner().invoke(
        cli, ["report", "--store", str(folder), "--html", str(tmp_path / "page.html")], obj=metrics
    )
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.html").read_text()
    for words in ("share wrong, lower is better", "share right ↑"):
        assert words in page
    assert "share wrong" in done.output


def test_the_command_names_what_it_leaves_as_it_was(run_dir, metrics, tmp_path, monkeypatch):
    def zoo(*words):
        return CliRunner().invoke(cli, ["rescore", *words], obj=metrics)

    results = str(tmp_path / "results")
    done = zoo(results, "--metric", "share")
    assert (done.exit_code, done.stderr) == (
        0,
        "1 run rescored (1 with new values), 0 left as they were\n",
    )
    assert "sharemetric/share right" in done.stdout
    assert "1 run rescored (0 with" in zoo(results, "--metric", "share").stderr
    assert zoo(results, "--metric", "share,error").exit_code == 0  # not applicable is not a failure
    refused = zoo(results, "--metric", "error")
    assert "Nothing was computed" in str(refused.exception)
    assert "takes predictions of the task classify" in str(refused.exception)
    done = zoo(results)
    assert done.exit_code == 1
    assert done.stderr.count(str(run_dir)) == 1  # the line on what is left as it was
    monkeypatch.chdir(tmp_path)
    [row] = json.loads(zoo(run_dir.name[:6], "--metric", "share", "--json").stdout)
    assert row["extra"]["sharemetric/share"]["images"] == 90
    for words, told in (
        (("--metric", "shrae"), "Did you mean 'share'"),
        (
            ("nowhere", "--metric", "share"),
            "was not found in results, and is not the folder of a run.\nOr give a",
        ),
        ((str(tmp_path / "cache"), "--metric", "share"), ""),
    ):
        error = zoo(*words).exception
        assert told in str(error)
    bare = CliRunner().invoke(cli, ["rescore", results], obj=load_plugins(environment={}))
    assert "metric" in str(bare.exception)


def test_runs_of_changed_metric_code_are_one_line_a_store(tmp_path, metrics, monkeypatch, capsys):
    results = [stored(tmp_path / "new", good(0.9, make_cell(seed=seed))) for seed in range(3)]
    monkeypatch.setattr("zoo.cli.report.stale_metrics", lambda host, code: ["sharemetric/share"])
    assert list(name_stale_metrics(metrics, results)) == [result.run_id for result in results]
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(f"sharemetric/share of 3 runs; to compute them again: zoo rescore {tmp_path / 'new'}")
