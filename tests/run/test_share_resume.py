"""Shares of a split whose command is given again: it attaches to jobs, and makes only what is lacking."""

from __future__ import annotations

import json
import os
from pathlib import Path

import halls
import pytest
from halls import IMAGES, SKY, Machines, same

from zoo.cli import main
from zoo.data.manifest import MANIFEST
from zoo.data.share import PART, Share
from zoo.errors import Interrupted
from zoo.host import load_plugins


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


def part_of(folder, machine, of):
    return Share(machine=machine, of=of).folder(folder, "train") / PART


def test_the_same_command_goes_on_with_what_has_failed(go, host, whole, tmp_path):
    end = go(Machines(host, ["dies"]), retries=0)
    assert (end.made, end.found, end.complete, end.lacking) == (512, 0, False, 4)
    engine = Machines(host, ["made"])
    end = go(engine)
    assert (end.made, end.found, end.complete) == (512, 512, True)
    assert same(tmp_path / "DIR", whole)


@pytest.mark.parametrize(("stop", "cancelled"), [(Interrupted, 0), (KeyboardInterrupt, 2)])
def test_a_command_attaches_to_the_jobs_of_an_earlier_one(go, host, whole, tmp_path, stop, cancelled):
    engine = Machines(host, ["waiting", "running", "made"])

    def interrupt(done, total):
        raise stop

    with pytest.raises(stop):
        go(engine, watch=interrupt)
    assert len(engine.cancelled) == cancelled
    assert go(engine).complete
    assert len(engine.jobs) == 2 + cancelled
    assert same(tmp_path / "DIR", whole)


def test_jobs_of_a_command_that_has_ended_are_shown_and_can_be_cancelled(go, host, tmp_path, monkeypatch, capsys):
    engine = Machines(host, ["waiting"])
    end = go(engine, submitted=lambda: True)  # as with --detach
    assert (end.complete, end.failed, engine.cancelled) == (False, (), [])
    monkeypatch.setenv("ZOO_PLUGIN_FILES", os.pathsep.join(host.files))

    def zoo(*words):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--store", str(tmp_path / "DIR" / "parts")])
        assert ended.value.code == 0
        return capsys.readouterr()

    shown = zoo("status")
    rows = [line.split() for line in shown.out.splitlines()]
    assert rows == [["waiting", f"train/2/{machine}", "halls/machines"] for machine in range(2)]
    assert shown.err.startswith("2 jobs in ")
    assert [one["state"] for one in json.loads(zoo("status", "--json").out)] == ["waiting"] * 2
    assert "2 jobs cancelled" in zoo("cancel", "--all").err
    assert len(engine.cancelled) == 2
    again = Machines(host, ["made"])
    assert go(again).complete
    assert len(again.jobs) == 2


@pytest.mark.parametrize("damage", [lambda path: path.write_text("{"), Path.unlink], ids=["damaged", "missing"])
def test_the_share_of_a_lost_part_is_given_out_again(go, host, whole, tmp_path, caplog, damage):
    go(Machines(host, ["made"]))
    (tmp_path / "DIR" / MANIFEST).unlink()
    path = part_of(tmp_path / "DIR", 1, 2)
    damage(path)
    engine = Machines(host, ["made"])
    end = go(engine)
    assert [job.run_dir for job in engine.jobs] == [path.parent]
    assert (end.made, end.complete) == (0, True)
    assert same(tmp_path / "DIR", whole)
    assert (str(path) in caplog.text) == (damage is not Path.unlink)


def test_a_lost_file_is_made_again_by_its_share(go, host, whole, tmp_path):
    go(Machines(host, ["made"]))
    (tmp_path / "DIR" / "train" / "000003.safetensors").unlink()
    engine = Machines(host, ["made"])
    end = go(engine)
    assert [job.label for job in engine.jobs] == ["share 1:2 of train"]
    assert (end.made, end.complete) == (256, True)
    assert same(tmp_path / "DIR", whole)


def test_a_larger_split_is_made_by_those_shares_that_lack_something(go, host, tmp_path):
    go(Machines(host, ["made"]), images=IMAGES)
    engine = Machines(host, ["made"])
    end = go(engine, of=5, images=1100)
    assert [job.label for job in engine.jobs] == ["share 4:5 of train"]
    assert (end.made, end.complete) == (256, True)
