"""Running a plan: submission of cells, results that are stored already, failures and interruption."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fakelauncher import TRAINING, FakeLauncher, run_ids, runs, three_cells, words_of, write
from smallrun import TOY

from zoo.errors import DataError, LauncherError, UsageError
from zoo.host import load_plugins
from zoo.results import store
from zoo.run import matrix, queued
from zoo.run.launch import Launch
from zoo.run.launcher import JobState
from zoo.run.matrix import run_matrix
from zoo.run.where import Where
from zoo.schema import plain


@pytest.fixture
def cells(host):
    return three_cells(host)


@pytest.fixture
def go(host, cells, tmp_path, monkeypatch):
    return runs(host, cells, folder=tmp_path, patch=monkeypatch)


def test_the_paths_of_a_job_are_absolute(host, cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = Where(device="cpu", images=Path("images")).resolved(host)
    job = matrix._job(Path("store") / cells[0].folder, where=where)
    assert job.run_dir == tmp_path / "store" / cells[0].folder
    words = job.command[job.command.index("run-cell") + 1 :]
    assert words[0] == str(job.run_dir / "cell.json")
    assert words[words.index("--images") + 1] == str(tmp_path / "images")


def test_every_cell_runs_once_in_order(go, cells):
    results, engine = go()
    assert run_ids(engine.jobs) == [cell.run_id for cell in cells] == [result.run_id for result in results]
    assert engine.cancelled == []
    for job, cell in zip(engine.jobs, cells, strict=True):
        assert job.command == (
            *(sys.executable, "-m", "zoo", "--plugin", str(TOY), "run-cell"),
            *(str(job.run_dir / store.CELL), "--device", "cpu"),
        )
        assert store.Cell.read(job.run_dir / store.CELL) == cell


def test_a_job_started_in_another_folder_has_the_plugins_and_the_cache_of_this_one(go, tmp_path, monkeypatch):
    """The variables that hold paths are made absolute: a launcher may start the command anywhere."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_CACHE", "cache")
    monkeypatch.setenv("ZOO_PLUGIN_FILES", os.pathsep.join(["one.py", "~/two.py", str(tmp_path / "three.py")]))
    seen = []
    go(watch=lambda states: seen.append(dict(os.environ)))
    files = [tmp_path / "work" / "one.py", tmp_path / "home" / "two.py", tmp_path / "three.py"]
    assert seen[0]["ZOO_PLUGIN_FILES"] == os.pathsep.join(map(str, files))
    assert seen[0]["ZOO_CACHE"] == str(tmp_path / "work" / "cache")


def test_stored_cells_are_not_submitted(go, cells, tmp_path):
    old = write(store.prepare_run(tmp_path, cells[1]).parents[2], cells[1], words="old")
    seen = []
    results, engine = go(watch=lambda states: seen.append([state.state for state in states]))
    assert run_ids(engine.jobs) == [cells[0].run_id, cells[2].run_id]
    assert results[1] == old
    assert {states[1] for states in seen} == {"stored"}
    assert [states[0] for states in seen][:2] == ["running", "ended"]
    assert seen[0][2] == "waiting"


def test_nothing_to_do_starts_no_launcher(go, cells, tmp_path, monkeypatch):
    for cell in cells:
        store.prepare_run(tmp_path, cell)
        write(tmp_path, cell)
    monkeypatch.setattr(queued.registry, "load_target", lambda spec: pytest.fail("made a launcher"))
    results = run_matrix(load_plugins(files=[TOY], environment={}), cells, store=tmp_path, where=Where(device="cpu"))
    assert [result.status for result in results] == ["ok"] * 3


def test_a_search_is_recorded_with_the_stored_run_that_has_its_settings(go, cells, tmp_path, monkeypatch, caplog):
    for cell in cells[:2]:
        store.prepare_run(tmp_path, cell)
        write(tmp_path, cell, words="old")
    search = store.Search(study="s", trials=6)
    found = [replace(cells[0], search=search)]
    results, engine = go(found)
    assert engine.jobs == []
    for result in (*results, store.open_result(results[0].run_dir)):
        assert (result.cell.search, result.device) == (search, "old")
    assert store.Cell.read(results[0].run_dir / store.CELL) == found[0]
    assert go(cells[:1])[0] == results  # a command without the search does not take it away

    def full(*_):
        raise DataError("the disk is full")

    monkeypatch.setattr(store, "write_json", full)
    [result], _ = go([replace(cells[1], search=search)])
    assert result.cell.search is None
    assert "The search s is not recorded with" in caplog.text


