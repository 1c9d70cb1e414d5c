"""The store: which files are results, and how failed results are replaced."""

from __future__ import annotations

import json
import resource
from dataclasses import replace

import filelock
import numpy as np
import pytest
from click.testing import CliRunner
from smallrun import write_result
from storedata import SCORES

from zoo.cli import cli
from zoo.data.recipe import Recipe
from zoo.errors import DataError
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.schema import Failed

CELL = Cell(
    model="a/b",
    model_version=1,
    hparams={},
    recipe=Recipe(dataset="c/d", dataset_version=1),
    sizes={"train": 1, "val": 1, "test": 1},
    training={},
    seed=0,
    budget="smoke",
    rule="last",
    precision="fp32",
    versions={},
)


def put(folder, cell=CELL, **changes):
    """Store a result."""
    run_dir = store.prepare_run(folder, cell)
    result = {"schema": SCHEMA, "status": "ok", "run_id": cell.run_id, "cell": cell.to_json(), **SCORES, **changes}
    write_result(run_dir, result)
    return run_dir


def put_failed(folder, cell=CELL, *, status="failed"):
    """Store the result of a run that failed."""
    run_dir = store.prepare_run(folder, cell)
    failed = Failed(schema=SCHEMA, status=status, run_id=cell.run_id, cell=cell, run_dir=run_dir, error="no luck")
    store.write_result(failed)
    return run_dir


def test_a_successful_result_is_final(tmp_path):
    assert store.done(tmp_path, CELL) is None
    run_dir = put(tmp_path)
    assert store.done(tmp_path, CELL).status == "ok"
    assert Cell.read(run_dir / store.CELL) == CELL
    store.prepare_run(tmp_path, CELL)
    assert store.done(tmp_path, CELL)
    store.prepare_run(tmp_path, CELL, force=True)
    assert store.read_result(run_dir) is None


@pytest.mark.parametrize("status", ["failed", "oom"])
def test_a_failed_result_is_removed_before_the_next_attempt(tmp_path, status):
    run_dir = put_failed(tmp_path, status=status)
    assert store.done(tmp_path, CELL) is None
    assert [result.status for result in store.results(tmp_path)] == [status]
    store.prepare_run(tmp_path, CELL)
    assert store.read_result(run_dir) is None


def test_an_unreadable_result_is_repeated(tmp_path):
    run_dir = put(tmp_path, cost={"parameters": 1, "macs": "many", "train_images_per_second": "fast"})
    assert store.done(tmp_path, CELL) is None
    assert "cost.macs" in store.scan(tmp_path)[1][0].cause
    store.prepare_run(tmp_path, CELL)
    assert store.read_result(run_dir) is None


def test_results_are_sorted_and_other_files_are_skipped(tmp_path):
    cells = [replace(CELL, seed=seed) for seed in range(8)]
    folders = [put_failed(tmp_path, cell) for cell in cells]
    good, bad = sorted(folders[:2]), folders[2:]
    (bad[0] / store.RESULT).write_text('{"schema": 1, "status"')
    (bad[1] / store.RESULT).write_text("[1, 2]")
    (bad[2] / store.RESULT).write_bytes(b"\xff\xfe\x00")
    (bad[3] / store.RESULT).unlink()
    store.write_json(bad[4] / store.RESULT, {"schema": SCHEMA + 1, "status": "ok", "run_id": "0", "cell": {}})
    store.write_json(bad[5] / store.RESULT, {"schema": SCHEMA, "status": "ok"})
    (tmp_path / "figures").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    found = list(store.results(tmp_path))
    assert [result.run_dir for result in found] == good
    assert all(store.done(tmp_path, cell) is None for cell in cells[2:])


def test_files_of_another_run_or_program_are_not_results(tmp_path, caplog):
    other = replace(CELL, seed=1)
    mine, theirs = put(tmp_path), put(tmp_path, other)
    (mine / store.RESULT).write_bytes((theirs / store.RESULT).read_bytes())
    assert store.done(tmp_path, CELL) is None
    assert store.done(tmp_path, other)
    altered = json.loads((theirs / store.RESULT).read_text())
    for content in (
        {**altered, "cell": {**altered["cell"], "seed": 7}},
        {**altered, "cell": []},
        {**altered, "cell": {}},
        {**altered, "status": None},
        {**altered, "schema": 0},
        "ok",
    ):
        caplog.clear()
        if isinstance(content, dict):
            write_result(theirs, content)
        else:
            store.write_json(theirs / store.RESULT, content)
        assert store.done(tmp_path, other) is None
        assert theirs not in [result.run_dir for result in store.results(tmp_path)]
        assert str(theirs) in caplog.text


def _in(content, path, value):
    """Return plain values with another one at a dotted place."""
    content = json.loads(json.dumps(content))
    *parents, last = path.split(".")
    inner = content
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    return content


WRONG = [None, True, -1.5, 10**400, "x", "\ud800", [], [[]], {}, {"x": {"y": [None]}}, [0, "x"]]


def _sealed(content):
    """Return the text of a result whose checksum fits, so that its other checks are the ones that refuse it."""
    kept = {name: value for name, value in content.items() if name != store.CHECKSUM}
    return json.dumps({**kept, store.CHECKSUM: store.content_checksum(kept)})


