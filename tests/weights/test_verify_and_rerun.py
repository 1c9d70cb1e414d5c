"""A stored result is compared with its files and with a repetition of its cell."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from cellhere import run_cells_here
from click.testing import CliRunner
from msgspec import structs

from zoo.cli import cli, main
from zoo.errors import DataError, UsageError
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.digest import read_digest
from zoo.results.files import read_file
from zoo.results.find import good_result
from zoo.results.schema import Failed
from zoo.results.verify import flatten, verify_run
from zoo.run.rerun import _as_installed, _changes, rerun
from zoo.train.average import MovingAverage
from zoo.train.checkpoint import CHECKPOINT, TrainingState, write_checkpoint
from zoo.weights.find import find_weights, stored_weights

pytestmark = pytest.mark.slow  # trainings


def alter(run_dir, *, keep_checksum=False, **changes):
    """Change a result, and its checksum accordingly if it is not to be kept."""
    result = json.loads((run_dir / store.RESULT).read_text()) | changes
    checksum = result.pop(store.CHECKSUM)
    if not keep_checksum:
        checksum = store.content_checksum(result)
    (run_dir / store.RESULT).write_text(json.dumps({**result, store.CHECKSUM: checksum}))


def test_an_unaltered_run_is_verified(run_dir):
    assert verify_run(run_dir).state == "true"
    result = json.loads((run_dir / store.RESULT).read_text())
    for name in (store.WEIGHTS, store.PREDICTIONS):
        assert result["files"][name] == hashlib.sha256((run_dir / name).read_bytes()).hexdigest()


def test_an_altered_score_is_found(run_dir):
    test = json.loads((run_dir / store.RESULT).read_text())["test"]
    honest = test["auc"]["macro"]
    test["auc"]["macro"] = 0.9999
    told = f"auc.macro is {honest:.6g} by the stored predictions, 0.9999 in the result"
    altered = "result.json has been altered or damaged: its checksum does not fit its content."
    alter(run_dir, keep_checksum=True, test=test)
    verdict = verify_run(run_dir)
    assert verdict.state == "false"
    assert verdict.problems == [altered, told]
    assert store.done(run_dir.parents[2], Cell.read(run_dir / store.CELL)) is None
    with pytest.raises(DataError, match="checksum does not fit"):
        good_result(run_dir)
    alter(run_dir, test=test)  # with a checksum that fits
    assert verify_run(run_dir).problems == [told]


def test_intervals_are_checked(run_dir):
    test = json.loads((run_dir / store.RESULT).read_text())["test"]
    test["intervals"]["auc.macro"] = [0.1, 0.2]
    alter(run_dir, test=test)
    assert [problem.partition(" is ")[0] for problem in verify_run(run_dir).problems] == [
        "intervals.auc.macro.0",
        "intervals.auc.macro.1",
    ]
    del test["intervals"]["auc.micro"]  # does not excuse the others
    alter(run_dir, test=test)
    assert verify_run(run_dir).state != "true"


def flip(path):
    """Turn one bit in the middle of a file; size and time stay."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_line(path):
    """Leave whole lines, or a whole number of pages, out at the end."""
    content = path.read_bytes()
    path.write_bytes(content[: content.rstrip(b"\n").rfind(b"\n") + 1])


def folder_in_place(path):
    path.unlink()
    path.mkdir()


def pipe_in_place(path):
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    "flipped": flip,
    "cut": cut,
    "a line lost": cut_line,
    "emptied": lambda path: path.write_bytes(b""),
    "a folder": folder_in_place,
    "a pipe": pipe_in_place,
    "lost": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*store.HASHED, store.CELL, store.RESULT])
def test_every_damaged_file_is_named(run_dir, name, damage):
    DAMAGES[damage](run_dir / name)
    done = CliRunner().invoke(cli, ["verify", str(run_dir.parents[2])])
    if (name, damage) == (store.RESULT, "lost"):  # this run has not ended
        assert (done.exit_code, "1 without a result" in done.stderr) == (0, True)
        return
    assert done.exit_code == 1, done.output
    assert name in done.stdout
    assert "Traceback" not in done.output


@pytest.mark.parametrize("damage", ["flipped", "cut", "lost"])
def test_a_report_shows_nothing_of_damaged_predictions(run_dir, damage):
    result = store.open_result(run_dir)
    read_digest(result)  # kept from now on
    DAMAGES[damage](run_dir / store.PREDICTIONS)
    for read in (read_digest, lambda result: read_file(result, store.PREDICTIONS)):
        with pytest.raises(DataError, match=r"predictions\.safetensors"):
            read(result)


def test_a_curve_that_was_edited_is_computed_again(run_dir):
    result = store.open_result(run_dir)
    before = read_digest(result)
    kept = run_dir / "report.json"
    text = kept.read_text()
    kept.write_text(text.replace('"accuracy": ', '"accuracy": 0.0000', 1))
    assert kept.read_text() != text
    assert read_digest(result) == before
    assert kept.read_text() == text


@pytest.fixture
def other_dir(run_dir):
    """Folder of a second run beside the first: the same files for a cell with another seed."""
    result = store.open_result(run_dir)
    cell = replace(result.cell, seed=result.cell.seed + 1)
    folder = run_dir.parent / cell.run_id
    shutil.copytree(run_dir, folder)
    store.write_json(folder / store.CELL, cell.to_json())
    return folder


