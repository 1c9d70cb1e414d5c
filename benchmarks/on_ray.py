"""Try the launcher of Ray on a cluster of two nodes on this machine, and record what happened.

The cluster listens on the loopback only, with a token. The conformance check of launchers runs on it. Then a suite of
24 smoke cells of toy networks is submitted with --detach; one of them trains longer than its time limit. While a second
command waits for them, a node is killed under its cell and the worker of another cell is killed; the command is ended
as by a closed terminal and started again, and the results are compared with those of a local run.

    uv run python benchmarks/on_ray.py [--write] [--parts kit submission memory suite] [--local STORE]

--write records the figures in benchmarks/results/launchers.md. (A script of the name ray.py would hide the library.)
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher_suite import NETWORKS, SUITE, TOYS, record, same, wait

PARTS = ("kit", "submission", "memory", "suite")
KIT = """
import sys
from pathlib import Path
from zoo.host import load_plugins
from zoo.testing.launchers import check_launcher
options = {"poll_seconds": 0.5}
check_launcher(load_plugins(environment={}), "ray/ray", Path(sys.argv[1]), options=options, seconds=120)
"""
SUBMIT = """
import sys, time
from pathlib import Path
from zoo.run.launcher import Job
from zoo_ray.launcher import RayLauncher
store, count = Path(sys.argv[1]), int(sys.argv[2])
folders = [store / "data" / "model" / str(number) for number in range(count)]
jobs = [Job(run_dir=folder, command=("sleep", "600"), cwd=store) for folder in folders]
launcher = RayLauncher()
def timed(name, function):
    began = time.monotonic()
    found = function()
    print(f"{name} {time.monotonic() - began:.2f} s", end=", " if name != "cancel" else "")
    return found
handles = timed("submit", lambda: launcher.submit(jobs))
timed("ask", lambda: launcher.poll(handles))
timed("ask again", lambda: launcher.poll(handles))
timed("attach", lambda: RayLauncher().poll(handles))
timed("cancel", lambda: launcher.cancel(handles))
"""
MEMORY = """
import sys, time
from pathlib import Path
from zoo.run.launcher import Job
from zoo_ray.launcher import RayLauncher
folder = Path(sys.argv[1])
launcher = RayLauncher()
handles = launcher.submit([Job(run_dir=folder, command=("sleep", "60"), cwd=folder)])
until = time.monotonic() + 90
while (state := launcher.poll(handles)[0]).kind != "ended" and time.monotonic() < until:
    time.sleep(1)
print(f"{state.kind}, {state.reason}: {state.detail}")
"""


@dataclass
class Nodes:
    """The cluster.

    Args:
        cluster: Cluster of Ray.
        second: Its second node.
    """

    cluster: Any
    second: Any

    def kill(self) -> None:
        """Kill all processes of the second node."""
        self.cluster.remove_node(self.second, allow_graceful=False)

    def revive(self) -> None:
        """Start a second node again."""
        self.second = self.cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")

    def workers(self, node: Any) -> list[int]:
        """Return the processes of the actors on a node whose cells are at work: they have a process of their own."""
        raylet = node.all_processes["raylet"][0].process.pid
        found, parents = [], set()
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, parent = path.read_text().rpartition(")")[2].split()[:2]
                name = (path.parent / "cmdline").read_bytes()
                if state == "Z":
                    continue
                parents.add(int(parent))
                if name.startswith(b"ray::Cell") and int(parent) == raylet:
                    found.append(int(path.parent.name))
        return [process for process in found if process in parents]


def main() -> None:
    """Run everything and print or record the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="record the figures")
    parser.add_argument("--jobs", type=int, default=500, help="jobs whose submission is timed")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run; default: all")
    parser.add_argument("--local", type=Path, help="store of a local run, which is completed; default: a new one")
    arguments = parser.parse_args()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also under nohup: the closed terminal is part of the trial
    # Before Ray is imported, which looks at them once.
    os.environ |= {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    figures = [("Ray", importlib.metadata.version("ray"))]
    with tempfile.TemporaryDirectory(prefix="ray") as text:
        folder = Path(text)
        before = listening()
        if set(arguments.parts) - {"memory"}:
            with cluster(folder) as nodes:
                addresses = sorted({line.rpartition(":")[0] for line in listening() - before})
                figures.append(("addresses on which the cluster listens", ", ".join(addresses)))
                if "kit" in arguments.parts:
                    (folder / "kit").mkdir()
                    began = time.monotonic()
                    subprocess.run([sys.executable, "-c", KIT, str(folder / "kit")], check=True)
                    words = "kept: 1, 2 and 5 jobs, bad ends, cancel, attach, again"
                    figures.append(("conformance check of launchers", f"{words} ({time.monotonic() - began:.0f} s)"))
                if "submission" in arguments.parts:
                    (folder / "many").mkdir()
                    command = [sys.executable, "-c", SUBMIT, str(folder / "many"), str(arguments.jobs)]
                    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
                    figures.append((f"{arguments.jobs} jobs, one call each", said))
                if "suite" in arguments.parts:
                    figures += suite(folder, nodes, arguments.local)
        if "memory" in arguments.parts:
            with cluster(folder, memory_usage_threshold=0.01, memory_monitor_refresh_ms=500):
                run_dir = folder / "memory" / "data" / "model" / "run"
                run_dir.mkdir(parents=True)
                command = [sys.executable, "-c", MEMORY, str(run_dir)]
                said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
                figures.append(("memory of a node exhausted (threshold of Ray's monitor: 1%)", said))
    page = "\n".join(f"| {name} | {value} |" for name, value in figures)
    print(page)
    if arguments.write:
        record(
            "Ray",
            "By `benchmarks/on_ray.py --write`: two nodes with one core each on one machine of two cores.\n\n"
            f"| what | figure |\n| --- | --- |\n{page}\n",
        )


@contextlib.contextmanager
def cluster(folder: Path, **config: Any) -> Iterator[Nodes]:
    """Start Ray on the loopback, with a token."""
    os.environ["ZOO_CACHE"] = str(folder / "cache")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False, "temp_dir": str(folder / "ray")}
    running = Cluster(initialize_head=True, head_node_args={**head, "_system_config": config} if config else head)
    nodes = Nodes(running, None)
    nodes.revive()
    os.environ["RAY_ADDRESS"] = running.address
    try:
        yield nodes
    finally:
        running.shutdown()


