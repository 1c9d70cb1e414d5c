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
    "train_images": 310, "val_images": 90, "test_images": 120, "batch_size": 31, "augment": "d4", "lr": 0.02,
}  # fmt: skip


def test_a_ray_of_this_machine_keeps_the_contract(tmp_path):
    check_launcher(load_plugins(environment={}), "ray/this_machine", tmp_path, options={"poll_seconds": 0.5})


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Two nodes on the loopback, with a token."""
    for name, value in {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "OMP_NUM_THREADS": "1", "ZOO_CACHE": str(tmp_path / "cache"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # the path of a socket is at most 107 bytes
        head = {**node, "include_dashboard": False, "temp_dir": folder}
        started = Cluster(initialize_head=True, head_node_args=head)
        started.add_node(**node)
        try:
            yield started
        finally:
            started.shutdown()


def bench(folder, *words, epochs):
    settings = [f"--set={name}={value}" for name, value in {**SETTINGS, "epochs": epochs}.items()]
    return [
        sys.executable, "-m", "zoo", "--plugin", str(TOY), "bench", "--model=normed", "--data=stripes",
        "--budget=smoke", "--device=cpu", f"--store={folder}", *settings, *words,
    ]  # fmt: skip


def wait(condition, what, seconds=180.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


LEFT = """
import ray
ray.init(namespace="zoo", log_to_driver=False, logging_level="ERROR")
print([one["name"] for one in ray.util.list_named_actors(all_namespaces=True)])
print([one["name"] for one in ray.util.placement_group_table().values() if one["state"] != "REMOVED"])
print(ray.available_resources().get("CPU"))
"""


def left(address):
    return subprocess.run(
        [sys.executable, "-c", LEFT], env={**os.environ, "RAY_ADDRESS": address}, capture_output=True, text=True,
        check=True,
    ).stdout.splitlines()  # fmt: skip


def test_two_nodes_train_one_network_though_one_of_them_is_killed(cluster, tmp_path):
    epochs = 30
    there, here, said = tmp_path / "there", tmp_path / "here", tmp_path / "said"
    with said.open("w") as file:
        running = subprocess.Popen(
            bench(
                there, "--num-nodes=2", "--launcher=ray", f"--launcher-set=address={cluster.address}",
                "--launcher-set=poll_seconds=0.5", "--retries=5", epochs=epochs,
            ),
            stdout=file, stderr=file,
        )  # fmt: skip
    try:
        wait(lambda: running.poll() is not None or list(there.glob("*/*/*/checkpoint.safetensors")), "a checkpoint")
        assert running.poll() is None, said.read_text()
        [second] = cluster.worker_nodes
        cluster.remove_node(second, allow_graceful=False)
        wait(lambda: "it is submitted again" in said.read_text(), "another attempt")
        cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
        wait(lambda: running.poll() is not None, "the end")
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.terminate()
        running.wait(60)
        print(said.read_text())
    assert running.returncode == 0
    subprocess.run(bench(here, epochs=epochs), check=True)
    [found], [expected] = ([path.parent for path in one.glob("*/*/*/result.json")] for one in (there, here))
    assert store.open_result(found).cost.processes == 2
    logits = [store.read_arrays(one / store.PREDICTIONS)[0]["test.logits"] for one in (found, expected)]
    print("largest difference of logits", np.abs(logits[0] - logits[1]).max())
    assert np.abs(logits[0] - logits[1]).max() < 1e-3
    print((found / "log.txt").read_text())
    wait(lambda: left(cluster.address) == ["[]", "[]", "2.0"], f"something is left: {left(cluster.address)}", 60)
