"""The launchers of Ray as zoo calls them, with a pretended process in place of the one that is connected to Ray."""

from __future__ import annotations

import socket
import sys

import pytest
from zoo_ray import address as addresses
from zoo_ray import launcher as launchers
from zoo_ray.launcher import LocalRayLauncher, RayLauncher
from zoo_ray.link import Link

from zoo.errors import LauncherError, UsageError
from zoo.run.launcher import Job, Resources

NODES = [
    {"CPU": 8.0, "memory": 16.0 * 2**30, "node:10.0.0.1": 1.0},
    {"CPU": 32.0, "GPU": 4.0, "memory": 256.0 * 2**30, "accelerator_type:A100": 1.0, "licence": 2.0},
]


CELL = (sys.executable, "-m", "zoo", "run-cell", "cell.json")


class FakeLink:
    """Connection that keeps what it was asked."""

    made: list[FakeLink]
    fails: dict[str, str]
    answers: dict

    def __init__(self, env):
        self.env, self.asked, self.alive = env, {}, True
        self.made.append(self)

    def call(self, method, limit, /, **arguments):
        self.asked[method] = arguments
        if method in self.fails:
            self.alive = False
            raise LauncherError(self.fails[method])
        return self.answers.get(method)

    def is_alive(self):
        return self.alive

    def close(self, *, kill=False):
        self.alive = False


@pytest.fixture
def link(monkeypatch, tmp_path):
    class Made(FakeLink):
        made, fails, answers = [], {}, {"nodes": NODES, "look": []}

    monkeypatch.setattr(launchers, "Link", Made)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    return Made


@pytest.fixture
def job(tmp_path):
    def job(name="a", command=("true",), **resources):
        run_dir = tmp_path / "store" / "data" / "model" / name
        run_dir.mkdir(parents=True, exist_ok=True)
        return Job(run_dir=run_dir, command=command, cwd=tmp_path, resources=Resources(**resources))

    return job


def test_options_and_resources_reach_ray(link, job, tmp_path):
    launcher = RayLauncher(
        accelerator_type="A100", custom="licence=1", runtime_env='{"env_vars": {"A": "1"}}', stop_seconds=9
    )
    python = job("b", command=(sys.executable, "-m", "zoo"))
    first, second = launcher.submit([job(gpus=2, cpus=3, memory_gb=1.5, minutes=90), python])
    asked = link.made[0].asked["submit"]
    name, end = first.split(" ")
    assert end == str(tmp_path / "store" / "ray" / f"{name}.json")
    assert asked["options"][name] == {
        "num_cpus": 3, "num_gpus": 2, "memory": 3 * 2**29, "resources": {"licence": 1.0}, "accelerator_type": "A100",
        "runtime_env": {"env_vars": {"A": "1"}},
    }  # fmt: skip
    assert (asked["tasks"][name]["minutes"], asked["tasks"][name]["stop_seconds"]) == (90, 9)
    assert asked["tasks"][second.split(" ")[0]]["command"] == ["python of the worker", "-m", "zoo"]
    assert launcher.submit([]) == []


def test_a_cell_on_several_nodes_has_their_bundles(link, job):
    launcher = RayLauncher(accelerator_type="A100", custom="licence=1")
    [handle] = launcher.submit([job(command=CELL, gpus=2, cpus=3, memory_gb=1, minutes=9, nodes=2, tasks_per_node=2)])
    asked = link.made[0].asked["submit"]
    options, task = (asked[part][handle.split(" ")[0]] for part in ("options", "tasks"))
    bundle = {"CPU": 6, "GPU": 2, "memory": 2**30, "licence": 1.0, "accelerator_type:A100": 0.001}
    assert options.pop("bundles") == [bundle] * 2
    assert options == {"num_cpus": 6, "num_gpus": 2, "memory": 2**30, "resources": {"licence": 1.0}}
    assert task["member"] == options
    assert (task["nodes"], task["tasks_per_node"], task["env"]["OMP_NUM_THREADS"]) == (2, 2, "3")


