"""Runs resume after an interruption, a crash or a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec import structs
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from smallrun import SMALL, TOY

import zoo
from zoo.errors import DataError, Interrupted, UsageError
from zoo.results import store
from zoo.run.cell import run_cell
from zoo.stopping import request_stop, stop_on_signals
from zoo.train import loop as train_module
from zoo.train import parts
from zoo.train.checkpoint import CHECKPOINT

pytestmark = pytest.mark.slow  # trainings


@contextlib.contextmanager
def interrupted(host, monkeypatch, *, after):
    """A Ctrl-C comes as soon as this epoch has ended."""
    original = host.emit

    def interrupting(event, **arguments):
        if event == "zoo_epoch_ended" and arguments["epoch"] == after:
            raise Interrupted
        original(event, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(host, "emit", interrupting)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.fixture(scope="module")
def undamaged(plan, host, tmp_path_factory):
    """Return a whole run of a cell, and the folder of the same run interrupted after its second epoch."""
    cell, folder = plan(), tmp_path_factory.mktemp("undamaged")
    whole_dir = store.prepare_run(folder / "whole", cell)
    whole = run_cell(host, cell, whole_dir, device="cpu")
    cut_dir = store.prepare_run(folder / "cut", cell)
    with pytest.MonkeyPatch.context() as patch, interrupted(host, patch, after=2):
        run_cell(host, cell, cut_dir, device="cpu")
    return cell, whole, whole_dir, cut_dir


@pytest.mark.parametrize(("stop_after", "precision"), [(1, "fp32"), (2, "fp32"), (1, "bf16")])
def test_interrupted_training_resumes_bit_identically(plan, run_in, host, monkeypatch, stop_after, precision):
    cell = plan(augment="d4", precision=precision)
    whole, whole_dir = run_in(cell, "whole")
    with interrupted(host, monkeypatch, after=stop_after):
        run_in(cell, "cut")
    epochs = []
    monkeypatch.setattr(
        host, "emit", lambda event, **arguments: epochs.append(arguments.get("epoch")) if "epoch" in event else None
    )
    resumed, resumed_dir = run_in(cell, "cut")
    assert epochs == list(range(stop_after + 1, 4))
    assert resumed.test == whole.test
    assert (whole_dir / store.WEIGHTS).read_bytes() == (resumed_dir / store.WEIGHTS).read_bytes()
    assert len((resumed_dir / store.HISTORY).read_text().splitlines()) == 3


@pytest.mark.parametrize("step", [-7, 1, 4, 10])
def test_a_training_that_is_stopped_within_an_epoch_resumes_bit_identically(plan, run_in, monkeypatch, step):
    """The first or second epoch of ten steps is stopped after one of them. The network has dropout."""
    cell = plan(augment="rotate")
    whole, whole_dir = run_in(cell, "whole")
    calls = []

    def stopping(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 10 + step:
            request_stop("a test")
        return augment(*arguments, **keywords)

    augment = parts.augment
    with monkeypatch.context() as patch, stop_on_signals():
        patch.setattr(parts, "augment", stopping)
        with pytest.raises(Interrupted, match="a test"):
            run_in(cell, "cut")
    counts = []
    monkeypatch.setattr(parts, "augment", lambda *given, **keywords: counts.append(1) or augment(*given, **keywords))
    resumed, resumed_dir = run_in(cell, "cut")
    assert len(counts) == 30 - 10 - step
    assert resumed.test == whole.test
    assert (whole_dir / store.WEIGHTS).read_bytes() == (resumed_dir / store.WEIGHTS).read_bytes()
    losses = [
        [(entry["train_loss"], entry["lr"]) for entry in map(json.loads, (folder / store.HISTORY).open())]
        for folder in (whole_dir, resumed_dir)
    ]
    assert losses[0] == losses[1]


def test_a_training_that_is_stopped_while_it_validates_resumes_after_its_last_step(plan, run_in, monkeypatch):
    """The network has a buffer in evaluation mode only, as those of e2cnn and escnn have."""
    cell = plan("toyzoo/folded")
    whole, _ = run_in(cell, "whole")
    calls = []

    def stopping(network, *arguments, **keywords):
        calls.append(1)
        found = predict(network, *arguments, **keywords)
        assert any(name.endswith("folded") for name in network.state_dict())
        if len(calls) == 2:
            raise Interrupted("a test")
        return found

    predict = train_module.predict
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "predict", stopping)
        with pytest.raises(Interrupted, match="a test"):
            run_in(cell, "cut")
    steps = []
    monkeypatch.setattr(parts, "augment", lambda images, *given, **keywords: steps.append(1) or images)
    resumed, _ = run_in(cell, "cut")
    assert len(steps) == 10  # of the third epoch
    assert resumed.test == whole.test


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other run", "other network"])
def test_a_damaged_checkpoint_is_not_used(undamaged, plan, run_in, host, monkeypatch, caplog, tmp_path, damage):
    cell, whole, whole_dir, cut_dir = undamaged
    path = tmp_path / "cut" / cell.folder / CHECKPOINT
    shutil.copytree(cut_dir, path.parent)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "bit":
        content[-5] ^= 16
        path.write_bytes(content)
    else:
        other = plan(width=5) if damage == "other network" else plan(lr=0.5)
        with interrupted(host, monkeypatch, after=2):
            run_in(other, "other")
        source = tmp_path / "other" / other.folder / CHECKPOINT
        if damage == "other run":
            path.write_bytes(source.read_bytes())
        else:  # as if the model's code had been changed in between
            monkeypatch.setattr("zoo.train.checkpoint._checksum", lambda *_: "same")
            with safe_open(source, framework="pt") as file:
                state = file.metadata()["state"]
            save_file(load_file(source), path, metadata={"state": state, "checksum": "same"})
    result, run_dir = run_in(cell, "cut")
    assert "Training starts again from the first epoch" in caplog.text
    assert result.test == whole.test
    assert (whole_dir / store.WEIGHTS).read_bytes() == (run_dir / store.WEIGHTS).read_bytes()


def test_a_run_that_cannot_write_its_result_need_not_train_again(plan, run_in, host, monkeypatch):
    """The disk is full, or the process killed, after everything else."""
    write_json = store.write_json

    def full(path, content):
        if path.name == store.RESULT:
            raise DataError("No space left on device")
        write_json(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_json", full)
        with pytest.raises(DataError):
            run_in(plan())
    epochs = []
    monkeypatch.setattr(host, "emit", lambda event, **arguments: epochs.append(arguments.get("epoch")))
    result, run_dir = run_in(plan())
    assert result.status == "ok"
    assert not any(epochs)
    assert not (run_dir / CHECKPOINT).exists()


def test_the_seconds_of_an_interrupted_run_are_those_of_all_its_sessions(plan, run_in, host, monkeypatch):
    with interrupted(host, monkeypatch, after=2):
        run_in(plan())
    take = train_module.take_checkpoint

    def slow(*arguments):
        state, best = take(*arguments)
        state.history = [structs.replace(entry, seconds=entry.seconds + 1000) for entry in state.history]
        return state, best

    monkeypatch.setattr(train_module, "take_checkpoint", slow)
    result, _ = run_in(plan())
    assert 2000 < result.seconds < 2100


def test_bench_continues_after_a_crash(host, tmp_path, monkeypatch):
    """The Python interface, with processes of their own: one cell dies, the other ends, a repetition is free.

    The processes know the plugin's file from the host alone.
    """
    request = {"budget": "smoke", "device": "cpu", "settings": SMALL, "store": tmp_path / "results", "host": host}
    killed, good = zoo.bench(["kills_itself", "tiny"], "stripes", **request)
    assert killed.status == "failed"
    assert "ended without a result" in killed.error
    assert good.status == "ok"
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["toyzoo.stripes"]
    assert json.loads((Path(good.run_dir) / store.RESULT).read_text())["run_id"] == good.run_id
    monkeypatch.setattr("zoo.run.local.subprocess.Popen", lambda *_, **__: pytest.fail("started a process"))
    assert zoo.bench("tiny", "stripes", **request) == [good]
    assert zoo.bench("tiny", "stripes", **request, devices=2) == [good]
    with pytest.raises(UsageError, match="1,000 processes cannot share batches"):
        zoo.bench("tiny", "stripes", **request, devices=1000)


def test_a_killed_training_resumes(plan, host, tmp_path, monkeypatch):
    """kill -9 in the middle of training: nothing looks done, and the rest of the epochs are enough."""
    cell = plan(epochs=8, train_images=300, batch_size=4)
    run_dir = store.prepare_run(tmp_path, cell)
    command = [sys.executable, "-m", "zoo", "--plugin", str(TOY), "run-cell", str(run_dir / store.CELL)]
    process = subprocess.Popen([*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not (run_dir / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert store.read_result(run_dir) is None
    epochs = []
    monkeypatch.setattr(host, "emit", lambda event, **arguments: epochs.append(arguments.get("epoch")))
    result = run_cell(host, cell, run_dir, device="cpu")
    assert result.status == "ok"
    assert next(epoch for epoch in epochs if epoch) > 1
    assert [epoch for epoch in epochs if epoch][-1] == 8
    assert not list(run_dir.glob("*.part"))
