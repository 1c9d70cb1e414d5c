"""Teams: detection from the variables of torchrun and Slurm, and processes that are watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from zoo.cli import main
from zoo.errors import MissingError, UsageError
from zoo.run import together
from zoo.run.matrix import _job
from zoo.run.together import Ending, run_together
from zoo.run.where import Where
from zoo.stopping import PARENT_VARIABLE
from zoo.train.team import ALONE, Team, check_batch, check_devices, find_team

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
SRUN = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_NTASKS": "4"}


@pytest.mark.parametrize(
    ("asked", "environment", "expected"),
    [
        ((1, 1), TORCHRUN, ALONE),  # processes that share the cells of a suite, not one network
        ((2, 1), {}, Team(devices=2)),
        ((2, 2), TORCHRUN, Team(devices=2, num_nodes=2, rank=3, started_by="torchrun")),
        ((4, 1), SRUN, Team(devices=4, rank=2, started_by="slurm")),
        (
            (2, 2),
            {**SRUN, "SLURM_STEP_NUM_NODES": "2"},
            Team(devices=2, num_nodes=2, rank=2, started_by="slurm"),
        ),
        # A batch script has the variables of its job, but nobody has started its tasks.
        ((4, 1), {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, Team(devices=4)),
        ((4, 1), {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Team(devices=4)),
        # Our own processes inside of any of them.
        ((2, 1), {**SRUN, "ZOO_RANK": "1", "WORLD_SIZE": "2"}, Team(devices=2, rank=1, started_by="zoo")),
    ],
)
def test_the_team_is_detected(asked, environment, expected):
    assert find_team(devices=asked[0], num_nodes=asked[1], environment=environment) == expected


@pytest.mark.parametrize(
    ("asked", "environment", "said"),
    [
        ((0, 1), {}, "--devices 0 must be a whole number from 1"),
        ((1, -2), {}, "--num-nodes -2 must be"),
        (("2", 1), {}, "--devices '2' must be a whole number"),
        ((2, 1), TORCHRUN, "torchrun started 4 processes, but --devices 2 --num-nodes 1 are 2"),
        ((4, 2), SRUN, "slurm started 4 processes, but --devices 4 --num-nodes 2 are 8"),
        ((4, 1), {**SRUN, "SLURM_STEP_NUM_NODES": "2"}, "slurm started 4 processes on 2 nodes, but --devices 4"),
    ],
)
def test_impossible_teams_are_refused(asked, environment, said):
    with pytest.raises(UsageError) as caught:
        find_team(devices=asked[0], num_nodes=asked[1], environment=environment)
    assert said in str(caught.value)


def test_devices_are_counted(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_devices(Team(devices=64), "cpu")
    check_devices(ALONE, "cuda")
    with pytest.raises(MissingError, match="this machine shows 1 GPU") as caught:
        check_devices(Team(devices=2), "cuda")
    assert "--devices 1" in caught.value.hint
    with pytest.raises(UsageError, match="mps has one device"):
        check_devices(Team(devices=2), "mps")
    check_devices(Team(num_nodes=2, started_by="torchrun"), "cpu")
    with pytest.raises(UsageError, match="--num-nodes 2: no processes were started on the other nodes"):
        check_devices(Team(num_nodes=2), "cpu")


def test_every_process_needs_an_image():
    check_batch(3, 3)
    with pytest.raises(UsageError, match="3 processes cannot share batches of 2 images"):
        check_batch(3, 2)


def test_invalid_teams_are_refused_before_planning_and_in_run_cell(capsys, tmp_path):
    words = ["bench", "--model", "p4m", "--data", "modelB", "--budget", "smoke", "--device", "cpu", "--dry-run"]
    for more, said in (
        (["--devices", "0"], "--devices 0 must be"),
        (["--devices", "64"], "64 processes cannot share batches of 32 images"),
    ):
        with pytest.raises(SystemExit) as request:
            main([*words, *more])
        assert request.value.code == 2
        assert said in capsys.readouterr().err
    job = _job(tmp_path, where=Where(device="cpu", devices=3))
    assert job.command[-2:] == ("--devices", "3")


def python(code):
    return [sys.executable, "-c", code]


def test_processes_know_each_other(tmp_path):
    names = ("ZOO_RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", PARENT_VARIABLE)
    code = (
        "import os, pathlib\n"
        f"said = ' '.join(os.environ[name] for name in {names})\n"
        f"pathlib.Path({str(tmp_path)!r}, os.environ['ZOO_RANK']).write_text(said)"
    )
    assert run_together(python(code), processes=3) is None
    said = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [words[:4] for words in said] == [[str(rank), str(rank), "3", "127.0.0.1"] for rank in range(3)]
    assert len({words[4] for words in said}) == 1
    assert {words[5] for words in said} == {str(os.getpid())}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "expected", "said"),
    [
        ("sys.exit(5)", Ending(rank=1, code=5), "process 1 ended with exit code 5"),
        ("os.kill(os.getpid(), 9)", Ending(rank=1, code=-9), "process 1 was killed by SIGKILL"),
    ],
)
def test_one_failed_process_ends_all(monkeypatch, tmp_path, end, expected, said):
    monkeypatch.setattr(together, "GRACE_SECONDS", 0.2)
    code = (
        "import os, pathlib, sys, time, signal\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "if os.environ['ZOO_RANK'] == '1':\n"
        "    while not (folder / 'pid').exists(): time.sleep(0.01)\n"
        f"    {end}\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"  # as one that hangs in a driver
        "(folder / 'part').write_text(str(os.getpid())); os.replace(folder / 'part', folder / 'pid')\n"
        "time.sleep(300)"
    )
    monkeypatch.setattr(together, "KILL_SECONDS", 0.2)
    assert run_together(python(code), processes=2) == expected
    assert str(expected) == said
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("how", ["terminated", "orphaned"])
def test_no_process_is_left_behind(tmp_path, how):
    """A launcher that stops a cell terminates its process; one that is killed leaves it without a parent."""
    code = (
        "import os, pathlib, sys, time\n"
        f"pathlib.Path({str(tmp_path)!r}, os.environ['ZOO_RANK']).write_text(str(os.getpid()))\ntime.sleep(300)"
    )
    parent = str(os.getpid() if how == "terminated" else 0)  # 0 is nobody's parent: as if the real one had gone
    ours = subprocess.Popen(
        python(f"import sys; from zoo.run.together import run_together\nrun_together({python(code)!r}, processes=2)"),
        env={**os.environ, PARENT_VARIABLE: parent},
        stderr=subprocess.PIPE,
    )
    if how == "terminated":
        until = time.monotonic() + 60
        while not all((tmp_path / rank).exists() and (tmp_path / rank).read_text() for rank in "01"):
            assert time.monotonic() < until
            time.sleep(0.02)
        ours.send_signal(signal.SIGTERM)
    _, said = ours.communicate(timeout=60)
    assert b"Interrupted" in said
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)
