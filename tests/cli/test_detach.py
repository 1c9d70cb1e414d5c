"""`zoo bench --detach`: cells go on without a terminal; the same command attaches; zoo cancel stops them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoo.results import store

pytestmark = pytest.mark.slow  # trainings in processes of their own

TOY = Path(__file__).parents[1] / "toys" / "toyzoo.py"
SETTINGS = {"train_images": 60, "val_images": 30, "test_images": 30, "batch_size": 4, "epochs": 3000}


def zoo(*words):
    command = [sys.executable, "-m", "zoo", "--plugin", str(TOY), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def wait_for(condition, seconds=90.0):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_detached_benchmark_runs_is_shown_and_is_cancelled(tmp_path, request):
    words = ["bench", "--model", "toyzoo/tiny", "--data", "toyzoo/stripes", "--budget", "smoke", "--device", "cpu"]
    words += ["--seeds", "0,1", "--store", tmp_path]
    words += [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    started = zoo(*words, "--detach")
    assert started.returncode == 0, started.stderr
    pid = int(started.stderr.split("detached: process ")[1].split(",")[0])
    assert alive(pid)
    request.addfinalizer(lambda: alive(pid) and os.kill(pid, signal.SIGTERM))

    def states():
        return [one["state"] for one in json.loads(zoo("status", "--json", "--store", tmp_path).stdout)]

    # The same command finds both cells in the queue of the first one, and submits neither.
    attached = zoo(*words, "--detach")
    assert attached.returncode == 0, attached.stderr
    other = int(attached.stderr.split("detached: process ")[1].split(",")[0])
    request.addfinalizer(lambda: alive(other) and os.kill(other, signal.SIGTERM))
    handles = {path.read_text() for path in tmp_path.glob("*/*/*/job.json")}
    assert len(handles) == 2
    assert all(f" {pid} " in text for text in handles)
    wait_for(lambda: list(tmp_path.glob(f"*/*/*/{store.PROGRESS}")))
    assert sorted(states()) == ["running", "waiting"]
    cancelled = zoo("cancel", "--all", "--store", tmp_path)
    assert "2 cells cancelled" in cancelled.stderr
    wait_for(lambda: not alive(pid) and not alive(other))
    assert states() == ["stopped", "stopped"]
    assert len(list(tmp_path.glob("*/*/*/checkpoint.safetensors"))) == 1


def test_a_mistake_is_reported_by_the_command_that_detaches(tmp_path):
    failed = zoo("bench", "--model", "toyzoo/tiny", "--data", "toyzoo/stripes", "--detach", "--json")
    assert failed.returncode == 2
    assert "--detach does not go with" in failed.stderr
