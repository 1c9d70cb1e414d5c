"""Jobs that a command cancels, or leaves to the next one: that attaches to them and submits none of them twice."""

from __future__ import annotations

import os
from functools import partial

import clusters
import pytest
from clusters import Cluster
from smallrun import TOY
from storedata import content_of

from zoo.errors import Interrupted, LauncherError
from zoo.host import load_plugins
from zoo.results import store
from zoo.run.launcher import JobState
from zoo.run.status import cancel_cells, cell_states
from zoo.run.submission import ask_to_cancel, is_cancelled, read_submission


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY, clusters.__file__], environment={})


@pytest.fixture(scope="module")
def cells(host):
    return clusters.two_cells(host)


@pytest.fixture
def go(host, cells, tmp_path, monkeypatch):
    return clusters.runs(host, cells, folder=tmp_path, patch=monkeypatch)


@pytest.fixture
def cluster(tmp_path, cells):
    return partial(Cluster, tmp_path, cells)


def test_a_cell_with_a_result_is_not_cancelled(go, cluster, cells, tmp_path):
    engine = cluster(["running"])

    def interrupt(states):
        content = content_of(cells[0], "ok")
        store.write_result(store.result_from(content, run_dir=states[0].run_dir))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(engine, cells, watch=interrupt)
    assert engine.cancelled == [f"{cells[1].run_id}-0"]


@pytest.mark.parametrize(
    ("launcher", "stop", "cancelled"),
    [
        ("clusters/queue", KeyboardInterrupt, True),
        ("clusters/queue", Interrupted, False),  # a closed terminal: the jobs go on
        ("clusters/children", Interrupted, True),
    ],
)
def test_jobs_that_outlive_the_command_go_on_after_a_hang_up(go, cluster, cells, tmp_path, launcher, stop, cancelled):
    engine = cluster(["waiting", "running", "running", "running", "result"])

    def interrupt(states):
        raise stop

    with pytest.raises(stop):
        go(engine, cells, launcher, watch=interrupt)
    assert bool(engine.cancelled) is cancelled
    kept = [read_submission(tmp_path / cell.folder) for cell in cells]
    if cancelled:
        assert kept == [None, None]
        return
    assert [one.handle for one in kept] == [f"{cell.run_id}-0" for cell in cells]
    results = go(engine, cells, launcher)  # attaches
    assert [result.status for result in results] == ["ok", "ok"]
    assert len(engine.jobs) == 2


def test_a_job_that_was_lost_meanwhile_is_submitted_again(go, cluster, cells, tmp_path):
    engine = cluster(["waiting"], ["running", "result"])
    assert go(engine, submitted=lambda: True) == []
    assert len(engine.jobs) == 1
    engine.jobs.clear()
    engine.scripts = [["running", "result"]]
    assert go(engine)[0].status == "ok"


def test_a_forced_cell_that_is_attached_to_goes_on_after_a_time_limit(go, cluster, cells, tmp_path):
    def out_of_time(job):
        (job["job"].run_dir / store.CHECKPOINT).write_text("further")
        return JobState(kind="ended", reason="timeout")

    engine = cluster(["waiting", "running", out_of_time], ["result"])
    assert go(engine, force=True, submitted=lambda: True) == []
    assert go(engine, force=True)[0].status == "ok"
    assert ["--force" in job["job"].command for job in engine.jobs.values()] == [True, False]


def test_a_job_that_is_attached_to_has_no_more_attempts_than_one_that_is_not(go, cluster, cells, tmp_path):
    engine = cluster(["waiting", "running", "timeout"])
    go(engine, retries=0, submitted=lambda: True)
    checkpoint = tmp_path / cells[0].folder / store.CHECKPOINT
    checkpoint.write_text("of an earlier attempt")
    os.utime(checkpoint, (0, 0))
    assert go(engine, retries=0)[0].status == "failed"
    assert len(engine.jobs) == 1


def test_a_forced_cell_that_waits_is_shown_so_and_can_be_cancelled(go, host, cluster, cells, tmp_path):
    run_dir = store.prepare_run(tmp_path, cells[0])
    store.write_result(store.result_from(content_of(cells[0], "ok"), run_dir=run_dir))
    os.utime(run_dir / store.RESULT, (0, 0))
    engine = cluster(["waiting"])
    go(engine, force=True, submitted=lambda: True)
    assert cell_states(host, [run_dir])[0].state == "waiting"
    assert cancel_cells(host, [run_dir]) == ([run_dir], [])
    assert engine.cancelled == [f"{cells[0].run_id}-0"]
    assert cell_states(host, [run_dir])[0].state == "done"  # the result that was to be replaced


def test_a_cell_that_ends_while_a_command_attaches_is_not_submitted_again(go, cluster):
    engine = cluster(["waiting"])
    go(engine, submitted=lambda: True)
    for job in engine.jobs.values():
        job["script"] = ["result"]
    assert go(engine)[0].status == "ok"
    assert len(engine.jobs) == 1


def test_nothing_is_submitted_twice_while_the_launcher_does_not_answer(go, cluster):
    engine = cluster(["waiting"])
    go(engine, submitted=lambda: True)
    poll = engine.poll
    engine.poll = lambda handles: 1 / 0
    with pytest.raises(LauncherError, match="failed in poll"):
        go(engine)
    assert len(engine.jobs) == 1
    assert callable(poll)


def test_a_cancelled_cell_is_stopped_and_not_kept_as_a_failure(go, cluster, cells):
    engine = cluster(["running"])

    def watch(states):
        if states[0].state == "running":
            ask_to_cancel(states[0].run_dir)

    [result] = go(engine, watch=watch)
    assert result.cause.startswith("Cancelled by zoo cancel")
    assert engine.cancelled == [f"{cells[0].run_id}-0"]
    assert store.read_result(result.run_dir) is None
    assert is_cancelled(result.run_dir)  # for other commands that wait for the cell
    again = cluster(["result"])
    assert go(again)[0].status == "ok"
