"""Cells that other processes run or end at the same time: they are waited for, taken over and run once."""

from __future__ import annotations

import json
import subprocess
import sys

import filelock
import pytest
from fakelauncher import TRAINING, run_ids, runs, three_cells, words_of, write
from smallrun import TOY

from zoo.results import store
from zoo.schema import plain

DATA, SMALLRUN = TOY.with_name("storedata.py"), TOY.with_name("smallrun.py")


@pytest.fixture
def cells(host):
    return three_cells(host)


@pytest.fixture
def go(host, cells, tmp_path, monkeypatch):
    return runs(host, cells, folder=tmp_path, patch=monkeypatch)


def test_a_cell_that_runs_elsewhere_is_waited_for(go, cells, tmp_path):
    run_dir = store.prepare_run(tmp_path, cells[0])
    (run_dir / store.PROGRESS).write_text(json.dumps(plain(TRAINING)))
    theirs = filelock.FileLock(run_dir / store.LOCK)
    theirs.acquire()
    seen = []

    def watch(states):
        seen.append(states[0].state)
        assert states[0].progress == TRAINING or states[0].state == "ended"
        if states[2].state == "ended" and theirs.is_locked:
            write(tmp_path, cells[0], words="theirs")
            theirs.release()

    results, engine = go(watch=watch)
    assert run_ids(engine.jobs) == [cell.run_id for cell in cells[1:]]
    assert [words_of(result) for result in results] == ["theirs", "new", "new"]
    assert set(seen[:-1]) == {"elsewhere"}
    assert seen[-1] == "ended"


def test_a_cell_that_was_given_up_elsewhere_is_taken_over(go, cells, tmp_path):
    run_dir = store.prepare_run(tmp_path, cells[0])
    theirs = filelock.FileLock(run_dir / store.LOCK)
    theirs.acquire()
    results, engine = go(cells[:1], watch=lambda states: theirs.release())
    assert run_ids(engine.jobs) == [cells[0].run_id]
    assert words_of(results[0]) == "new"


def test_a_job_whose_cell_another_process_finished_is_not_a_failure(go, cells, tmp_path):
    theirs = filelock.FileLock(tmp_path / cells[0].folder / store.LOCK)
    seen = []

    def watch(states):
        seen.append(states[0].state)
        if seen == ["running"]:
            theirs.acquire()
        elif seen[-1] == "elsewhere":
            write(tmp_path, cells[0], words="theirs")
            theirs.release()

    results, _ = go(cells[:1], statuses=["killed"], watch=watch)
    assert words_of(results[0]) == "theirs"
    assert seen == ["running", "elsewhere", "ended"]


def test_a_cell_that_waits_while_another_process_ends_it_is_not_started(go, cells, tmp_path):
    def watch(states):
        if states[0].state == "running":
            write(tmp_path, cells[2], status="failed", words="theirs")

    results, engine = go(watch=watch)
    assert engine.cancelled == [cells[2].run_id]
    assert [words_of(result) for result in results] == ["new", "new", "theirs"]


WORKER = """
import pathlib, runpy, sys, time
from zoo.results import store

run_dir = pathlib.Path(sys.argv[1])
with store.claim(run_dir):
    if store.read_result(run_dir) is None:
        with (run_dir.parents[3] / "started").open("a") as file:
            file.write(run_dir.name + "\\n")
        time.sleep(0.4)
        content_of = runpy.run_path(sys.argv[2])["content_of"]
        runpy.run_path(sys.argv[3])["write_result"](run_dir, content_of(store.Cell.read(run_dir / store.CELL)))
"""


COMMAND = """
import json, pathlib, sys
from zoo.run import matrix
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.host import load_plugins
from zoo.run.launcher import Job
from zoo.run.where import Where

folder, toy, data = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
matrix._job = lambda run_dir, **_: Job(
    run_dir=run_dir, command=(sys.executable, str(folder / "worker.py"), str(run_dir), *data)
)
host = load_plugins(files=[toy], environment={})
cells = make_plan(
    host, Request(models=["tiny"], data=["stripes"], budget="smoke", device="cpu", seeds=[0, 1, 2, 3])
)
results = matrix.run_matrix(host, cells, store=folder / "store", where=Where(device="cpu"))
print(json.dumps([[result.run_id, result.status] for result in results]))
"""


@pytest.mark.slow
def test_two_processes_share_the_same_cells(cells, tmp_path):
    """Two commands at once on one store: each cell is run by one of them, and both see all results."""
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "command.py").write_text(COMMAND)
    command = [sys.executable, str(tmp_path / "command.py"), str(tmp_path), str(TOY), str(DATA), str(SMALLRUN)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outcomes = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outcomes
    first, second = (json.loads(out) for out, _ in outcomes)
    assert first == second
    assert [status for _, status in first] == ["ok"] * 4
    assert sorted((tmp_path / "started").read_text().split()) == sorted(run_id for run_id, _ in first)