def test_force_runs_stored_cells_again(go, cells, tmp_path):
    store.prepare_run(tmp_path, cells[0])
    write(tmp_path, cells[0], words="old")
    results, engine = go(cells[:1], force=True)
    assert words_of(results[0]) == "new"
    assert engine.jobs[0].command[-1] == "--force"
    assert len(engine.left_behind) == 1  # the process that begins the cell removes it


def test_force_keeps_results_whose_cells_do_not_begin(go, cells, tmp_path):
    for cell in cells:
        store.prepare_run(tmp_path, cell)
        write(tmp_path, cell, words="old")

    class Silent(FakeLauncher):
        def poll(self, handles):
            raise LauncherError("No answer.")

    results, _ = go(force=True, engine=Silent(tmp_path, cells))
    assert [result.status for result in results] == ["failed"] * 3
    assert [words_of(store.done(tmp_path, cell)) for cell in cells] == ["old"] * 3

    def interrupt(states):
        if [state.state for state in states].count("ended") == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(force=True, watch=interrupt)
    assert "old" in [words_of(store.done(tmp_path, cell)) for cell in cells[1:]]


def test_a_second_attempt_of_a_forced_cell_goes_on_with_its_checkpoint(go, cells, tmp_path):
    store.prepare_run(tmp_path, cells[0])
    write(tmp_path, cells[0], words="old")

    class Begins(FakeLauncher):
        def submit(self, jobs):
            handles = super().submit(jobs)
            for job in jobs:
                (job.run_dir / store.RESULT).unlink(missing_ok=True)
            return handles

        def poll(self, handles):
            states = super().poll(handles)
            preempted = JobState(kind="ended", reason="preempted")
            return [preempted if state == "ended" and self.statuses else state for state in states]

    _, engine = go(cells[:1], force=True, engine=Begins(tmp_path, cells, ["killed", "ok"]))
    assert ["--force" in job.command for job in engine.jobs] == [True, False]


def test_a_cell_named_twice_runs_once(go, cells):
    results, engine = go([cells[0], cells[1], cells[0]])
    assert run_ids(engine.jobs) == [cells[0].run_id, cells[1].run_id]
    assert [result.run_id for result in results] == [cells[0].run_id, cells[1].run_id, cells[0].run_id]


@pytest.mark.parametrize("status", ["failed", "oom"])
def test_an_earlier_failure_is_not_taken_for_a_new_result(go, cells, tmp_path, status):
    store.prepare_run(tmp_path, cells[0])
    write(tmp_path, cells[0], status=status, words="old")
    (tmp_path / cells[0].folder / store.LOG).write_text("one\n" * 50 + "Segmentation fault [core]\n")
    results, engine = go(cells[:1], statuses=["killed"])
    assert engine.left_behind == []
    assert results[0].status == "failed"
    assert "old" not in results[0].error
    assert results[0].error.endswith("Segmentation fault [core]")
    assert len(results[0].error.splitlines()) < 20
    assert results[0].cell == cells[0]
    assert store.read_result(tmp_path / cells[0].folder) == results[0]


def test_a_failure_does_not_stop_the_others(go, cells):
    results, _ = go(statuses=["failed", "killed", "ok"])
    assert [result.status for result in results] == ["failed", "failed", "ok"]
    assert "(empty)" in results[1].error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_cancels_what_waits_and_runs(go, cells, tmp_path, error):
    engine = FakeLauncher(tmp_path, cells)

    def interrupted(states):
        if states[1].state == "running":
            raise error

    with pytest.raises(error):
        go(engine=engine, watch=interrupted)
    assert engine.cancelled == [cells[1].run_id, cells[2].run_id]
    assert store.done(tmp_path, cells[0])
    results, again = go()
    assert run_ids(again.jobs) == [cells[1].run_id, cells[2].run_id]
    assert len(results) == 3


def test_progress_of_running_cells_is_passed_on(go, cells, tmp_path):
    run_dir = store.prepare_run(tmp_path, cells[0])
    (run_dir / store.PROGRESS).write_text(json.dumps(plain(TRAINING)))
    seen = []
    go(cells[:1], watch=lambda states: seen.append((states[0].state, states[0].progress)))
    assert seen == [("running", TRAINING), ("ended", None)]


def test_invalid_requests_are_found_before_the_store_is_touched(host, cells, tmp_path):
    with pytest.raises(UsageError, match="Unknown launcher 'lokal'"):
        run_matrix(host, cells, store=tmp_path / "results", where=Where(device="cpu"), launch=Launch(launcher="lokal"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot create the folder"):
        run_matrix(host, cells, store=tmp_path / "file" / "results", where=Where(device="cpu"))
