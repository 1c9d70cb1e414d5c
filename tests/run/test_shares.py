"""Shares of a split that a launcher gives to machines: none is lost, made twice or waited for without end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import halls
import pytest
from halls import IMAGES, SKY, Machines, same

from zoo.cli import main
from zoo.data import folder as folder_module
from zoo.data.folder import fill_folder
from zoo.data.open import Dataset
from zoo.data.share import SHARE
from zoo.errors import DataError, LauncherError, UsageError
from zoo.host import load_plugins
from zoo.plan.recipes import plan_images
from zoo.run import shares
from zoo.run.launcher import JobState
from zoo.run.share_work import FAILED
from zoo.run.shares import make_share
from zoo.run.submission import JOB
from zoo.sharing import simulate
from zoo.stopping import STOPPED


@pytest.fixture(scope="module")
def host():
    return load_plugins(files=[SKY, halls.__file__], environment={})


@pytest.fixture(scope="module")
def recipe(host):
    return halls.recipe_of_discs(host)


@pytest.fixture(scope="module")
def whole(host, recipe, tmp_path_factory):
    """The folder of one machine that makes the whole split."""
    return halls.made_at_once(host, recipe, folder=tmp_path_factory.mktemp("whole"))


@pytest.fixture
def go(host, recipe, tmp_path, monkeypatch):
    return halls.runs(host, recipe, folder=tmp_path / "DIR", patch=monkeypatch)


def test_shares_become_the_split_of_one_machine(go, host, whole, tmp_path):
    engine, seen = Machines(host, ["waiting", "running", "made"]), []
    end = go(engine, of=3, watch=lambda done, total: seen.append((done, total)))
    assert (end.made, end.complete, end.failed, end.lacking) == (1024, True, (), 0)
    assert same(tmp_path / "DIR", whole)
    assert (seen[0], seen[-1]) == ((0, 1024), (1024, 1024))
    assert [job.label for job in engine.jobs] == [f"share {machine}:3 of train" for machine in range(3)]
    for machine, job in enumerate(engine.jobs):
        assert job.run_dir == tmp_path / "DIR" / "parts" / "train" / "3" / str(machine)
        assert job.command == (sys.executable, "-m", "zoo", "run-share", str(job.run_dir / SHARE))
        assert str(SKY) in job.env["ZOO_PLUGIN_FILES"]
        assert not (job.run_dir / JOB).exists()
    again = Machines(host, ["made"])
    end = go(again)
    assert (again.jobs, end.made, end.complete) == ([], 0, True)


def test_the_python_function_makes_the_same_split(go, host, recipe, whole, tmp_path):
    make = partial(simulate, recipe.dataset, IMAGES, simulator="painter", host=host)
    assert same(make(out=tmp_path / "one"), whole)
    shared = partial(make, out=str(tmp_path / "shares"), launcher="halls/machines", shards=2)
    lost = Machines(host, [JobState(kind="ended", reason="node", detail="n3 failed")])
    go(lost)  # from here on it is the launcher
    with pytest.raises(LauncherError, match=r"2 shares of 2 failed; share 0: .*n3 failed"):
        shared()
    go(engine := Machines(host, ["made"]))
    assert same(shared(), whole)
    assert {job.run_dir.parents[3].name for job in engine.jobs} == {"DIR", "shares"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": 2}, "shards, launcher_settings, jobs, gpus and retries need a launcher"),
        ({"launcher": "halls/machines"}, "launcher='halls/machines' needs the number of shares"),
        ({"launcher": "halls/machines", "shards": 9}, "At most: --shards 4"),
        ({"split": "tets"}, "Did you mean 'test'"),
        ({"seed": -1}, "seed=-1 must be a whole number from 0 to 9,223"),
        ({"snrr": 3}, "Did you mean 'data.snr'"),
    ],
)
def test_impossible_values_are_refused_in_python(host, tmp_path, options, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        simulate("toysky/discs", IMAGES, out=tmp_path / "DIR", host=host, **options)
    assert not (tmp_path / "DIR").exists()


def test_the_share_of_a_dead_machine_is_given_out_again_and_nothing_is_made_twice(
    go, host, whole, tmp_path, monkeypatch, caplog
):
    written, write = [], folder_module.write_shard

    def counting(path, *args, **rest):
        written.append(path.name)
        return write(path, *args, **rest)

    monkeypatch.setattr(folder_module, "write_shard", counting)
    engine = Machines(host, ["running", "dies"], ["running", "made"])
    assert go(engine).complete
    assert same(tmp_path / "DIR", whole)
    assert len(engine.jobs) == 4
    assert sorted(written) == [f"{number:06d}.safetensors" for number in range(4)]
    assert "share 0:2 of train has not ended (killed by SIGKILL on n3); it is submitted again" in caplog.text


def test_attempts_are_limited_and_the_last_one_is_described(go, host, tmp_path):
    engine = Machines(host, [JobState(kind="ended", reason="node", detail="n3 failed")])
    end = go(engine, retries=1)
    assert len(engine.jobs) == 4
    assert [one.share.machine for one in end.failed] == [0, 1]
    assert end.failed[0].error.startswith("Its process ended without a result: n3 failed; the end of ")
    assert (end.complete, end.lacking) == (False, 4)


def test_an_error_of_a_share_is_final_and_quoted(go, host, tmp_path, monkeypatch):
    def fill(*args, share, **rest):
        if share.machine == 1:
            raise DataError("The disk is full.", hint="Choose another.")
        return fill_folder(*args, share=share, **rest)

    monkeypatch.setattr(shares, "fill_folder", fill)
    engine = Machines(host, ["made"])
    end = go(engine)
    assert len(engine.jobs) == 2
    assert [(one.share.machine, one.error) for one in end.failed] == [(1, "The disk is full.\nChoose another.")]
    assert (end.made, end.complete, end.lacking) == (512, False, 2)


def test_a_launcher_that_raises_fails_the_shares_and_not_the_command(go, host):
    engine = Machines(host)
    engine.submit = lambda jobs: 1 / 0
    end = go(engine)
    assert len(end.failed) == 2
    assert end.failed[0].error.startswith("Launcher halls/machines failed in submit: ZeroDivisionError")


def test_a_detached_command_goes_on_in_the_background(host, tmp_path, monkeypatch, capsys):
    started = []
    monkeypatch.setenv("ZOO_PLUGIN_FILES", os.pathsep.join(host.files))
    monkeypatch.setattr("zoo.cli.shares.start_detached", lambda ctx, store, *, what: started.append((store, what)))
    words = ["simulate", "toysky/discs", "-n", "1000", "--simulator", "painter", "--out", str(tmp_path), "--detach"]
    for more, code in (([], 2), (["--launcher", "core/local", "--shards", "2"], 0)):
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        assert ended.value.code == code
    assert "--detach goes with --launcher" in capsys.readouterr().err
    assert started == [(tmp_path / "parts", "shares")]


def test_one_share_is_the_whole_split(go, host, whole, tmp_path):
    engine = Machines(host, ["made"])
    end = go(engine, of=1)
    assert (len(engine.jobs), end.complete, end.failed) == (1, True, ())
    assert same(tmp_path / "DIR", whole)


def test_impossible_requests_are_refused_before_anything_is_queued(go, host, recipe, tmp_path):
    engine = Machines(host, ["made"])
    with pytest.raises(UsageError, match=r"--shards 5: 1,000 images make 4 files of 256.*\nAt most: --shards 4"):
        go(engine, of=5)
    assert not (tmp_path / "DIR").exists()
    other = plan_images(host, "toysky/moons", settings={}, simulator="painter", device="cpu")[1]
    fill_folder(
        Dataset(host, other, {}).simulation(expected_images=1), "val", 1, folder=tmp_path / "DIR"
    )  # fmt: skip
    with pytest.raises(UsageError, match="holds other images: dataset is 'toysky/moons' there"):
        go(engine)
    assert engine.jobs == []


def share_file(go, host, tmp_path) -> Path:
    go(Machines(host, ["failed"]), retries=0)
    return tmp_path / "DIR" / "parts" / "train" / "2" / "0" / SHARE


def test_another_version_on_the_worker_is_refused(go, host, tmp_path):
    path = share_file(go, host, tmp_path)
    content = json.loads(path.read_text())
    content["versions"]["lens-zoo"] = "0.0.9"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"planned with lens-zoo 0\.0\.9"):
        make_share(host, path)
    assert "planned with lens-zoo 0.0.9" in (path.parent / FAILED).read_text()


def test_a_share_that_is_stopped_exits_with_75(go, host, tmp_path, monkeypatch, capsys):
    path = share_file(go, host, tmp_path)
    shutil.rmtree(tmp_path / "DIR" / "train")
    monkeypatch.setattr(folder_module, "write_shard", lambda *args, **rest: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setenv("ZOO_PLUGIN_FILES", os.pathsep.join(host.files))
    with pytest.raises(SystemExit) as stopped:
        main(["run-share", str(path)])
    assert stopped.value.code == STOPPED
    assert "Stopped by SIGTERM. Everything finished is kept" in capsys.readouterr().err
    assert not (path.parent / FAILED).exists()