def listening() -> set[str]:
    """Return the addresses with ports on which processes of this machine listen."""
    command = ["ss", "--no-header", "--listening", "--tcp", "--numeric"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[3] for line in lines}


def begins(nodes: Nodes, node: Any) -> None:
    """Wait for a cell to begin on a node; one that is there already may end before its node is missed."""
    there = nodes.workers(node)
    wait(lambda: set(nodes.workers(node)) - set(there) != set(), "a cell that begins")


def suite(folder: Path, nodes: Nodes, local: Path | None) -> list[tuple[str, str]]:
    """Return what became of 24 cells on a cluster that misbehaves."""
    (folder / "cells.py").write_text(NETWORKS)
    (folder / "suite.toml").write_text(SUITE)
    zoo = [sys.executable, "-m", "zoo", "--plugin", str(TOYS), "--plugin", str(folder / "cells.py")]
    bench = [*zoo, "bench", str(folder / "suite.toml"), "--device", "cpu"]
    there, here = folder / "there", local or folder / "here"
    command = [*bench, "--store", str(there), "--launcher", "ray", "--launcher-set", "n05.minutes=1.5"]
    said = folder / "said"

    def results() -> int:
        return len(list(there.glob("*/*/*/result.json")))

    def handles() -> dict[str, str]:
        paths = there.glob("*/*/*/job.json")
        return {path.parent.parent.name: json.loads(path.read_text())["handle"].split()[0] for path in paths}

    began = time.monotonic()
    print("the suite is submitted", flush=True)
    subprocess.run([*command, "--detach"], stdout=subprocess.DEVNULL, check=True)
    detached = time.monotonic() - began
    queued = handles()
    wait(lambda: results() >= 2, "two results", 600)
    asked = [*zoo, "status", "--store", str(there), "--json"]
    status = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    states = Counter(row["state"] for row in json.loads(status))
    print("a second command attaches", states, flush=True)
    with said.open("wb") as file:
        second = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True)
    wait(lambda: results() >= 5, "five results", 600)
    twice = sum(queued.get(name) != handle for name, handle in handles().items())
    begins(nodes, nodes.second)
    lost = len(nodes.workers(nodes.second))
    print("the second node is killed under", lost, flush=True)
    nodes.kill()
    wait(lambda: "failed); it is submitted again" in said.read_text(), "the node to be missed")
    nodes.revive()
    begins(nodes, nodes.cluster.head_node)
    print("a worker is killed", flush=True)
    os.kill(nodes.workers(nodes.cluster.head_node)[0], signal.SIGKILL)
    wait(lambda: "died" in said.read_text(), "the worker to be missed")
    second.send_signal(signal.SIGHUP)
    second.wait(60)
    print("the command has ended with", second.returncode, flush=True)
    kept = handles()
    with said.open("ab") as file:
        third = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
    wait(lambda: third.poll() is not None, "the third command", 1800)
    seconds = time.monotonic() - began
    again = [line for line in said.read_text().splitlines() if "submitted again" in line]
    print(f"{len(kept)} jobs were kept; the local run", flush=True)
    subprocess.run([*bench, "--store", str(here), "--jobs", "4"], stdout=subprocess.DEVNULL, check=True)
    slow = next(there.glob("*/cells.n05/*/log.txt")).read_text()
    print("\n".join(again))
    return [
        ("suite", f"{len(queued)} cells queued; `--detach` returned after {detached:.0f} s"),
        ("`zoo status` meanwhile", ", ".join(f"{count} {state}" for state, count in sorted(states.items()))),
        ("attached", f"jobs that the second command submitted twice: {twice}"),
        ("killed node", f"cells under it: {lost}; submitted again: {sum('failed)' in line for line in again)}"),
        ("killed worker", f"submitted again: {sum('died' in line for line in again)}"),
        (
            "cell that met its time limit",
            f"stopped {slow.count('Stopped by')} times; submitted again: {sum('time limit' in line for line in again)}",
        ),
        ("closed terminal", f"exit code {second.returncode}; the third command ended with {third.returncode}"),
        ("all of it", f"{seconds:.0f} s"),
        ("results equal to those of the local run", same(there, here)),
    ]


if __name__ == "__main__":
    main()