@pytest.mark.parametrize("with_cell", [False, True])
def test_the_result_of_another_run_is_not_read(run_dir, other_dir, host, with_cell):
    """A copied result.json would count as a second seed."""
    if with_cell:
        shutil.copy(run_dir / store.CELL, other_dir / store.CELL)
    found, rest = store.scan(run_dir.parents[2])
    assert [result.run_dir for result in found] == [run_dir]
    assert [(entry.run_dir, f"is of the run {run_dir.name}" in entry.cause) for entry in rest] == [(other_dir, True)]
    assert store.read_result(other_dir) is None
    assert verify_run(other_dir).state == "false"
    with pytest.raises(DataError, match=f"is of the run {run_dir.name}; its folder is {other_dir.name}"):
        find_weights(host, other_dir.name, store=run_dir.parents[2])


def test_a_result_in_the_folder_of_another_network_is_not_read(run_dir):
    moved = run_dir.parents[1] / "toyzoo.other" / run_dir.name
    moved.parent.mkdir()
    run_dir.rename(moved)
    found, rest = store.scan(run_dir.parents[2])
    assert not found
    assert "belongs in the folder" in rest[0].cause


def test_weights_of_another_run_do_not_answer(run_dir, other_dir, host):
    result = store.open_result(run_dir)
    cell = Cell.read(other_dir / store.CELL)
    store.write_result(structs.replace(result, cell=cell, run_id=cell.run_id, run_dir=other_dir))
    place = run_dir.parents[2]
    assert find_weights(host, str(run_dir), store=place) == run_dir / store.WEIGHTS
    for name in (other_dir.name, str(other_dir), str(other_dir / store.WEIGHTS)):
        with pytest.raises(DataError, match=f"holds weights of the run {run_dir.name}"):
            find_weights(host, name, store=place)
    assert [entry.name for entry in stored_weights(place)] == [run_dir.name]
    assert any(f"holds weights of the run {run_dir.name}" in problem for problem in verify_run(other_dir).problems)


@pytest.mark.parametrize("lost", ["checksum", "history", "mistakes"])
def test_a_result_without_a_checksum_or_hash_is_not_trusted(run_dir, lost):
    """Otherwise the line could be deleted together with the change that it would show."""
    content = json.loads((run_dir / store.RESULT).read_text())
    if lost == "checksum":
        del content[store.CHECKSUM]
        (run_dir / store.RESULT).write_text(json.dumps(content))
        assert store.read_result(run_dir) is None
    else:
        [name] = [name for name in store.HASHED if name.startswith(lost)]
        del content["files"][name], content[store.CHECKSUM]
        content[store.CHECKSUM] = store.content_checksum(content)
        (run_dir / store.RESULT).write_text(json.dumps(content))
    verdict = verify_run(run_dir)
    assert verdict.state == "false"
    assert any(lost in problem for problem in verdict.problems)


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
    run_cells_here(monkeypatch)
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


def test_a_repetition_is_of_the_installed_specs(run_dir, host):
    """With the versions of the stored run, it would have its run id, and weights that no zoo can load."""
    stored = store.open_result(run_dir)
    earlier = replace(stored.cell, model_version=7, recipe=replace(stored.cell.recipe, dataset_version=9))
    assert _as_installed(host, earlier) == stored.cell
    before = structs.replace(stored, cell=earlier, run_id=earlier.run_id)
    assert _changes(host, before, stored) == [
        "toyzoo/tiny was of version 7, is of version 1", "toyzoo/stripes was of version 9, is of version 1",
    ]  # fmt: skip


def test_a_repetition_does_not_replace_the_run(run_dir, host, tmp_path):
    with pytest.raises(UsageError, match="would replace what it is compared with"):
        rerun(host, run_dir, store=tmp_path / "results")


def test_flatten_returns_every_number():
    content = {"auc": {"a": 0.5}, "confusion": [[1, 2], [3, 4]], "name": "x", "good": True, "n": np.nan}
    assert flatten(content).keys() == {"auc.a", "confusion.0.0", "confusion.0.1", "confusion.1.0", "confusion.1.1", "n"}


@pytest.mark.parametrize("damage", ["none", "truncated", "other run", "empty", "folder", "unreadable header"])
def test_a_checkpoint_is_checked(run_dir, damage, capsys):
    (run_dir / store.RESULT).unlink()
    path = run_dir / CHECKPOINT
    network = torch.nn.Linear(2, 3)
    average = MovingAverage(network, decay=0.5)
    optimizer = torch.optim.SGD(network.parameters())
    written = run_dir.with_name("0" * 16) / CHECKPOINT if damage == "other run" else path
    written.parent.mkdir(exist_ok=True)
    write_checkpoint(written, TrainingState(), network, average, [optimizer], {})
    content = written.read_bytes()
    if damage == "other run":
        shutil.move(written, path)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage != "none":
        path.write_bytes({"truncated": content[:-9], "empty": b""}.get(damage, b"\xff" * 8 + content[8:]))
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(run_dir)])
    said = capsys.readouterr().out
    assert ended.value.code == (damage != "none")
    assert said.startswith("no result" if damage == "none" else "false")
    assert (CHECKPOINT in said.splitlines()[-1]) == (damage != "none")
    assert "Traceback" not in said
