"""Launchers that fail, forget, hang or repeat: no cell is lost, run twice or waited for without end."""

from __future__ import annotations

import time
from functools import partial

import clusters
import filelock
import pytest
from clusters import Cluster
from smallrun import TOY
from storedata import content_of

from zoo.errors import MissingError, UsageError
from zoo.host import load_plugins
from zoo.results import store
from zoo.run import job_queue, queued
from zoo.run.launcher import JobState
from zoo.run.submission import JOB, ask_to_cancel, read_submission
from zoo.train.checkpoint import CHECKPOINT


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


@pytest.mark.parametrize("reason", ["node", "timeout", "lost"])
def test_a_retryable_end_is_followed_by_another_attempt(go, cluster, caplog, reason):
    engine = cluster(["waiting", "running", reason], ["running", "result"])
    [result] = go(engine)
    assert result.status == "ok"
    assert len(engine.jobs) == 2
    assert "it is submitted again" in caplog.text
    assert not (result.run_dir / JOB).exists()


def test_attempts_are_limited_and_the_failure_is_kept_in_words(go, cluster):
    engine = cluster(["running", "node"])
    engine.log = lambda handle: f"slurm: {handle} was lost"
    [result] = go(engine, retries=1)
    assert len(engine.jobs) == 2
    assert result.status == "failed"
    assert result.cause.startswith("Its process ended without a result: node n3; the end of")
    assert "slurm: " in result.error
    assert store.read_result(result.run_dir) == result


def test_an_end_that_is_not_retryable_is_final(go, cluster):
    engine = cluster(["running", "failed"])
    assert go(engine)[0].status == "failed"
    assert len(engine.jobs) == 1


def test_attempts_that_make_progress_do_not_count(go, cluster):
    def progress(job):
        (job["job"].run_dir / CHECKPOINT).write_text("further")
        return JobState(kind="ended", reason="timeout")

    engine = cluster(*[["running", progress]] * 4, ["running", "result"])
    assert go(engine, retries=1)[0].status == "ok"
    assert len(engine.jobs) == 5


@pytest.mark.parametrize("fault", [RuntimeError("no controller"), SystemExit(3), KeyboardInterrupt()])
def test_a_launcher_that_cannot_submit_fails_the_cells_and_not_the_command(go, cluster, cells, fault):
    engine = cluster(["result"])

    def submit(jobs):
        raise fault

    engine.submit = submit
    results = go(engine, cells)
    assert [result.status for result in results] == ["failed"] * 2
    assert results[0].cause.startswith("Launcher clusters/queue failed in submit: ")
    assert [store.read_result(result.run_dir) for result in results] == results


def test_a_submission_that_fails_once_is_repeated(go, cluster):
    engine = cluster(["running", "result"])
    submit, calls = engine.submit, []

    def flaky(jobs):
        calls.append(1)
        if len(calls) == 1:
            raise OSError("Socket timed out")
        return submit(jobs)

    engine.submit = flaky
    assert go(engine)[0].status == "ok"


@pytest.mark.parametrize("answer", [RuntimeError("down"), None, ["running", "running", "running"]], ids=repr)
def test_a_launcher_that_does_not_answer_is_given_up(go, cluster, answer):
    engine = cluster(["running"])

    def poll(handles):
        if isinstance(answer, Exception):
            raise answer
        return answer

    engine.poll = poll
    [result] = go(engine)
    assert result.status == "failed"
    assert "Launcher clusters/queue" in result.cause
    # The job may still wait: zoo cancel finds it, and the next command attaches to it.
    assert store.read_result(result.run_dir) is None
    assert read_submission(result.run_dir).launcher == "clusters/queue"


def test_a_cell_that_runs_is_waited_for_although_its_launcher_does_not_answer(go, cluster, cells, tmp_path):
    engine = cluster(["running"])
    lock = filelock.FileLock(store.prepare_run(tmp_path, cells[0]) / store.LOCK, thread_local=False)
    polls = []

    def poll(handles):
        polls.append(1)
        lock.acquire()
        raise RuntimeError("down")

    def watch(states):
        if len(polls) == job_queue.MOST_FAILED_POLLS and lock.is_locked:
            content = content_of(cells[0], "ok")
            store.write_result(store.result_from(content, run_dir=states[0].run_dir))
            lock.release(force=True)

    engine.poll = poll
    assert go(engine, watch=watch)[0].status == "ok"


