"""Several processes train one network, to the score of a single process, and end if one of them dies."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file
from storedata import content_of

from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.results import store
from zoo.run.cell import run_cell
from zoo.run.teamwork import run_by_team
from zoo.train.checkpoint import CHECKPOINT
from zoo.train.team import RANK_VARIABLE, Team

pytestmark = pytest.mark.slow  # several processes

TOYS = str(Path(__file__).parents[1] / "toys")
TOY = Path(TOYS) / "toyzoo.py"
# Batches of 31 images: one process takes 15, the other 16.
SETTINGS = {
    "train_images": 310, "val_images": 90, "test_images": 120, "epochs": 3, "batch_size": 31, "augment": "d4",
    "lr": 0.02,
}  # fmt: skip


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[TOY], environment={})


@pytest.fixture(scope="module")
def cell(host):
    [cell] = make_plan(
        host, Request(models=["normed"], data=["stripes"], budget="smoke", device="cpu", settings=SETTINGS)
    )
    return cell


@pytest.fixture(scope="module")
def alone(host, cell, tmp_path_factory):
    """Return result and folder of a run by one process."""
    run_dir = store.prepare_run(tmp_path_factory.mktemp("alone"), cell)
    return run_cell(host, cell, run_dir, device="cpu"), run_dir


def logits(run_dir):
    return store.read_arrays(run_dir / store.PREDICTIONS)[0]["test.logits"]


def same_training(result, run_dir, alone):
    """Compare a run by two processes with that by one."""
    assert result.status == "ok", result.error
    assert result.cost.processes == 2
    assert result.test.auc["macro"] == pytest.approx(alone[0].test.auc["macro"], abs=1e-3)
    assert result.test.auc["macro"] > 0.6  # under d4, stripes on both sides look alike
    assert np.abs(logits(run_dir) - logits(alone[1])).max() < 1e-3
    weights, expected = (load_file(folder / store.WEIGHTS) for folder in (run_dir, alone[1]))
    for name, tensor in weights.items():
        assert (tensor.double() - expected[name].double()).abs().max() < 1e-3, name
    losses = [
        [json.loads(line)["train_loss"] for line in (folder / store.HISTORY).read_text().splitlines()]
        for folder in (run_dir, alone[1])
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_dead_process_ends_the_team_and_torchrun_resumes_to_the_result_of_one_process(
    alone, cell, tmp_path, monkeypatch
):
    """Two epochs are trained by processes that zoo starts, of which one dies in the third; torchrun's do the rest."""
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(TOY))
    monkeypatch.setenv("TOYZOO_DIES", "1:24")  # in the fourth step of the third epoch
    run_dir = store.prepare_run(tmp_path, cell)
    words = [sys.executable, "-m", "zoo", "run-cell", str(run_dir / store.CELL), "--device", "cpu", "--devices", "2"]
    with (run_dir / store.LOG).open("w") as log:
        assert subprocess.run(words, stdout=log, stderr=log, timeout=300, check=False).returncode == 1
    result = store.read_result(run_dir)
    assert result.status == "failed"
    assert result.error.startswith("Of 2 processes, process 1 was killed by SIGKILL before the others")
    with safe_open(run_dir / CHECKPOINT, framework="pt") as file:
        before = json.loads(file.metadata()["state"])["history"]
    assert [entry["epoch"] for entry in before] == [1, 2]
    assert not store.locked(run_dir)

    monkeypatch.delenv("TOYZOO_DIES")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}", "-m", "zoo",
            "bench", "--model=normed", "--data=stripes", "--budget=smoke", "--device=cpu", "--devices=2", "--json",
            f"--store={tmp_path}", *settings,
        ],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [content] = json.loads(done.stdout)  # the second process prints nothing
    result = store.open_result(Path(content["run_dir"]))
    assert result.run_dir == run_dir  # how many processes there are is no part of the run id
    same_training(result, run_dir, alone)
    assert [json.loads(line) for line in (run_dir / store.HISTORY).read_text().splitlines()][:2] == before
    # What two processes leave is what one leaves.
    assert {path.name for path in run_dir.iterdir()} - {store.LOG} == {path.name for path in alone[1].iterdir()}


def test_a_stored_result_is_not_repeated(cell, tmp_path):
    run_dir = store.prepare_run(tmp_path, cell)
    stored = store.result_from(content_of(cell), run_dir=run_dir)
    store.write_result(stored)
    assert run_by_team(cell, run_dir, ["false"], team=Team(devices=2)) == stored


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        # The first process writes down what the others meet as well.
        ("write('failed', 'The loss became nan'); sys.exit(1)", "failed", "The loss became nan"),
        # The echo of another's death in the first process is not what is told.
        (
            "rank == '1' and sys.exit(70); time.sleep(0.5); write('failed', 'peer'); sys.exit(1)",
            "failed",
            "process 1 ended",
        ),
        # What went wrong after the result was written does not undo it.
        ("rank == '0' and write('ok', ''); sys.exit(int(rank))", "ok", ""),
        # Nothing at all.
        ("pass", "failed", "none before"),
    ],
)
def test_one_process_reports_the_outcome_of_a_team(code, status, said, cell, tmp_path):
    run_dir = store.prepare_run(tmp_path, cell)
    contents = {"ok": content_of(cell), "failed": content_of(cell, "failed")}
    (run_dir / "contents.json").write_text(json.dumps(contents))
    script = (
        f"import json, os, pathlib, sys, time\n"
        f"sys.path.insert(0, {TOYS!r})\nfrom smallrun import write_result\nrank = os.environ['{RANK_VARIABLE}']\n"
        f"folder = pathlib.Path({str(run_dir)!r})\n"
        "def write(status, error):\n"
        "    content = json.loads((folder / 'contents.json').read_text())[status]\n"
        "    content |= {'error': error} if error else {}\n"
        "    if rank == '0': write_result(folder, content)\n"
    )
    result = run_by_team(cell, run_dir, [sys.executable, "-c", script + code], team=Team(devices=2))
    assert result.status == status
    assert status == "ok" or said in result.error
    assert store.read_result(run_dir) == result
