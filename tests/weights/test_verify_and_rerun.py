"""A stored result is compared with its files and with a repetition of its cell."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from click.testing import CliRunner

from zoo.cli import cli
from zoo.errors import UsageError
from zoo.results import store
from zoo.results.cell import SCHEMA
from zoo.results.schema import Failed
from zoo.results.verify import flatten, verify_run
from zoo.run.rerun import rerun

pytestmark = pytest.mark.slow  # trainings


def alter(run_dir, **changes):
    result = json.loads((run_dir / store.RESULT).read_text())
    (run_dir / store.RESULT).write_text(json.dumps({**result, **changes}))


def test_an_unaltered_run_is_verified(run_dir):
    assert verify_run(run_dir).state == "true"
    result = json.loads((run_dir / store.RESULT).read_text())
    for name in (store.WEIGHTS, store.PREDICTIONS):
        assert result["files"][name] == hashlib.sha256((run_dir / name).read_bytes()).hexdigest()


def test_an_altered_score_is_found(run_dir):
    test = json.loads((run_dir / store.RESULT).read_text())["test"]
    honest = test["auc"]["macro"]
    test["auc"]["macro"] = 0.9999
    alter(run_dir, test=test)
    verdict = verify_run(run_dir)
    assert verdict.state == "false"
    assert verdict.problems == [f"auc.macro is {honest:.6g} by the stored predictions, 0.9999 in the result"]


def test_altered_and_lost_files_are_found(run_dir):
    arrays, metadata = store.read_arrays(run_dir / store.PREDICTIONS)
    store.write_arrays(run_dir / store.PREDICTIONS, {**arrays, "test.logits": -arrays["test.logits"]}, metadata)
    (run_dir / store.WEIGHTS).unlink()
    problems = verify_run(run_dir).problems
    assert "weights.safetensors is gone" in problems
    assert any("predictions.safetensors has been altered" in problem for problem in problems)
    assert any(problem.startswith("accuracy is ") for problem in problems)
    (run_dir / store.PREDICTIONS).write_bytes(b"x")
    assert any("cannot be scored" in problem for problem in verify_run(run_dir).problems)


@pytest.mark.parametrize(
    "changes", [{"classes": 3}, {"classes": [{}, {}]}, {"files": [1]}, {"files": {}}, {"test": None}]
)
def test_a_result_with_values_of_the_wrong_type_fails_verification(run_dir, changes):
    alter(run_dir, **changes)
    assert verify_run(run_dir).state == "false"


@pytest.mark.parametrize("text", ["", "{", "null", '{"schema": 99}'])
def test_an_unreadable_result_fails_and_a_missing_one_is_not_a_result(run_dir, text):
    (run_dir / store.RESULT).write_text(text)
    verdict = verify_run(run_dir)
    assert verdict.state == "false"
    assert len(verdict.problems) == 1
    (run_dir / store.RESULT).unlink()
    assert verify_run(run_dir).state == "no result"


def test_an_altered_cell_is_found(run_dir):
    cell = json.loads((run_dir / store.CELL).read_text())
    (run_dir / store.CELL).write_text(json.dumps({**cell, "seed": 7}))
    assert any("has been altered" in problem for problem in verify_run(run_dir).problems)


def test_a_store_is_checked_run_by_run(run_dir, tmp_path):
    done = CliRunner().invoke(cli, ["verify", str(tmp_path / "results")])
    assert done.exit_code == 0, done.output
    assert "1 true, 0 false" in done.stderr
    result = store.open_result(run_dir)
    failed = Failed(
        schema=SCHEMA, status="failed", run_id=result.run_id, cell=result.cell, run_dir=run_dir, error="no such luck"
    )
    store.write_result(failed)
    done = CliRunner().invoke(cli, ["verify", str(run_dir), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)[0]["state"] == "no result"
    (tmp_path / "empty").mkdir()
    assert "No runs were found in" in str(CliRunner().invoke(cli, ["verify", str(tmp_path / "empty")]).exception)


def test_a_repeated_run_agrees(run_dir, host, tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(Path(__file__).parents[1] / "toys" / "toyzoo.py"))
    found = rerun(host, run_dir, store=tmp_path / "again", device="cpu")
    assert found.same_bits
    assert found.largest == 0
    assert found.changes == []
    assert found.run_dir == tmp_path / "again" / found.cell.folder
    # A stored result that was never reached is not confirmed.
    test = json.loads((run_dir / store.RESULT).read_text())["test"]
    alter(run_dir, test={**test, "accuracy": test["accuracy"] + 0.5}, device="cuda:0")
    words = ["rerun", str(run_dir), "--store", str(tmp_path / "third"), "--json", "--device", "cpu"]
    done = CliRunner().invoke(cli, words, obj=host)
    assert done.exit_code == 1, done.output
    content = json.loads(done.stdout)
    assert content["largest"] == pytest.approx(0.5)
    assert not content["agrees"]
    assert "the device was cuda:0, is cpu" in done.stderr


def test_a_repetition_does_not_replace_the_run(run_dir, host, tmp_path):
    with pytest.raises(UsageError, match="would replace what it is compared with"):
        rerun(host, run_dir, store=tmp_path / "results")


def test_flatten_returns_every_number():
    content = {"auc": {"a": 0.5}, "confusion": [[1, 2], [3, 4]], "name": "x", "good": True, "n": np.nan}
    assert flatten(content).keys() == {"auc.a", "confusion.0.0", "confusion.0.1", "confusion.1.0", "confusion.1.1", "n"}