@pytest.mark.slow
def test_a_damaged_folder_does_not_hide_the_others(tmp_path):
    folder = tmp_path / "store"
    kept = put(folder)
    whole = json.loads((kept / store.RESULT).read_text())
    places = ["schema", "status", "run_id", "cell", *(name for name in whole if name != "cell")]
    places += [f"cell.{name}" for name in whole["cell"]] + ["cell.recipe.params", "cell.recipe.dataset"]
    places += [f"{group}.{name}" for group in ("test", "cost", "data", "equivariance") for name in whole[group]]
    hostile = [_sealed(_in(whole, place, value)) for place in dict.fromkeys(places) for value in WRONG]
    other = put_failed(tmp_path / "elsewhere", replace(CELL, seed=1))
    hostile += ["[" * 100_000, '{"a":' * 50_000, "", "null", "\x00", '"ok"', "1" * 10_000]
    hostile += [(other / store.RESULT).read_text()[:-2], _sealed({**whole, "cell": CELL.to_json() | {"seed": 1}})]
    for number, text in enumerate(hostile):
        run_dir = folder / "a" / "b" / f"{number}"
        run_dir.mkdir(parents=True)
        (run_dir / store.RESULT).write_text(text, encoding="utf-8", errors="surrogatepass")
    later = next(cell for seed in range(2, 99) if (cell := replace(CELL, seed=seed)).run_id > CELL.run_id)
    put(folder, later, classes=["x", "z"], test={**SCORES["test"], "auc": {"x": 1, "z": 1, "macro": 1}})
    (folder / "a" / "b" / "folder" / store.RESULT).mkdir(parents=True)
    (folder / "a" / "b" / "bytes").mkdir()
    (folder / "a" / "b" / "bytes" / store.RESULT).write_bytes(b"\xff\xfe\x00")
    (folder / "a" / "b" / "unfinished").mkdir()
    (folder / "a" / "b" / "unfinished" / store.CELL).write_text("{")
    found, rest = store.scan(folder)
    assert found[-1].run_dir == kept
    # What happens to be a valid value is a result like any other, and can be shown.
    assert len(found) + len(rest) == len(hostile) + 5
    assert len(rest) > 0.9 * len(hostile)
    assert all(entry.cause for entry in rest)
    outcome = CliRunner().invoke(cli, ["report", "--store", str(folder), "--html", str(tmp_path / "page.html")])
    assert outcome.exit_code == 0, outcome.exception
    assert outcome.stderr.count("is left out") == sum(not entry.unfinished for entry in rest)
    for option in ("--csv", "--json", "--md"):
        outcome = CliRunner().invoke(cli, ["report", "--store", str(folder), option])
        assert (outcome.exit_code, CELL.run_id[:8] in outcome.stdout) == (0, True)


def test_a_result_survives_writing_and_reading(tmp_path):
    run_dir = put(tmp_path)
    store.write_result(store.open_result(run_dir))
    before = (run_dir / store.RESULT).read_bytes()
    result = store.open_result(run_dir)
    assert result.run_dir == run_dir
    store.write_result(result)
    assert (run_dir / store.RESULT).read_bytes() == before
    assert "run_dir" not in json.loads(before)


def test_a_result_that_another_process_is_writing_is_left_alone(tmp_path):
    """Two commands for one cell: the second must not remove what the first has just written."""
    run_dir = put_failed(tmp_path)
    with filelock.FileLock(run_dir / store.LOCK):
        store.prepare_run(tmp_path, CELL, force=True)
        assert store.read_result(run_dir)
    store.prepare_run(tmp_path, CELL)
    assert store.read_result(run_dir) is None


def test_arrays_on_a_full_disk_are_reported(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(DataError, match=r"Cannot write .*arrays.safetensors.*\n.*--store"):
            store.write_arrays(tmp_path / "arrays.safetensors", {"a": np.zeros(4096)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_store_has_no_results(tmp_path):
    assert list(store.results(tmp_path / "absent")) == []
    (tmp_path / "file").write_text("")
    assert list(store.results(tmp_path / "file")) == []


def test_arrays_survive_and_damage_is_reported(tmp_path):
    path = tmp_path / "arrays.safetensors"
    arrays = {"a": np.arange(12, dtype=np.float32).reshape(3, 4).T, "b": np.array([1, 2], dtype=np.int64)}
    store.write_arrays(path, arrays, {"classes": '["x"]'})
    again, metadata = store.read_arrays(path)
    assert metadata == {"classes": '["x"]'}
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype
    path.write_bytes(path.read_bytes()[:-8])
    for broken in (path, tmp_path / "absent"):
        with pytest.raises(DataError, match="Cannot read"):
            store.read_arrays(broken)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_half_a_character_in_a_result_is_found_before_it_is_written(tmp_path):
    """A run that ended well and cannot be read again would be lost."""
    result = store.open_result(put(tmp_path))
    content = store.plain_result(result)
    content["test"]["extra"] = {"mine/score": {"\ud800": 1.0}}
    with pytest.raises(DataError, match="surrogates not allowed"):
        store.result_from(content, run_dir=result.run_dir)
