"""The contract of launchers on a real Ray of this machine, and one network on two nodes: set ZOO_TEST_RAY=1."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from zoo.host import load_plugins
from zoo.results import store
from zoo.testing.launchers import check_launcher

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("ZOO_TEST_RAY", "") in ("", "0"),
        reason="starts a real Ray, for a minute or more: set ZOO_TEST_RAY=1",
    ),
]
TOY = Path(__file__).parents[3] / "tests" / "toys" / "toyzoo.py"
# Batches of 31 images: one process takes 15, the other 16.
SETTINGS = {
    "train_images": 310, "val_images": 90, "test_images": 120, "epochs": 30, "batch_size": 31, "augment": "d4",
    "lr": 0.02,
}  # fmt: skip


def test_a_ray_of_this_machine_keeps_the_contract(tmp_path):
    check_launcher(load_plugins(environment={}), "ray/this_machine", tmp_path, options={"poll_seconds": 0.5})


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """Those of a cluster: one token, which Ray keeps for the whole process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "OMP_NUM_THREADS": "1",
            "ZOO_CACHE": str(tmp_path_factory.mktemp("cache")),
        }.items():  # fmt: skip
            patch.setenv(name, value)
        yield


@pytest.fixture
def cluster(variables):
    """Two nodes that run cells, and the head, on the loopback and with a token."""
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # the path of a socket is at most 107 bytes
        head = {"num_cpus": 0, "node_ip_address": "127.0.0.1", "include_dashboard": False, "temp_dir": folder}
        started = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(2):
                started.add_node(num_cpus=1, node_ip_address="127.0.0.1")
            yield started
        finally:
            started.shutdown()


def bench(folder, *words):
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    return [
        sys.executable, "-m", "zoo", "--plugin", str(TOY), "bench", "--model=normed", "--data=stripes",
        "--budget=smoke", "--device=cpu", f"--store={folder}", *settings, *words,
    ]  # fmt: skip


def wait(condition, what):
    until = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < until, what()
        time.sleep(0.1)


def node_of(cluster, rank):
    """Return the node on which torchrun has this rank."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    [pid] = (pid for pid in parents if f"--node-rank={rank}".encode() in words_of(pid))
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
    while pid not in raylets:
        pid = parents[pid]
    return raylets[pid]


def words_of(pid):
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
    return []


LEFT = """
import ray
ray.init(namespace="zoo", log_to_driver=False, logging_level="ERROR")
print([one["name"] for one in ray.util.list_named_actors(all_namespaces=True)])
print([one["name"] for one in ray.util.placement_group_table().values() if one["state"] != "REMOVED"])
print(ray.available_resources()["CPU"])
"""


def left(cluster):
    """Return actors, placement groups and free cores, or the error of a cluster that cannot be connected to yet."""
    words = [sys.executable, "-c", LEFT]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    return (done.stderr if done.returncode else done.stdout).splitlines()


@pytest.mark.parametrize("rank", [0, 1])
def test_two_nodes_train_one_network_though_one_of_them_is_killed(cluster, tmp_path, rank):
    """To the weights of a training by one process, and nothing is left in the cluster."""
    there, here, said = tmp_path / "there", tmp_path / "here", tmp_path / "said"
    launch = ["--launcher=ray", f"--launcher-set=address={cluster.address}", "--launcher-set=look_seconds=60"]
    with said.open("w") as file:
        running = subprocess.Popen(bench(there, "--num-nodes=2", *launch), stdout=file, stderr=file)
    try:
        wait(lambda: list(there.glob("*/*/*/checkpoint.safetensors")), said.read_text)
        cluster.remove_node(node_of(cluster, rank), allow_graceful=False)
        wait(lambda: "it is submitted again" in said.read_text(), said.read_text)
        cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
        wait(lambda: running.poll() is not None, said.read_text)
    finally:
        running.terminate()
        running.wait(60)
    assert running.returncode == 0, said.read_text()
    subprocess.run(bench(here), check=True)
    two, one = (store.open_result(next(folder.glob("*/*/*/result.json")).parent) for folder in (there, here))
    assert (two.cost.processes, two.test.auc["macro"]) == (2, pytest.approx(one.test.auc["macro"], abs=1e-3))
    logits = [store.read_arrays(result.run_dir / store.PREDICTIONS)[0]["test.logits"] for result in (two, one)]
    assert np.abs(logits[0] - logits[1]).max() < 1e-3
    wait(lambda: left(cluster) == ["[]", "[]", "2.0"], lambda: left(cluster))


def test_nodes_are_freed_without_a_command_where_the_first_one_is_lost(cluster, tmp_path):
    launch = ["--launcher=ray", f"--launcher-set=address={cluster.address}", "--launcher-set=look_seconds=60"]
    subprocess.run(bench(tmp_path, "--num-nodes=2", "--detach", *launch), check=True)
    wait(lambda: list(tmp_path.glob("*/*/*/checkpoint.safetensors")), lambda: left(cluster))
    cluster.remove_node(node_of(cluster, 0), allow_graceful=False)
    wait(lambda: left(cluster) == ["[]", "[]", "1.0"], lambda: left(cluster))
