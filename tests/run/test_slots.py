"""Cells side by side on one machine: their number, their GPUs (which need not exist here) and their threads."""

from __future__ import annotations

import os
import time

import pytest

from zoo import processor
from zoo.errors import UsageError
from zoo.processor import computing_environment, gpu_names, usable_cores
from zoo.run.launcher import Job, Resources
from zoo.run.local import LocalLauncher


@pytest.fixture
def job(tmp_path):
    def job(name, script="exec sleep 60", **resources):
        (tmp_path / name).mkdir()
        words = "echo [$CUDA_VISIBLE_DEVICES] $OMP_NUM_THREADS;"
        return Job(run_dir=tmp_path / name, command=("sh", "-c", f"{words} {script}"), resources=Resources(**resources))

    return job


def said(tmp_path, names):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        texts = [(tmp_path / name / "log.txt").read_text() for name in names if (tmp_path / name / "log.txt").exists()]
        if len(texts) == len(names) and all(text.endswith("\n") for text in texts):
            return [text.strip() for text in texts]
        time.sleep(0.01)
    raise AssertionError(names)


def kinds(launcher, handles):
    return [state.kind for state in launcher.poll(handles)]


def test_four_gpus_run_four_cells(job, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("zoo.processor._affinity", lambda: 16)
    monkeypatch.setattr("zoo.processor._quota", lambda: None)
    launcher = LocalLauncher(gpu_ids="0,1,2,3")
    handles = launcher.submit([job(name) for name in "abcdef"])
    try:
        assert kinds(launcher, handles) == ["running"] * 4 + ["waiting"] * 2
        assert said(tmp_path, "abcd") == ["[0] 4", "[1] 4", "[2] 4", "[3] 4"]
        launcher.cancel([handles[2]])
        assert kinds(launcher, handles) == ["running"] * 2 + ["ended"] + ["running"] * 2 + ["waiting"]
        assert said(tmp_path, "e") == ["[2] 4"]  # the GPU that has become free
    finally:
        launcher.cancel(handles)


def test_cells_that_need_several_gpus_get_them(job, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    launcher = LocalLauncher(gpu_ids="0,1,2,3")
    handles = launcher.submit([job(name, gpus=2) for name in "abc"])
    try:
        assert kinds(launcher, handles) == ["running", "running", "waiting"]
        assert [text.split()[0] for text in said(tmp_path, "ab")] == ["[0,1]", "[2,3]"]
    finally:
        launcher.cancel(handles)
    [handle] = launcher.submit([job("d", gpus=5)])
    [state] = launcher.poll([handle])
    assert (state.kind, state.reason, state.detail) == ("ended", "failed", "The cell needs 5 GPUs; --gpus lists 4.")


def test_a_cell_waits_until_as_many_gpus_as_it_needs_are_free(job, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    launcher = LocalLauncher(gpu_ids="0,1,2,3")
    handles = launcher.submit([job("a", gpus=2), job("b", gpus=2), job("c"), job("d", gpus=3), job("e")])
    try:
        assert kinds(launcher, handles) == ["running"] * 2 + ["waiting"] * 3
        launcher.cancel([handles[0]])
        assert kinds(launcher, handles) == ["ended", "running", "running", "waiting", "waiting"]
        launcher.cancel([handles[1]])
        assert kinds(launcher, handles)[2:] == ["running", "running", "waiting"]
        assert [text.split()[0] for text in said(tmp_path, "bcd")] == ["[2,3]", "[0]", "[1,2,3]"]
    finally:
        launcher.cancel(handles)


def test_more_jobs_than_gpus_share_them(job, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    launcher = LocalLauncher(jobs=4, gpu_ids="0,1")
    handles = launcher.submit([job(name) for name in "abcd"])
    try:
        assert kinds(launcher, handles) == ["running"] * 4
        assert sorted(text.split()[0] for text in said(tmp_path, "abcd")) == ["[0]", "[0]", "[1]", "[1]"]
    finally:
        launcher.cancel(handles)


def test_two_jobs_share_the_cores_of_this_process(job, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("zoo.processor._affinity", lambda: 64)
    monkeypatch.setattr("zoo.processor._quota", lambda: 6.0)
    launcher = LocalLauncher(jobs=2)
    handles = launcher.submit([job(name) for name in "abc"])
    try:
        assert kinds(launcher, handles) == ["running", "running", "waiting"]
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        assert said(tmp_path, "ab") == [f"[{seen}] 3"] * 2
    finally:
        launcher.cancel(handles)
    assert computing_environment({}, processes=100)["OMP_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in computing_environment({})
    assert computing_environment({"OMP_NUM_THREADS": "5"}, processes=2)["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 16),
        ({"SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_CPUS_ON_NODE": "64"}, 16),
        # A batch script that asks for four tasks with two cores each, and one of four tasks that srun started.
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2"}, 8),
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2", "SLURM_STEP_NUM_TASKS": "4"}, 2),
        ({"SLURM_CPUS_ON_NODE": "many"}, 16),
        ({"SLURM_CPUS_ON_NODE": "0"}, 16),
    ],
)
def test_cores_of_slurm(monkeypatch, variables, expected):
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processor, "_affinity", lambda: 16)
    monkeypatch.setattr(processor, "_quota", lambda: None)
    assert usable_cores() == expected


def test_gpus_are_counted_among_the_visible_ones():
    assert gpu_names("0,1", {}) == ["0", "1"]
    assert gpu_names("", {"CUDA_VISIBLE_DEVICES": "2,3"}) == []
    assert gpu_names("1, 0", {"CUDA_VISIBLE_DEVICES": "2,3"}) == ["3", "2"]
    assert gpu_names("GPU-8f,MIG-1", {"CUDA_VISIBLE_DEVICES": "GPU-8f,MIG-1"}) == ["GPU-8f", "MIG-1"]
    assert computing_environment({"CUDA_VISIBLE_DEVICES": "2,3"}, gpus=["3"])["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.parametrize("text", ["2", "0,0", "-1", "0,-1"])
def test_impossible_gpus_are_refused(text):
    with pytest.raises(UsageError):
        gpu_names(text, {"CUDA_VISIBLE_DEVICES": "2,3"})
    with pytest.raises(UsageError, match="--jobs -1"):
        LocalLauncher(jobs=-1)


def test_an_ending_has_a_reason(job):
    launcher = LocalLauncher(jobs=7)
    scripts = ["exit 0", "exit 75", "kill $$", "exit 3", "kill -9 $$", "exit 143", "exit 130"]
    handles = launcher.submit([job(str(number), script) for number, script in enumerate(scripts)])
    until = time.monotonic() + 20
    while kinds(launcher, handles) != ["ended"] * 7:
        assert time.monotonic() < until
        time.sleep(0.01)
    good, stopped, early, failed, killed, listened, interrupted = launcher.poll(handles)
    assert (good.reason, stopped.reason, stopped.again) == ("ok", "preempted", True)
    assert (early.reason, early.again) == ("preempted", True)  # by SIGTERM, before a cell listens to it
    assert (listened.reason, listened.again) == ("preempted", True)  # by SIGTERM, before it begins with the cell
    assert (failed.detail, failed.again) == ("exit code 3", False)
    assert (interrupted.reason, interrupted.again) == ("failed", False)
    assert killed.detail == "killed by SIGKILL, as by the system where memory is exhausted"


def test_a_handle_of_a_living_queue_waits_and_one_of_a_dead_queue_is_lost(job):
    first, second = LocalLauncher(), LocalLauncher()
    handles = first.submit([job("a")])
    node, own, started, number = handles[0].split()
    assert kinds(second, handles) == ["lost"]  # of this very process, which has no such queue any more
    parent = str(os.getppid())
    from zoo.run.local import _started

    assert kinds(second, [f"{node} {parent} {_started(int(parent))} {number}"]) == ["waiting"]
    dead = [f"{node} {parent} 1 {number}", f"elsewhere {parent} {started} 0", f"{node} 99999999 5 0", "", own]
    assert kinds(second, dead) == ["lost"] * 5
