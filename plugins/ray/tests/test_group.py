"""A cell on several nodes: what runs on each, and what their ends mean, with a pretended Ray."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

import pytest
from fake_ray import ActorDiedError, ActorUnavailableError, Bundle, FakeRay
from zoo_ray import group as groups
from zoo_ray import torchrun
from zoo_ray.cell import Task
from zoo_ray.group import Group, free_when_lost, tasks_of_nodes

from zoo.run.launcher import JobState, exit_state
from zoo.stopping import PARENT_VARIABLE, STOPPED

DIED = ActorDiedError("The actor died because its node has died.")


class Process:
    """Process of the first node, which keeps why it was stopped."""

    cause = None

    def stop(self, cause):
        self.cause = cause


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay()
    for name, module in fake.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("GRACE_SECONDS", "_CAUSE_SECONDS", "_SECONDS"):
        monkeypatch.setattr(groups, name, 0.01)
    return fake


def task(nodes=3):
    return Task(
        command=("python", "-m", "zoo", "run-cell"), cwd="/", env={}, run_dir="/", end="/end", minutes=5, nodes=nodes,
        tasks_per_node=2,
    )  # fmt: skip


def test_torchrun_runs_on_each_node_and_the_first_one_writes_the_end(ray):
    first, *others = tasks_of_nodes(task())
    assert first.command[:5] == ("python", "-m", "zoo_ray.torchrun", "--nnodes=3", "--nproc-per-node=2")
    assert (first.command[7:], others[1].command[7:]) == tuple(
        (f"--node-rank={rank}", "-m", "zoo", "run-cell") for rank in (0, 2)
    )
    assert len({one.command[5:7] for one in (first, *others)}) == 1  # one address and port
    assert [(one.end, one.minutes) for one in (first, *others)] == [("/end", 5), ("", None), ("", None)]
    Group(others, {"num_cpus": 2})
    places = [actor.options["scheduling_strategy"] for actor in ray.actors.values()]
    assert places == [Bundle("mine", 1), Bundle("mine", 2)]


@pytest.mark.parametrize(
    ("codes", "reason", "words"),
    [
        ((0, 0), "preempted", "stopped, or lost"),
        ((0, STOPPED), "preempted", "stopped, or lost"),
        ((STOPPED, DIED), "node", "its node failed"),  # the other one has only lost it
        ((STOPPED, 70), "failed", "exit code 70"),
        ((-9, STOPPED), "failed", "killed by SIGKILL"),
    ],
)
def test_the_cause_is_that_of_the_node_that_has_one(ray, codes, reason, words):
    group, process = Group(tasks_of_nodes(task())[1:], {}), Process()
    for actor, code in zip(ray.actors.values(), codes, strict=True):
        actor.started = True
        if isinstance(code, int):
            actor.state = exit_state(code)
        else:
            actor.error = code
    group.watch(process)
    assert (process.cause is not None) == any(codes)  # a collective may wait for it for ever
    state = group.judged(exit_state(STOPPED))
    assert (state.reason, words in state.detail) == (reason, True)
    cancelled = JobState(kind="ended", reason="cancelled")
    assert group.judged(cancelled) == cancelled


def test_a_node_out_of_reach_is_asked_again(ray):
    group, process = Group(tasks_of_nodes(task(2))[1:], {}), Process()
    [actor] = ray.actors.values()
    actor.started, actor.error = True, ActorUnavailableError("Socket closed")
    watcher = threading.Thread(target=group.watch, args=(process,))
    watcher.start()
    while ray.calls.count("end") < 2:
        pass
    actor.error, actor.state = None, exit_state(0)
    watcher.join(5)
    assert process.cause is None


@pytest.mark.parametrize(("error", "freed"), [(DIED, True), (None, False)])
def test_the_other_nodes_free_all_where_the_first_one_is_lost(ray, error, freed):
    Group(tasks_of_nodes(task(2))[1:], {})
    [first] = ray.actors.values()  # any actor
    first.started, first.error = True, ActorUnavailableError("Socket closed")
    watcher = threading.Thread(target=free_when_lost, args=(first, "mine"))
    watcher.start()
    while ray.calls.count("end") < 2 + 1:
        pass
    first.state, first.error = exit_state(0), error
    watcher.join(5)
    assert ("free mine" in ray.calls) == freed


def test_nodes_that_go_on_are_stopped_before_all_are_freed(ray):
    group = Group(tasks_of_nodes(task(2))[1:], {})
    group.close(0.01)
    assert ray.calls[-2:] == ["stop", "free mine"]


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (70, 70), (STOPPED, STOPPED), ("SIGTERM", STOPPED)])
def test_torchrun_ends_as_the_process_that_failed_first(monkeypatch, code, expected):
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    def pretended(words):
        assert (words, os.environ[PARENT_VARIABLE]) == (["a"], str(os.getpid()))
        if code == "SIGTERM":
            raise SignalException("", signal.SIGTERM)
        if code:
            raise ChildFailedError("zoo", {0: ProcessFailure(0, 1, code, "")})

    monkeypatch.setattr(run, "main", pretended)
    monkeypatch.setenv(PARENT_VARIABLE, str(os.getppid()))
    monkeypatch.setattr(torchrun, "_end_with", lambda parent: None)
    with pytest.raises(SystemExit) if expected else contextlib.nullcontext() as ended:
        torchrun.main(["a"])
    assert expected == (ended.value.code if ended else 0)


def test_torchrun_is_stopped_when_its_actor_has_ended(monkeypatch):
    sent = []
    monkeypatch.setattr(torchrun.os, "kill", lambda *given: sent.append(given))
    torchrun._end_with(os.getppid() + 1)
    assert sent == [(os.getpid(), signal.SIGTERM)]
