"""The task on a node: its process, the signals of Slurm, the file of its end, and starts again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import zoo_submitit.task
from fake_slurm import FakeSlurm
from zoo_submitit.ending import ending_path, read_ending
from zoo_submitit.processes import ProcessLauncher
from zoo_submitit.task import STOP_SECONDS, RunCell

from zoo.run.launcher import Job

CELL = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print("began", flush=True)
time.sleep(60)
"""
TASK = """
import sys
from zoo_submitit.task import RunCell
RunCell(command=(sys.executable, "-c", sys.argv[1]), cwd=sys.argv[2], env={{"MARK": "env"}}, run_dir=sys.argv[2],
        folder=sys.argv[2], requeues={requeues})()
"""


@pytest.fixture
def task(tmp_path):
    def task(script, *, requeues=5, send=None, **variables):
        (tmp_path / "slurm").mkdir(exist_ok=True)
        slurm = FakeSlurm(tmp_path / "slurm")
        environment = {
            **os.environ, "PATH": slurm.path, "SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "9",
            "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", **variables,
        }  # fmt: skip
        command = [sys.executable, "-c", TASK.format(requeues=requeues), script, str(tmp_path)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
        if send is not None:
            until = time.monotonic() + 30
            log = tmp_path / "log.txt"
            while not (log.exists() and "began" in log.read_text()) and time.monotonic() < until:
                time.sleep(0.02)
            os.killpg(process.pid, send)  # as Slurm does
        process.communicate(timeout=30)
        return process.returncode, slurm

    return task


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("import os; print(os.environ['MARK'])", 0, ""),
        ("raise SystemExit(3)", 3, "exit code 3 on"),
        ("raise SystemExit(75)", 75, "stopped from outside"),
        ("import os; os.kill(os.getpid(), 9)", 137, "killed by SIGKILL"),
    ],
)
def test_the_code_of_the_process_is_that_of_the_job(task, tmp_path, script, code, words):
    ended, slurm = task(script)
    assert ended == code
    assert words in read_ending(tmp_path, "7_3").state().detail
    assert slurm.calls("scontrol") == []
    if code == 0:
        assert (tmp_path / "log.txt").read_text() == "env\n"


@pytest.mark.parametrize("send", [signal.SIGUSR2, signal.SIGUSR1])
def test_before_the_time_limit_the_cell_is_stopped_and_started_again(task, tmp_path, send):
    code, slurm = task(CELL, send=send)
    assert code == 75
    assert slurm.calls("scontrol") == ["scontrol requeue 7_3"]
    assert not ending_path(tmp_path, "7_3").exists()  # it has not ended


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("JobId=9 JobState=COMPLETING PreemptTime=2026-11-26T10:00:00", True),
        ("JobId=9 JobState=CANCELLED PreemptTime=None", False),
        ("JobId=9 JobState=CANCELLED PreemptTime=2026-11-26T10:00:00", False),
        ("JobId=9 JobState=RUNNING PreemptTime=None", False),
    ],
)
def test_after_sigterm_only_a_preempted_job_is_started_again(task, tmp_path, said, again):
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "scontrol.out").write_text(said)
    code, slurm = task(CELL, send=signal.SIGTERM)
    assert code == 75
    assert ("scontrol requeue 7_3" in slurm.calls("scontrol")) == again
    assert ending_path(tmp_path, "7_3").exists() != again


LISTENS = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda number, frame: sys.exit(128 + number))
"""
"""A process that listens, and has not begun with the cell: it ends as every command."""


@pytest.mark.parametrize("first", ["import time", LISTENS])
def test_a_cell_that_has_not_begun_is_started_again_as_well(task, tmp_path, first):
    code, slurm = task(f"{first}\nprint('began', flush=True); time.sleep(60)", send=signal.SIGUSR2)
    assert code == 75
    assert slurm.calls("scontrol") == ["scontrol requeue 7_3"]


def test_a_job_is_not_started_again_without_end(task, tmp_path):
    code, slurm = task(CELL, requeues=2, send=signal.SIGUSR2, SLURM_RESTART_COUNT="2")
    assert code == 75
    assert slurm.calls("scontrol") == []
    assert read_ending(tmp_path, "7_3").code == 75  # Zoo submits it again if it got further


def test_a_cluster_that_does_not_start_jobs_again(task, tmp_path):
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "scontrol.error").write_text("Requested operation is presently disabled for job 7_3")
    code, _ = task(CELL, send=signal.SIGUSR2)
    assert code == 75
    assert read_ending(tmp_path, "7_3").code == 75


def test_other_tasks_of_a_job_write_nothing(task, tmp_path):
    assert task("raise SystemExit(3)", SLURM_PROCID="1")[0] == 3
    assert not ending_path(tmp_path, "7_3").exists()


def test_a_process_that_cannot_be_started_is_an_end_with_words(task, tmp_path):
    (tmp_path / "log.txt").mkdir()
    assert task("pass")[0] == 1
    assert "could not be started" in read_ending(tmp_path, "7_3").state().detail


def test_a_job_is_cancelled_before_its_task_listens(tmp_path):
    launcher = ProcessLauncher(poll_seconds=0.1)
    run_dirs = [tmp_path / "data" / "model" / name for name in ("a", "b")]
    for run_dir in run_dirs:
        run_dir.mkdir(parents=True)
    script = "import time\nwhile True:\n    print('on', flush=True)\n    time.sleep(.1)"
    handles = launcher.submit(
        [
            Job(run_dir=each, command=(sys.executable, "-c", script), cwd=tmp_path, env={}, label="job")
            for each in run_dirs
        ]
    )
    began = time.monotonic()
    launcher.cancel(handles)
    assert time.monotonic() - began < STOP_SECONDS
    assert [state.reason for state in launcher.poll(handles)] == ["cancelled", "cancelled"]
    logs = [run_dir / "log.txt" for run_dir in run_dirs]
    before = [log.read_text() for log in logs]
    time.sleep(0.5)
    assert [log.read_text() for log in logs] == before


def test_a_cancelled_cell_that_goes_on_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo_submitit.task, "STOP_SECONDS", 0.5)
    script = "import signal, time; signal.signal(15, lambda *_: print('no', flush=True)); print('began', flush=True)\n"
    process = subprocess.Popen([sys.executable, "-c", script + "while True: time.sleep(60)"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"began\n"
    (tmp_path / "cancelled").touch()
    cell = RunCell(command=(), cwd="", env={}, run_dir="", folder=str(tmp_path), cancelled=str(tmp_path / "cancelled"))
    signals = []
    assert cell._code(process, signals) == -signal.SIGKILL
    assert signals == ["SIGTERM"]
    assert process.stdout.read() == b"no\n"  # asked once
