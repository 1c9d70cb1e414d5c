"""The process that is connected to Ray, with a pretended Ray: what it asks, and what it makes of the answers."""

from __future__ import annotations

import sys

import pytest
from fake_ray import ActorDiedError, ActorUnavailableError, Bundle, FakeRay, RayError
from zoo_ray.driver import Driver
from zoo_ray.ends import meaning, read_end, write_end

from zoo.run.launcher import JobState

DONE = JobState(kind="ended", reason="ok", detail="node1")
TASK = {"command": ["true"], "cwd": "/", "env": {}, "run_dir": "/"}


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay()
    for name, module in fake.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return fake


@pytest.fixture
def ends(tmp_path):
    return {name: str(tmp_path / name) for name in ("a", "b")}


def submitted(ends):
    driver = Driver()
    tasks = {name: {**TASK, "end": end} for name, end in ends.items()}
    driver.submit(tasks, {name: {"num_cpus": 1, "num_gpus": 2} for name in ends})
    return driver


def kinds(driver, ends):
    return [state["kind"] for state in driver.poll(ends)]


def test_an_actor_is_detached_and_its_retries_are_off(ray, ends):
    submitted(ends)
    options = ray.actors["a"].options
    assert options == {
        "name": "a", "namespace": "zoo", "lifetime": "detached", "max_restarts": 0, "max_task_retries": 0,
        "num_cpus": 1, "num_gpus": 2,
    }  # fmt: skip
    assert ray.actors["b"].task.command == ("true",)


def test_states_follow_the_actor_and_cost_no_questions(ray, ends):
    driver = submitted(ends)
    assert kinds(driver, ends) == ["waiting", "waiting"]
    ray.actors["a"].started = True
    asked = len(ray.calls)
    assert kinds(driver, ends) == ["running", "waiting"]
    assert driver.poll(ends)[0]["detail"] == "node1"
    ray.actors["a"].state = DONE
    assert driver.poll(ends)[0]["reason"] == "ok"
    ray.actors.pop("a")  # it has left
    assert driver.poll(ends)[0]["reason"] == "ok"
    assert len(ray.calls) == asked


def test_another_process_finds_actors_by_one_question_and_ended_ones_by_their_files(ray, ends, tmp_path):
    submitted(ends)
    ray.actors["a"].started = True
    ray.calls.clear()
    more = {**ends, "ended": str(tmp_path / "ended"), "gone": str(tmp_path / "gone")}
    write_end(tmp_path / "ended", DONE)
    assert kinds(Driver(), more) == ["running", "waiting", "ended", "lost"]
    assert ray.calls.count("list") == 1


def test_an_actor_out_of_reach_is_asked_again(ray, ends):
    driver = submitted(ends)
    actor = ray.actors["a"]
    actor.started = True
    assert kinds(driver, ends)[0] == "running"
    actor.error = ActorUnavailableError("Socket closed")
    assert kinds(driver, ends)[0] == "running"
    actor.error = None
    assert kinds(driver, ends)[0] == "running"
    actor.error = ActorDiedError("The actor died because its node has died. Node Id: 7")
    state = driver.poll(ends)[0]
    assert (state["kind"], state["reason"]) == ("ended", "node")
    assert "Node Id: 7" in driver.log("a")
    assert driver.log("b") == ""


def test_the_file_of_a_node_is_believed_before_the_error_of_ray(ray, ends, tmp_path):
    driver = submitted(ends)
    write_end(tmp_path / "a", JobState(kind="ended", reason="failed", detail="exit code 3"))
    ray.actors["a"].error = ActorDiedError("exited")
    assert driver.poll(ends)[0]["detail"] == "exit code 3"


def test_cancel_stops_cells_that_run_and_takes_others_out_of_the_queue(ray, ends, tmp_path):
    driver = submitted(ends)
    ray.actors["a"].started = True
    driver.cancel({**ends, "never": str(tmp_path / "never")})
    assert ray.actors["a"].stopped
    assert list(ray.actors) == ["a"]
    assert driver.poll(ends)[1]["reason"] == "cancelled"
    assert read_end(tmp_path / "b").reason == "cancelled"  # for other processes


def with_nodes(ends):
    driver = Driver()
    tasks = {name: {**TASK, "end": end, "nodes": 2} for name, end in ends.items()}
    driver.submit(tasks, {name: {"num_cpus": 1, "bundles": [{"CPU": 1}] * 2} for name in ends})
    return driver


def test_the_nodes_of_a_cell_are_reserved_together_and_the_first_one_has_its_actor(ray, ends):
    with_nodes(ends)
    assert ray.reserved["a"] == {
        "bundles": [{"CPU": 1}] * 2, "strategy": "STRICT_SPREAD", "name": "a", "lifetime": "detached"
    }  # fmt: skip
    assert ray.actors["a"].options["scheduling_strategy"] == Bundle("a", 0)
    assert "bundles" not in ray.actors["a"].options


def test_an_actor_that_has_ended_frees_the_nodes_itself(ray, ends):
    driver = with_nodes(ends)
    ray.actors["a"].started, ray.actors["a"].state = True, DONE
    assert kinds(driver, ends) == ["ended", "waiting"]
    assert set(ray.reserved) == {"a", "b"}  # it may still wait for the other nodes


def test_nodes_are_freed_without_the_actor(ray, ends):
    """Where it is lost, where it is taken out of the queue, and where both are found out by another process."""
    driver = with_nodes(ends)
    ray.actors["a"].error = ActorDiedError("The actor died because its node has died.")
    assert driver.poll(ends)[0]["reason"] == "node"
    assert set(ray.reserved) == {"b"}
    driver.cancel(ends)
    assert ray.reserved == {}
    with_nodes(ends)
    del ray.actors["a"]
    later = Driver()
    later.cancel(ends)
    assert ray.reserved == {}
    assert ray.actors == {}


@pytest.mark.parametrize(
    ("kind", "text", "reason", "words"),
    [
        ("ActorDiedError", "x\n\tip: 10.0.0.7\nThe actor died because its node has died.", "node", "(10.0.0.7) failed"),
        ("ActorDiedError", "1 worker(s) were killed due to the node running low on memory.", "oom", "memory_gb=NUMBER"),
        ("ActorDiedError", "raised in its creation task, ...\nModuleNotFoundError: zoo_ray", "failed", "No"),
        ("ActorDiedError", "it was killed by `ray.kill`.", "cancelled", "killed in Ray"),
        ("ActorDiedError", "the node was preempted", "preempted", "taken away"),
        ("ActorDiedError", "worker process has died. (1) the OOM killer", "unknown", "its worker died"),
        ("RuntimeEnvSetupError", "Failed\nno package nonsense", "failed", "no package nonsense"),
        ("ActorUnschedulableError", "no bundle", "failed", "no bundle"),
    ],
)
def test_errors_of_ray_have_reasons_in_words(kind, text, reason, words):
    state = meaning(kind, text)
    assert (state.kind, state.reason) == ("ended", reason)
    assert words in state.detail
    assert state.again == (reason in ("node", "preempted", "unknown"))


@pytest.mark.parametrize("content", ["", "[]", '{"reason": "ok"}', '{"reason": "fine", "detail": ""}'])
def test_damaged_ends_are_not_believed(ray, ends, tmp_path, content):
    (tmp_path / "a").write_text(content)
    assert kinds(Driver(), ends)[0] == "lost"


def test_errors_that_are_no_death_of_the_actor(ray, ends):
    driver = submitted(ends)
    ray.actors["a"].error = RayError("something new")
    assert driver.poll(ends)[0]["reason"] == "unknown"