def test_a_hanging_launcher_is_given_up(go, cluster, monkeypatch):
    monkeypatch.setattr(queued, "CALL_SECONDS", 0.05)
    engine = cluster(["running"])
    engine.poll = lambda handles: time.sleep(1)
    started = time.monotonic()
    [result] = go(engine)
    assert result.status == "failed"
    assert time.monotonic() - started < 20


def test_the_files_are_believed_before_the_launcher(go, cluster, cells, tmp_path):
    """A scheduler that says "running" for minutes after the end, and would cancel what it runs."""

    def ended(job):
        content = content_of(cells[0], "ok")
        store.write_result(store.result_from(content, run_dir=job["job"].run_dir))
        return "running"

    engine = cluster([ended])
    assert go(engine)[0].status == "ok"
    assert engine.cancelled == []


def test_a_job_that_its_launcher_runs_twice_has_one_result(go, cluster, cells, tmp_path):
    """Both find the lock; the one that comes second leaves, and its end is not the end of the cell."""
    lock = filelock.FileLock(store.prepare_run(tmp_path, cells[0]) / store.LOCK, thread_local=False)

    def second(job):
        lock.acquire()
        return JobState(kind="ended", reason="failed", detail="another process runs the cell")

    def watch(states):
        if lock.is_locked and states[0].state == "elsewhere":
            content = content_of(cells[0], "ok")
            store.write_result(store.result_from(content, run_dir=states[0].run_dir))
            lock.release()

    engine = cluster(["running", second])
    assert go(engine, watch=watch)[0].status == "ok"
    assert len(engine.jobs) == 1


def test_the_launcher_is_asked_no_more_often_than_it_wants(go, cluster):
    engine = cluster(["running"])
    engine.poll_seconds = 3600
    polls, poll = [], engine.poll
    engine.poll = lambda handles: polls.append(1) or poll(handles)
    ticks = []

    def watch(states):
        ticks.append(1)
        if len(ticks) == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(engine, watch=watch)
    assert len(polls) == 1


def test_a_request_to_cancel_counts_between_two_attempts(go, cluster, cells, tmp_path, monkeypatch):
    """`zoo cancel` has answered that the cell is cancelled, while no job of it is known to the launcher."""
    monkeypatch.setattr(job_queue, "MOST_SECONDS", 60.0)
    run_dir = tmp_path / cells[0].folder
    engine = cluster(["node"])
    engine.poll_seconds = 0.5  # the second pause takes twice as long

    def watch(states):
        if len(engine.jobs) == 2 and states[0].state == "waiting" and engine.jobs[f"{run_dir.name}-1"].get("ended"):
            ask_to_cancel(run_dir)

    def ends(job):
        job["ended"] = True
        return JobState(kind="ended", reason="node")

    engine.scripts = [[ends]]
    [result] = go(engine, watch=watch)
    assert result.cause.startswith("Cancelled by zoo cancel")
    assert len(engine.jobs) == 2


def test_an_old_request_to_cancel_does_not_stop_the_next_command(go, cluster, cells, tmp_path):
    run_dir = tmp_path / cells[0].folder
    run_dir.mkdir(parents=True)
    ask_to_cancel(run_dir)
    [result] = go(cluster(["running", "result"]))
    assert result.status == "ok"


def test_a_job_holds_what_it_needs(go, cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", "cache")
    engine = cluster(["result"])
    go(engine)
    [job] = [one["job"] for one in engine.jobs.values()]
    assert engine.options == [{"nice": 0}]
    assert job.run_dir.is_absolute()
    assert job.cwd == tmp_path
    assert job.env["ZOO_CACHE"] == str(tmp_path / "cache")
    assert job.env["MALLOC_MMAP_MAX_"] == "0"
    assert job.label == "toyzoo/tiny on toyzoo/stripes, seed 0"


@pytest.mark.parametrize("error", [UsageError, MissingError])
def test_a_launcher_refuses_before_anything_is_queued(go, cluster, tmp_path, error):
    engine = cluster(["result"])

    def check(jobs):
        assert [job.run_dir.is_absolute() for job in jobs] == [True]
        raise error("gpus=9: the largest node has 4.")

    engine.check = check
    with pytest.raises(error, match="the largest node has 4"):
        go(engine)
    assert engine.jobs == {}
    assert not list(tmp_path.rglob("cell.json"))
