"""The states of the cells of a store, and their cancellation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import filelock
import pytest
from storedata import content_of

from zoo.cli import main
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.progress import Progress
from zoo.results import store
from zoo.run import status as status_module
from zoo.run.launcher import JobState
from zoo.run.status import cancel_cells, cell_states, job_states
from zoo.run.submission import CANCELLED, JOB, Submission, read_submission, write_submission
from zoo.schema import plain

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
FILE = """
from zoo import LauncherSpec, hookimpl

@hookimpl
def zoo_launchers():
    return [LauncherSpec(id="batches/queue", target="batches:Queue", summary="a queue", outlives=True)]
"""


@pytest.fixture(scope="session")
def plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "batches.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def host(plugin):
    return load_plugins(files=[TOY, plugin], environment={})


@pytest.fixture(scope="module")
def cells(host):
    seeds = list(range(6))
    return make_plan(host, Request(models=["tiny"], data=["stripes"], budget="smoke", device="cpu", seeds=seeds))


class Batches:
    """A launcher that knows the jobs w (waits on a node), r (runs) and e (has ended well)."""

    cancelled: ClassVar[list[str]] = []
    fault: ClassVar[Exception | None] = None

    def poll(self, handles):
        if self.fault is not None:
            raise self.fault
        known = {"w": JobState(kind="waiting", detail="priority"), "r": JobState(kind="running", detail="node n3")}
        known["e"] = JobState(kind="ended", reason="ok")
        return [known.get(handle, "lost") for handle in handles]

    def cancel(self, handles):
        self.cancelled += handles

    def log(self, handle):
        return f"engine of {handle}"


@pytest.fixture
def run_dirs(cells, tmp_path, monkeypatch):
    """One cell of each state: done, failed, running, waiting, lost by its launcher, never submitted."""
    monkeypatch.setattr(Batches, "cancelled", [])
    monkeypatch.setattr(status_module.registry, "load_target", lambda spec: Batches)
    folders = [store.prepare_run(tmp_path, cell) for cell in cells]
    for folder, kind in zip(folders, ("ok", "failed"), strict=False):
        cell = store.Cell.read(folder / store.CELL)
        store.write_result(store.result_from(content_of(cell, kind, error="no memory"), run_dir=folder))
    for folder, handle in zip(folders[2:], ("r", "w", "gone"), strict=False):
        submission = Submission(launcher="batches/queue", options={}, handle=handle, attempt=1, submitted=0.0)
        write_submission(folder, submission)
    progress = Progress(phase="train", done=5, total=10, seconds=1.0, rate=5.0, epoch=2, epochs=3)
    (folders[2] / store.PROGRESS).write_text(json.dumps(plain(progress)))
    with filelock.FileLock(folders[2] / store.LOCK):
        yield folders


def test_every_cell_has_a_state(host, run_dirs):
    found = cell_states(host, run_dirs)
    assert [one.state for one in found] == ["done", "failed", "running", "waiting", "stopped", "stopped"]
    assert [one.where for one in found[2:4]] == ["batches/queue: node n3", "batches/queue: priority"]
    assert found[1].detail == "no memory"
    assert found[2].progress.epoch == 2


def test_a_share_that_has_ended_well_is_done_until_a_command_takes_it_up(host, run_dirs):
    write_submission(
        run_dirs[5], Submission(launcher="batches/queue", options={}, handle="e", attempt=1, submitted=0.0)
    )
    found = job_states(host, run_dirs[2:])
    assert [one.state for one in found] == ["running", "waiting", "stopped", "done"]


def test_a_launcher_that_does_not_answer_hides_no_cell(host, run_dirs, monkeypatch, caplog):
    monkeypatch.setattr(Batches, "fault", RuntimeError("down"))
    found = cell_states(host, run_dirs)
    assert [one.state for one in found[2:]] == ["running", "waiting", "waiting", "stopped"]
    assert "batches/queue failed in poll" in caplog.text


def test_cancelled_cells_leave_the_queue(host, run_dirs):
    requested, alone = cancel_cells(host, run_dirs)
    assert requested == run_dirs[2:5]
    assert alone == []
    assert sorted(Batches.cancelled) == ["gone", "r", "w"]
    assert [read_submission(folder) for folder in run_dirs] == [None] * 6
    assert [(folder / CANCELLED).exists() for folder in run_dirs] == [False, False, True, True, True, False]


def test_a_cell_that_runs_without_a_launcher_is_left_alone(host, run_dirs):
    (run_dirs[2] / JOB).unlink()
    assert cancel_cells(host, run_dirs[2:3]) == ([], run_dirs[2:3])


def run(capsys, plugin, *words):
    with pytest.raises(SystemExit) as ended:
        main(["--plugin", str(TOY), "--plugin", str(plugin), *map(str, words)])
    return ended.value.code, capsys.readouterr()


def test_variants_of_a_model_are_told_apart(host, plugin, capsys, tmp_path):
    for lr, width in ((0.25, 4), (0.5, 7)):
        settings = {"lr": lr, "model.width": width}
        request = Request(models=["tiny"], data=["stripes"], budget="smoke", device="cpu", settings=settings)
        store.prepare_run(tmp_path, make_plan(host, request)[0])
    _, said = run(capsys, plugin, "status", "--store", tmp_path)
    rows = [" ".join(line.split()) for line in said.out.splitlines()]
    assert sorted(row.partition("seed 0, ")[2].removesuffix(" -") for row in rows) == [
        "lr 0.25, width 4", "lr 0.5, width 7"
    ]  # fmt: skip


@pytest.mark.slow
def test_on_the_command_line(run_dirs, plugin, capsys, tmp_path):
    code, said = run(capsys, plugin, "status", "--store", tmp_path)
    assert code == 0
    rows = {line.split()[1]: line for line in said.out.splitlines()}
    assert set(rows) == {folder.name for folder in run_dirs}
    assert rows[run_dirs[2].name].startswith("running")
    assert " ".join(rows[run_dirs[2].name].split()).endswith("batches/queue: node n3 epoch 2/3, 1 s left")
    assert "6 cells in" in said.err
    code, said = run(capsys, plugin, "status", "--store", tmp_path, "--json")
    states = {one["run_id"]: one["state"] for one in json.loads(said.out)}
    assert states[run_dirs[3].name] == "waiting"
    (run_dirs[2] / store.LOG).write_text("one\ntwo\nthree\n")
    code, said = run(capsys, plugin, "logs", run_dirs[2].name, "-n", 2, "--store", tmp_path)
    assert (code, said.out) == (0, "two\nthree\n\nLog of the launcher:\nengine of r\n")
    code, said = run(capsys, plugin, "logs", run_dirs[1].name, "--store", tmp_path)
    assert (code, said.out) == (0, "(empty)\n\nno memory\n")
    code, said = run(capsys, plugin, "cancel", run_dirs[3].name, "--store", tmp_path)
    assert (code, said.err) == (0, "1 cell cancelled\n")
    assert Batches.cancelled == ["w"]
    code, said = run(capsys, plugin, "cancel", run_dirs[0].name, "--store", tmp_path)
    assert (code, said.err) == (1, f"0 cells cancelled\nleft alone, since it neither waits nor runs: {run_dirs[0]}\n")
    code, said = run(capsys, plugin, "cancel", "--store", tmp_path)
    assert (code, "State either runs or --all" in said.err) == (2, True)
    code, said = run(capsys, plugin, "status", "--store", tmp_path / "empty")
    assert code == 1
