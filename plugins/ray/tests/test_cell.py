"""The process of a cell on a node: its end, its time limit, and how it is stopped."""

from __future__ import annotations

import sys
import threading

import pytest
from zoo_ray.cell import PYTHON, CellProcess, Task
from zoo_ray.ends import read_end

from zoo.run.launcher import JobState

CANCELLED = JobState(kind="ended", reason="cancelled")


@pytest.fixture
def process(tmp_path):
    def process(*command, **options):
        values = {"cwd": str(tmp_path), "env": {"MARK": "env"}, "run_dir": str(tmp_path), "end": str(tmp_path / "end")}
        return CellProcess(Task(command=command, **{**values, **options}))

    return process


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        ("echo $MARK", "ok", ""),
        ("exit 3", "failed", "exit code 3 on"),
        ("exit 75", "preempted", "stopped from outside on"),
        ("kill -9 $$", "failed", "killed by SIGKILL on"),
        ('test "$ZOO_PARENT_PID" = $PPID', "ok", ""),  # a cell notices the end of its worker
    ],
)
def test_the_end_of_the_process_is_that_of_the_cell(process, tmp_path, script, reason, words):
    state = process("sh", "-c", script).wait()
    assert (state.kind, state.reason) == ("ended", reason)
    assert words in state.detail
    assert read_end(tmp_path / "end") == state
    assert (tmp_path / "log.txt").read_text() == ("env\n" if "MARK" in script else "")


def test_a_stopped_cell_writes_its_checkpoint(process, tmp_path):
    one = process("sh", "-c", "trap 'echo checkpoint; exit 75' TERM; echo began; sleep 30 & wait")
    threading.Timer(0.2, one.stop, (CANCELLED,)).start()
    assert one.wait() == CANCELLED
    assert "checkpoint" in (tmp_path / "log.txt").read_text()


def test_a_cell_that_does_not_stop_is_killed_with_its_children(process):
    one = process("sh", "-c", "trap '' TERM; sleep 30", stop_seconds=0.2)
    threading.Timer(0.2, one.stop, (CANCELLED,)).start()
    assert one.wait() == CANCELLED


def test_the_time_limit_is_a_reason(process):
    state = process("sleep", "30", minutes=0.003).wait()
    assert (state.reason, state.again) == ("timeout", True)
    assert "minutes=NUMBER" in state.detail


def test_what_ends_well_is_not_cancelled(process):
    one = process("true")
    state = one.wait()
    one.stop(CANCELLED)
    assert state.reason == "ok"


def test_a_process_that_cannot_be_started_is_an_end_with_words(process, tmp_path):
    assert "could not be started" in process("no-such-command").wait().detail
    assert read_end(tmp_path / "end").reason == "failed"


def test_the_python_of_the_worker_runs_the_cell(process):
    script = f"import sys; sys.exit(sys.executable != {sys.executable!r})"
    assert process(PYTHON, "-S", "-c", script).wait().reason == "ok"
