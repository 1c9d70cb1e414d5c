"""Cells and benchmarks that a launcher, a time limit or a closed terminal stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from smallrun import TOY

from zoo.cli import main
from zoo.results import store
from zoo.stopping import STOPPED
from zoo.train import checkpoint, parts

pytestmark = pytest.mark.slow  # trainings


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_cell_that_is_stopped_writes_a_checkpoint_and_exits_with_75(plan, host, tmp_path, monkeypatch, capsys, name):
    run_dir = store.prepare_run(tmp_path, plan())
    steps, augment = [], parts.augment

    def signalled(*arguments, **keywords):
        steps.append(1)
        if len(steps) == 14:
            os.kill(os.getpid(), getattr(signal, name))
        return augment(*arguments, **keywords)

    monkeypatch.setattr(parts, "augment", signalled)
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(TOY))
    words = ["run-cell", str(run_dir / store.CELL), "--device", "cpu"]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == STOPPED
    assert f"Stopped by {name}. Everything finished is kept" in capsys.readouterr().err
    assert store.read_result(run_dir) is None
    assert not store.locked(run_dir)
    state = checkpoint._open(run_dir / checkpoint.CHECKPOINT).state
    assert (state.epoch, state.step, state.position.step) == (1, 14, 4)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert len(steps) == 30


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition, seconds=120.0):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
@pytest.mark.cold  # cells that are forked have the same parent as the benchmark
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_no_cell_goes_on_without_its_benchmark(tmp_path, name):
    """`timeout` and a closed terminal end the benchmark alone: its cells are in sessions of their own."""
    settings = [f"{key}={value}" for key, value in (("epochs", 5000), ("train_images", 60), ("batch_size", 4))]
    settings += ["val_images=30", "test_images=30"]
    words = ["bench", "--model", "toyzoo/tiny", "--data", "toyzoo/stripes", "--budget", "smoke", "--device", "cpu"]
    words += [word for setting in settings for word in ("--set", setting)]
    bench = subprocess.Popen(
        [sys.executable, "-m", "zoo", "--plugin", str(TOY), *words, "--store", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for(lambda: list(tmp_path.glob(f"*/*/*/{store.PROGRESS}")))
        [cell] = wait_for(lambda: children(bench.pid))
        bench.send_signal(getattr(signal, name))
        said, _ = bench.communicate(timeout=60)
        wait_for(lambda: not Path(f"/proc/{cell}").exists(), seconds=20)
    finally:
        bench.kill()
    assert (bench.returncode, b"Everything finished is kept" in said) == (
        (-9, False) if name == "SIGKILL" else (143, True)
    )
    [run_dir] = [path.parent for path in tmp_path.glob(f"*/*/*/{store.CELL}")]
    assert json.loads((run_dir / store.PROGRESS).read_text())["phase"]
    cause = "the end of its parent process" if name == "SIGKILL" else name
    assert f"Stopped by {cause}." in (run_dir / store.LOG).read_text()
