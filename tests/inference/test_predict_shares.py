"""Shares of many files that a launcher gives to machines: the output is that of one process, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from machines import Machines

from zoo.cli import cli
from zoo.cli.detach import READY_VARIABLE
from zoo.errors import DataError, UsageError
from zoo.inference import files as files_module
from zoo.inference import share_jobs
from zoo.inference.answers_work import ANSWERS
from zoo.inference.files import blocks
from zoo.inference.read import Skipped
from zoo.run import job_queue, queued
from zoo.sharing import predict
from zoo.specs import LauncherSpec


@pytest.fixture
def go(host, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(queued, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(job_queue, "MOST_SECONDS", 0.01)
    load = queued.registry.load_target

    def go(*words, engine=None, count=2):
        def target(spec):
            return (lambda **_: engine) if isinstance(spec, LauncherSpec) else load(spec)

        monkeypatch.setattr(queued.registry, "load_target", target)
        more = [] if engine is None else ["--launcher", "core/local", "--shards", count, "--store", tmp_path / "store"]
        words = ["predict", weights, tmp_path / "cutouts", "--batch-size", 2, *more, *words]
        return CliRunner().invoke(cli, list(map(str, words)), obj=host)

    return go


@pytest.fixture(autouse=True)
def cutouts(tmp_path):
    """Files with one image and with several; one is damaged, one is not for this network."""
    folder = tmp_path / "cutouts"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number, shape in enumerate([(12, 12), (3, 12, 12), (12, 12), (12, 12), (5, 12, 12), (2, 2), (12, 12)]):
        np.save(folder / f"{number}.npy", draw.normal(size=shape).astype(np.float32))
    (folder / "4.fits").write_bytes(b"nothing")


@pytest.mark.slow
@pytest.mark.parametrize("style", [(), ("--csv",), ("--json", "--average", "p4")], ids=str)
def test_the_output_is_that_of_one_process(go, host, tmp_path, style):
    whole = go(*style)
    for count in (1, 3, 4):
        engine = Machines(host, ["waiting", "running", "made"])
        done = go(*style, engine=engine, count=count)
        assert (done.exit_code, done.stdout_bytes) == (whole.exit_code, whole.stdout_bytes), done.output
        assert [job.label for job in engine.jobs] == [f"share {number}:{count} of the files" for number in range(count)]
        assert "12 images in" in done.stderr
        assert not list((tmp_path / "store").iterdir())


def test_the_python_function_gives_the_same_answers(go, host, weights, tmp_path):
    def answers(**options):
        found = predict(weights, tmp_path / "cutouts", batch_size=2, host=host, **options)
        return [repr(one if isinstance(one, Skipped) else (one, one.probabilities.tolist())) for one in found]

    engine = Machines(host, ["made"])
    go(engine=engine)  # from here on it is the launcher
    options = {"launcher": "core/local", "shards": 3, "store": tmp_path / "store"}
    assert answers(**options) == answers()
    assert len(engine.jobs) == 2 + 3
    assert not list((tmp_path / "store").iterdir())
    with pytest.raises(UsageError, match="average 'p5' is not one of none, p4, d4"):
        answers(**options, average="p5")


def test_the_share_of_a_dead_machine_is_given_out_again(go, host):
    engine = Machines(host, ["dies"], ["made"])
    done = go("--csv", engine=engine)
    assert done.stdout_bytes == go("--csv").stdout_bytes
    assert len(engine.jobs) == 4


def test_the_same_command_goes_on_with_what_has_failed(go, host, tmp_path, monkeypatch):
    engine, check = Machines(host, ["made"]), share_jobs.check_versions

    def refuse(host, versions, *ids):
        if list(tmp_path.rglob(ANSWERS)):  # of the first share
            raise DataError("The run was planned with another zoo.")

    monkeypatch.setattr(share_jobs, "check_versions", refuse)
    done = go("--csv", engine=engine)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "share 1:2 has failed: The run was planned with another zoo." in done.stderr
    assert "the same command goes on" in done.stderr
    monkeypatch.setattr(share_jobs, "check_versions", check)
    again = Machines(host, ["made"])
    assert go("--csv", engine=again).stdout_bytes == go("--csv").stdout_bytes
    assert [job.run_dir.name for job in again.jobs] == ["1"]


def test_a_command_in_the_background_keeps_the_answers_for_the_same_command(go, host, monkeypatch):
    readable, writable = os.pipe()
    monkeypatch.setenv(READY_VARIABLE, str(writable))
    engine = Machines(host, ["waiting", "made"])
    done = go("--csv", engine=engine)
    assert (done.exit_code, done.stdout, os.read(readable, 1)) == (0, "", b"1")
    os.close(readable)
    assert "the same command without --detach prints answers" in done.stderr
    assert go("--csv", engine=engine).stdout_bytes == go("--csv").stdout_bytes
    assert len(engine.jobs) == 2


def test_answers_are_not_taken_for_those_of_changed_files(go, host, tmp_path):
    assert go("--csv", engine=Machines(host, ["dies"]), count=4).exit_code == 1
    [folder] = (tmp_path / "store/predictions").iterdir()
    np.save(tmp_path / "cutouts/0.npy", np.ones((2, 12, 12), np.float32))
    assert go("--csv", engine=Machines(host, ["made"])).stdout_bytes == go("--csv").stdout_bytes
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--launcher", "core/local"], "needs the number of shares: --shards K"),
        (["--shards", "2"], "and no --launcher is given"),
        (["--launcher", "core/local", "--shards", "5"], "these files make 4 blocks"),
        (["--launcher", "core/locl", "--shards", "2"], "Unknown launcher 'core/locl'"),
        (["--launcher", "core/local", "--shards", "2", "--launcher-set", "jbs=1"], "has no option 'jbs'"),
    ],
)
def test_impossible_shares_are_refused(go, words, message):
    error = go(*words).exception
    assert isinstance(error, UsageError)
    assert message in str(error)


def test_a_block_does_not_depend_on_what_stands_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files_module, "BLOCK_BYTES", 1000)
    paths = []
    for number, size in enumerate(np.random.default_rng(1).integers(0, 700, 40)):
        paths.append(Path(tmp_path, f"{number}"))
        paths[-1].write_bytes(b"x" * int(size))
    paths[7:7] = [Skipped(name="gone", reason="not found"), tmp_path / "absent"]
    whole = list(blocks(paths, most=5))
    assert [file for block in whole for file in block] == paths
    assert {len(block) for block in whole} >= {3, 5}
    for first in range(len(whole)):
        rest = [file for block in whole[first:] for file in block]
        assert list(blocks(rest, most=5)) == whole[first:]
