"""--launcher-set, --jobs, --gpus and --retries: what they mean and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.errors import MissingError, UsageError
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.run import queued
from zoo.run.launch import Launch
from zoo.run.matrix import run_matrix
from zoo.run.queued import jobs_at_once
from zoo.run.where import Where
from zoo.train.team import Team

FILE = """
from zoo import LauncherSpec, hookimpl

@hookimpl
def zoo_launchers():
    options = {"partition": "", "nice": 0, "scale": 1.0, "requeue": True}
    return [LauncherSpec(id="cluster/queue", target="cluster:Queue", summary="a queue", options=options)]
"""


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "cluster.py"
    path.write_text(FILE)
    return load_plugins(files=[Path(__file__).parents[1] / "toys" / "toyzoo.py", path], environment={})


@pytest.fixture(scope="module")
def cells(host):
    return make_plan(host, Request(models=["tiny", "normed"], data=["stripes"], budget="smoke", device="cpu"))


def test_options_keep_the_type_of_their_default(host, cells):
    pairs = ("partition=12", "queue.nice=5", "CLUSTER/queue.scale=2", "requeue=false")
    found = Launch(launcher="queue", launcher_settings=pairs).resolved(host, cells)
    assert found.options == {"partition": "12", "nice": 5, "scale": 2.0, "requeue": False}


def test_resources_are_for_all_cells_or_for_models(host, cells):
    pairs = {"gpus": 1, "queue.minutes": 90, "nor*.gpus": 2, "toyzoo/normed.memory_gb": 1.5}
    found = Launch(launcher="queue", launcher_settings=pairs).resolved(host, cells)
    tiny, normed = (found.resources(cell) for cell in cells)
    assert (tiny.gpus, tiny.minutes, tiny.memory_gb) == (1, 90, None)
    assert (normed.gpus, normed.minutes, normed.memory_gb) == (2, 90, 1.5)


@pytest.mark.parametrize(
    ("launcher", "asked", "pairs", "expected"),
    [
        ("queue", "auto", ["gpus=1"], "cuda"),  # a login node has none
        ("queue", "auto", ["cluster/queue.gpus=2"], "cuda"),
        ("queue", "auto", ["gpus=0"], "cpu"),
        ("queue", "auto", ["tiny.gpus=1"], "auto"),
        ("queue", "cpu", ["gpus=1"], "cpu"),
        ("local", "auto", ["gpus=1"], "auto"),
    ],
)
def test_resources_decide_the_device_of_the_plan(host, launcher, asked, pairs, expected):
    assert Launch(launcher=launcher, launcher_settings=pairs).device(host, asked) == expected


def test_devices_of_a_cell_are_resources(host, cells):
    found = (
        Launch(launcher="queue").resolved(host, cells, gpus=4, team=Team(devices=4, num_nodes=2)).resources(cells[0])
    )
    assert (found.gpus, found.nodes, found.tasks_per_node) == (4, 2, 4)


def test_a_network_on_several_nodes_is_a_job_of_the_launcher(host, cells, tmp_path, monkeypatch):
    class Queue:
        def check(self, jobs):
            [job] = jobs
            assert (job.resources.nodes, job.resources.tasks_per_node, job.resources.gpus) == (3, 2, 0)
            assert job.command[-4:] == ("--devices", "2", "--num-nodes", "3")
            raise UsageError("checked")

    monkeypatch.setattr(queued.registry, "load_target", lambda spec: lambda **_: Queue())
    monkeypatch.setattr("zoo.run.matrix.check_turns", lambda *_: None)  # it loads a network
    where = Where(device="cpu", devices=2, num_nodes=3)
    with pytest.raises(UsageError, match="checked"):
        run_matrix(host, cells[:1], store=tmp_path, where=where, launch=Launch(launcher="queue"))
    with pytest.raises(UsageError, match="srun --nodes=3 --ntasks-per-node=2 zoo bench"):
        run_matrix(host, cells[:1], store=tmp_path, where=where)


@pytest.mark.parametrize(
    ("where", "pairs", "said"),
    [
        ({}, ["nodes=2"], "each network is trained on 1 node.\nAdd: --num-nodes 2"),
        ({"num_nodes": 2}, ["nodes=1"], "each network is trained on 2 nodes"),
        ({}, ["tiny.tasks_per_node=2"], "trained by 1 process on a node.\nAdd: --devices 2"),
        ({"num_nodes": 2, "devices": 2}, ["tasks_per_node=1"], "trained by 2 processes on a node"),
    ],
)
def test_resources_for_other_processes_than_train_the_network_are_refused(host, cells, tmp_path, where, pairs, said):
    launch = Launch(launcher="queue", launcher_settings=pairs)
    with pytest.raises(UsageError) as refused:
        run_matrix(host, cells, store=tmp_path, where=Where(device="cpu", **where), launch=launch)
    assert said in f"{refused.value}\n{refused.value.hint}"


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["partitoin=a"], "cluster/queue has no option 'partitoin'. Did you mean 'partition'"),
        (["queue.minute=9"], "no option 'minute'. Did you mean 'minutes'"),
        (["local.jobs=2"], "the launcher of this command is cluster/queue.\nAdd: --launcher core/local"),
        (["tinny.gpus=1"], "'tinny' is neither the launcher nor a model of this command. Did you mean 'tiny'"),
        (["tiny.partition=a"], "'partition' is not a resource"),
        (["nice=much"], "nice=much must be a whole number"),
        (["requeue=1"], "requeue=1 must be true or false"),
        (["gpus=-1"], "gpus=-1 must be a whole number, 0 or more"),
        (["minutes=0"], "minutes=0 must be a number, 0.001 or more"),
        (["gpus"], "'gpus' is not of the form KEY=VALUE"),
        (["nice=1", "nice=2"], "--launcher-set nice is given twice"),
    ],
)
def test_mistakes_are_named(host, cells, pairs, said):
    with pytest.raises(UsageError) as error:
        Launch(launcher="queue", launcher_settings=pairs).resolved(host, cells)
    assert said in str(error.value)


@pytest.mark.parametrize("key", ["jobs", "local.jobs", "core/local.jobs"])
def test_one_option_is_not_stated_in_two_ways(host, cells, key):
    with pytest.raises(UsageError, match=f"--jobs and --launcher-set {key} state the same"):
        Launch(jobs=2, launcher_settings=[f"{key}=4"]).resolved(host, cells)


@pytest.mark.parametrize("name", ["cpus", "memory_gb", "minutes"])
def test_limits_that_this_machine_does_not_keep_are_refused(host, cells, tmp_path, name):
    with pytest.raises(UsageError, match=f"--launcher-set {name}: core/local .* limits none of them"):
        run_matrix(
            host, cells, store=tmp_path, where=Where(device="cpu"), launch=Launch(launcher_settings=[f"{name}=2"])
        )
    assert not list(tmp_path.rglob("cell.json"))


@pytest.mark.parametrize("option", [{"jobs": 2}, {"gpus": "0"}])
def test_options_of_this_machine_are_refused_elsewhere(host, cells, option):
    with pytest.raises(UsageError, match=f"--{next(iter(option))} is an option of core/local"):
        Launch(launcher="queue", **option).resolved(host, cells)
    assert Launch(**option).resolved(host, cells).spec.id == "core/local"


@pytest.mark.parametrize(("option", "value"), [("retries", -1), ("jobs", 0), ("jobs", -1), ("jobs", 1.5)])
def test_impossible_numbers_are_refused(host, cells, option, value):
    with pytest.raises(UsageError, match=f"--{option} {value} must be a whole number"):
        Launch(**{option: value}).resolved(host, cells)


def test_gpus_of_a_machine_without_any_are_refused(host, monkeypatch):
    monkeypatch.setattr("zoo.run.launch.resolve_device", lambda asked: "cpu")
    with pytest.raises(MissingError, match=r"--gpus 7: no GPU was found"):
        Launch(gpus="7").device(host, "auto")
    assert Launch(gpus="7").device(host, "cpu") == "cpu"


@pytest.mark.parametrize(("launcher", "jobs"), [("queue", 500), ("local", 1)])
def test_on_this_machine_jobs_wait_for_each_other(host, launcher, jobs):
    assert jobs_at_once(Launch(launcher=launcher).resolved(host, []), 500) == jobs