def test_only_cells_have_several_processes_and_this_machine_is_one_node(link, job):
    with pytest.raises(UsageError, match="Only a cell can have several processes"):
        RayLauncher().check([job(nodes=2)])
    with pytest.raises(UsageError, match="ray/this_machine has one node"):
        LocalRayLauncher().check([job(command=CELL, nodes=2)])


def test_texts_that_are_no_handles_reach_no_process(link):
    launcher = RayLauncher()
    assert [state.kind for state in launcher.poll(["never given", "zoo-1 relative"])] == ["lost", "lost"]
    launcher.cancel(["never given"])
    assert launcher.log("never given") == ""
    assert set(link.made[0].asked) == {"connect"}


def test_a_connection_that_has_ended_is_made_again(link, job):
    launcher = RayLauncher()
    [handle] = launcher.submit([job()])
    link.fails["poll"] = "Ray has ended the connection."
    with pytest.raises(LauncherError, match="ended the connection"):
        launcher.poll([handle])
    del link.fails["poll"]
    link.answers["poll"] = [{"kind": "running", "reason": "unknown", "detail": "n1", "retryable": None}]
    assert launcher.poll([handle])[0].detail == "n1"
    assert len(link.made) == 2


def test_a_submission_that_fails_leaves_nothing_in_the_queue(link, job):
    launcher = RayLauncher()
    link.fails["submit"] = "Ray has not answered for 100 s."
    with pytest.raises(LauncherError, match="has not answered"):
        launcher.submit([job(), job("b")])
    assert list(link.made[1].asked["cancel"]["ends"]) == list(link.made[0].asked["submit"]["tasks"])


def test_a_ray_of_this_machine_starts_with_the_first_job_and_on_the_loopback(link, job):
    launcher = LocalRayLauncher()
    assert launcher.poll([f"zoo-{'0' * 16} /a"])[0].kind == "lost"
    assert link.made == []
    launcher.submit([job()])
    assert link.made[0].asked["connect"] == {"address": "local"}
    assert link.made[0].env["RAY_AUTH_MODE"] == "token"
    assert len(link.made[0].env["RAY_AUTH_TOKEN"]) == 64
    assert link.made[0].env | addresses.LOOPBACK == link.made[0].env


@pytest.mark.parametrize(
    ("options", "resources", "words"),
    [
        ({}, {"gpus": 5}, "gpus=5: the largest node of the cluster has 4"),
        ({}, {"cpus": 33}, "cpus=33: the largest node of the cluster has 32"),
        ({}, {"memory_gb": 300}, "memory_gb=300: the largest node of the cluster has 256"),
        ({}, {"nodes": 3}, "--num-nodes 3: of the nodes of the cluster (2), 2 can run a part of the cell (cpus)"),
        (
            {},
            {"nodes": 2, "gpus": 1},
            "of the nodes of the cluster (2), 1 can run a part of the cell (cpus, gpus)",
        ),
        ({}, {"nodes": 2, "cpus": 9, "tasks_per_node": 4}, "cpus=36 for 4 tasks: the largest node of the cluster has"),
        ({"accelerator_type": "A10"}, {}, "no node has it. Did you mean 'A100'?"),
        ({"custom": "license=1"}, {}, "no node has 'license'. Did you mean 'licence'?"),
        ({"custom": "licence=3"}, {}, "custom=licence=3: the largest node of the cluster has 2"),
    ],
)
def test_what_the_cluster_does_not_have_is_refused(link, job, options, resources, words):
    launcher = RayLauncher(**options)
    with pytest.raises(UsageError) as refused:
        launcher.check([job(), job("b", command=CELL, **resources)])
    assert words in str(refused.value)
    assert "submit" not in link.made[0].asked


