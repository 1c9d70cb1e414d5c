"""Estimates that other programs made: their columns, and what they become."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from click.testing import CliRunner
from smallrun import TOY

from zoo.cli import cli
from zoo.data.open import Dataset
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.plan.problem import plan_problem
from zoo.run.gaussians import as_gaussians, read_gaussians
from zoo.run.scored import score_file

SKY = TOY.with_name("toysky.py")
IDS = ["a", "b"]
TASK = "regress:colour,classes=a+b"


def table(path, **columns):
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", *columns])
        rows.writerows([name, *values] for name, *values in zip(IDS, *columns.values(), strict=True))
    return path


def read(path, targets=("x",)):
    names, columns = read_gaussians(path, targets)
    values = np.array([columns[name] for name in names], float).T
    return as_gaussians(values, names=names, ids=IDS, path=path)


def test_mean_and_sigma_or_the_ends_of_an_interval_are_one_gaussian(tmp_path):
    expected = [[1.0, math.log(2.0)], [3.0, 0.0]]
    assert read(table(tmp_path / "s.csv", mean=[1, 3], sigma=[2, 1])) == pytest.approx(np.array(expected))
    ends = {"low": [1 - 1.959964 * 2, 3 - 1.959964], "high": [1 + 1.959964 * 2, 3 + 1.959964], "level": [0.95, 0.95]}
    assert read(table(tmp_path / "e.csv", **ends)) == pytest.approx(np.array(expected), abs=1e-6)
    with_mean = read(table(tmp_path / "m.csv", **ends, mean=[0, 0]))
    assert with_mean == pytest.approx(np.array([[0, math.log(2.0)], [0, 0]]), abs=1e-6)


def test_columns_of_several_truths_stand_behind_their_names(tmp_path):
    columns = {"x.mean": [1, 2], "x.sigma": [1, 1], "y.low": [0, 0], "y.high": [2, 4], "y.level": [0.68, 0.68]}
    found = read(table(tmp_path / "two.csv", **columns), ("x", "y"))
    assert found[:, [0, 2]].tolist() == [[1, 1], [2, 2]]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"mean": [1, 2], "sigma": [1, 0]}, "sigma is not positive in 1 of 2 rows; the first is 'b'"),
        ({"mean": [1, 2]}, "no column 'sigma'"),
        ({"low": [1, 2], "high": [2, 3]}, "no column 'level'"),
        ({"low": [1, 2], "high": [2, 2], "level": [0.5, 0.5]}, "low is not below high"),
        ({"low": [1, 2], "high": [2, 3], "level": [68, 68]}, "level is not between 0 and 1"),
        ({"mean": [1, 2], "sigma": [1, 1], "width": [1, 1]}, "has the column 'width'"),
    ],
)
def test_tables_that_state_no_distribution_are_refused(tmp_path, columns, words):
    with pytest.raises(UsageError, match=words):
        read(table(tmp_path / "bad.csv", **columns))


@pytest.mark.slow
def test_a_file_is_scored_as_a_run_is(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    host = load_plugins(files=[TOY, SKY], environment={})
    settings = {"test_images": 90}
    problem = plan_problem(host, "toysky/discs", budget="smoke", settings=settings, task=TASK, device="cpu")
    split = Dataset(host, problem.recipe, problem.sizes, question=problem.task.question).split("test")
    wrong = split.targets[:, 0] + 0.1 * (-1.0) ** np.arange(len(split))
    path = tmp_path / "mine.csv"
    rows = [f"{name},{value:.6f},0.1" for name, value in zip(split.ids, wrong, strict=True)]
    path.write_text("\n".join(["id,mean,sigma", *rows]) + "\n")
    words = ["--plugin", str(TOY), "--plugin", str(SKY), "score", str(path), "--data", "toysky/discs"]
    options = ["--budget", "smoke", "--set", "test_images=90", "--task", TASK, "--store", str(tmp_path / "store")]
    shown = CliRunner().invoke(cli, [*words, *options, "--device", "cpu"])
    assert shown.exit_code == 0, shown.output
    found = score_file(
        host, path, data="toysky/discs", budget="smoke", settings=settings, device="cpu", task=TASK,
        folder=tmp_path / "store",
    )  # fmt: skip
    assert found.test.measures["mae"].value == pytest.approx(0.1, abs=1e-5)
    assert found.test.measures["coverage_95"].value == 1.0
    assert found.data.trained_on == ("a", "b")
    for form in ("quantiles", "flow"):  # a task with other answers takes the same file
        other = score_file(
            host, path, data="toysky/discs", budget="smoke", settings=settings, device="cpu", name=form,
            task=f"{TASK},answer={form}", folder=tmp_path / "store",
        )  # fmt: skip
        assert other.test.measures["crps"].value == pytest.approx(found.test.measures["crps"].value, rel=0.05)
        assert other.test.measures["coverage_95"].value == 1.0
