"""The local launcher: one process after the other, with a log each."""

from __future__ import annotations

import os
import signal
import time

import pytest

from zoo.results import store
from zoo.run.launcher import Job
from zoo.run.local import LocalLauncher
from zoo.stopping import PARENT_VARIABLE


@pytest.fixture
def job(tmp_path):
    def job(name, script):
        (tmp_path / name).mkdir()
        return Job(run_dir=tmp_path / name, command=("sh", "-c", script))

    return job


def kinds(launcher, handles):
    return [state.kind for state in launcher.poll(handles)]


def wait_for(launcher, handles, wanted, seconds=20.0):
    deadline = time.monotonic() + seconds
    while (states := kinds(launcher, handles)) != wanted:
        assert time.monotonic() < deadline, (states, wanted)
        time.sleep(0.01)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_local_jobs_run_one_after_the_other_with_a_log_each(job, tmp_path):
    launcher = LocalLauncher()
    order = tmp_path / "order"
    handles = launcher.submit(
        [job(name, f"echo +{name} >> {order}; sleep 0.05; echo -{name} >> {order}; echo {name} >&2") for name in "abc"]
    )
    assert kinds(launcher, handles) == ["running", "waiting", "waiting"]
    wait_for(launcher, handles, ["ended"] * 3)
    assert order.read_text().split() == ["+a", "-a", "+b", "-b", "+c", "-c"]
    assert [(tmp_path / name / store.LOG).read_text() for name in "abc"] == ["a\n", "b\n", "c\n"]
    assert kinds(launcher, handles[::-1]) == ["ended"] * 3


def test_trainings_keep_freed_memory(job, tmp_path, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "9")
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    launcher = LocalLauncher()
    handles = launcher.submit([job("a", "echo $MALLOC_MMAP_MAX_ $MALLOC_TRIM_THRESHOLD_")])
    wait_for(launcher, handles, ["ended"])
    assert (tmp_path / "a" / store.LOG).read_text() == "0 9\n"


def test_local_jobs_record_their_parent_and_run_in_separate_sessions(job, tmp_path):
    launcher = LocalLauncher()
    [handle] = launcher.submit([job("a", f"read x; echo ${PARENT_VARIABLE} $$ [$x]; exec sleep 60")])
    log = tmp_path / "a" / store.LOG
    while kinds(launcher, [handle]) == ["running"] and not (log.exists() and log.read_text()):
        time.sleep(0.01)
    parent, pid, typed = log.read_text().split()
    assert int(parent) == os.getpid()
    assert os.getsid(int(pid)) == int(pid) != os.getsid(0)
    assert typed == "[]"  # no terminal to read from
    launcher.cancel([handle])


def test_local_jobs_that_fail_end_and_the_next_one_runs(job, tmp_path):
    launcher = LocalLauncher()
    handles = launcher.submit([job("a", "exit 3"), job("b", "kill -9 $$"), job("c", "echo fine")])
    wait_for(launcher, handles, ["ended"] * 3)
    assert (tmp_path / "c" / store.LOG).read_text() == "fine\n"


def test_local_poll_never_blocks(job):
    launcher = LocalLauncher()
    handles = launcher.submit([job("a", "sleep 30"), job("b", "sleep 30")])
    started = time.monotonic()
    for _ in range(20):
        assert kinds(launcher, handles) == ["running", "waiting"]
    assert time.monotonic() - started < 5
    launcher.cancel(handles)


def test_local_cancel_stops_the_running_and_the_waiting(job, tmp_path):
    launcher = LocalLauncher()
    done, running, waiting, kept = launcher.submit(
        [job("a", "true"), job("b", "echo $$; exec sleep 60"), job("c", "echo ran"), job("d", "echo kept")]
    )
    log = tmp_path / "b" / store.LOG
    wait_for(launcher, [done, running, waiting], ["ended", "running", "waiting"])
    while not (log.exists() and log.read_text()):
        time.sleep(0.01)
    pid = int(log.read_text())
    assert alive(pid)
    launcher.cancel([done, running, waiting])
    assert not alive(pid)
    wait_for(launcher, [done, running, waiting, kept], ["ended"] * 4)
    assert not (tmp_path / "c" / store.LOG).exists()
    assert (tmp_path / "d" / store.LOG).read_text() == "kept\n"
    launcher.cancel([done, running, waiting, kept])  # once more does no harm


def test_local_cancel_kills_jobs_that_ignore_sigterm(job, tmp_path, monkeypatch):
    launcher = LocalLauncher()
    [handle] = launcher.submit([job("a", "trap '' TERM; echo $$; while true; do sleep 0.1; done")])
    log = tmp_path / "a" / store.LOG
    while kinds(launcher, [handle]) == ["running"] and not (log.exists() and log.read_text()):
        time.sleep(0.01)
    pid = int(log.read_text())
    waited = []
    process = launcher._running[handle].process
    wait = process.wait
    monkeypatch.setattr(process, "wait", lambda timeout=None: waited.append(timeout) or wait(timeout and 0.3))
    launcher.cancel([handle])
    assert 29 < waited[0] <= 30
    assert not alive(pid)
    assert process.returncode == -signal.SIGKILL