def test_what_the_cluster_has_or_may_add_is_accepted(link, job):
    RayLauncher(accelerator_type="A100", custom="licence=2").check([job(gpus=4, cpus=32, memory_gb=256)])
    RayLauncher(autoscales=True).check([job(gpus=8), job("b", command=CELL, nodes=9)])
    RayLauncher().check([job(command=CELL, nodes=2, cpus=2, tasks_per_node=4)])


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ({"host": "n2", "sees": False, "zoo": "0.1.0"}, "The node n2 does not see the store"),
        ({"host": "n2", "sees": True, "zoo": "0.0.7"}, "The node n2 has lens-zoo 0.0.7; this machine has"),
        ({"host": "n2", "error": "x\nModuleNotFoundError: No module named 'zoo_ray'\n"}, "n2 cannot run cells: Module"),
    ],
)
def test_a_node_that_cannot_run_the_cells_is_refused(link, job, view, words):
    link.answers["look"] = [view]
    with pytest.raises(UsageError, match=words):
        RayLauncher().check([job()])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"runtime_env": '{"pips": []}'}, "'pips' is unknown to Ray. Did you mean 'pip'?"),
        ({"runtime_env": "{"}, "cannot be read"),
        ({"runtime_env": "no-such-file.yaml"}, "the file no-such-file.yaml cannot be read"),
        ({"custom": "licence"}, "'licence' is not of the form NAME=NUMBER"),
        ({"custom": "GPU=1"}, "use cpus, gpus and memory_gb"),
        ({"stop_seconds": 0.0}, "stop_seconds=0 must be more than 0"),
        ({"look_seconds": 90.0}, "look_seconds=90 must be 0 to 60"),
        ({"address": "ray://head:10001"}, "Run zoo on a node of the cluster"),
        ({"address": "local"}, "ray/this_machine"),
        ({"address": "head"}, "not of the form HOST:PORT"),
    ],
)
def test_impossible_options_are_refused(link, options, words):
    with pytest.raises(UsageError) as refused:
        RayLauncher(**options)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("ConnectionError: Failed to connect to Ray cluster at head:6379", "RAY_AUTH_MODE=token"),
        ("AuthenticationError: no token", "Set the token of the cluster"),
        ("RuntimeError: Version mismatch", "Use the versions of Ray"),
    ],
)
def test_a_cluster_that_does_not_let_zoo_in_has_a_next_step(error, words):
    found = addresses.refused("head:6379", error)
    assert str(found).startswith(f"Ray at head:6379 cannot be used: {error}")
    assert words in found.hint


def test_a_runtime_environment_may_be_a_file(link, tmp_path):
    (tmp_path / "env.yaml").write_text("pip: [lens-zoo-ray]\n")
    launcher = RayLauncher(runtime_env=str(tmp_path / "env.yaml"))
    assert launcher._environment == {"pip": ["lens-zoo-ray"]}


def test_an_address_that_does_not_answer_is_refused_before_ray_is_asked(link):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        RayLauncher(address=f"127.0.0.1:{port}")
    with pytest.raises(UsageError, match=f"Nothing answers at Ray's address 127.0.0.1:{port}"):
        RayLauncher(address=f"127.0.0.1:{port}")
    assert len(link.made) == 1
    assert link.made[0].env == dict(addresses.LOOPBACK)  # it listens there only


def test_the_ray_that_was_started_here_is_found_and_one_that_has_ended_is_refused(link, tmp_path):
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray" / "ray_current_cluster").write_text(here)
        RayLauncher()
    assert link.made[0].asked["connect"] == {"address": here}
    with pytest.raises(UsageError, match=f"Nothing answers at Ray's address {here}"):
        RayLauncher()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("ConnectionError: Could not find any running Ray instance. ...", "No Ray runs on this machine"),
        ("AuthenticationError: InvalidAuthToken: ...", "RAY_AUTH_TOKEN_PATH"),
        ("RuntimeError: Version mismatch: The cluster was started with: Ray: 2.52.0", "Use the versions"),
        ("Ray has not answered for 60 s.", "must run on a node of the cluster"),
    ],
)
def test_a_cluster_that_refuses_is_explained(link, error, words):
    link.fails["connect"] = error
    with pytest.raises(UsageError) as refused:
        RayLauncher()
    assert words in str(refused.value)


@pytest.mark.slow
def test_the_process_answers_and_its_faults_are_errors(tmp_path):
    link = Link({})
    assert link.call("log", 30, name="a") == ""
    with pytest.raises(LauncherError, match="TypeError"):
        link.call("log", 30)
    link._process.kill()
    with pytest.raises(LauncherError, match="has ended the connection"):
        link.call("log", 30, name="a")
    assert not link.is_alive()
