"""Try the launcher of Slurm on a real Slurm of this machine, and record what happened.

A cluster of two nodes is started by plugins/submitit/tests/slurm_here.sh (as root, with Slurm's packages installed).
The conformance check of launchers runs on it, and one network is trained on both nodes. Then a suite of 24 smoke cells
of toy networks is submitted; one of them trains longer than its time limit. A node is killed under its cells, the
command is ended as by a closed terminal and started again, and the results are compared with those of a local run.

    uv run python benchmarks/slurm.py [--write] [--parts kit submission stops nodes suite] [--local STORE]

--write records the figures in benchmarks/results/launchers.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from launcher_suite import NETWORKS, SUITE, TOYS, record, same, wait

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "plugins" / "submitit" / "tests" / "slurm_here.sh"
PARTS = ("kit", "submission", "stops", "nodes", "suite")
COUNTED = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
SLURM = ("minutes=30", "signal_seconds=1620", "cpus=1", "poll_seconds=5")
KIT = """
import sys
from pathlib import Path
from zoo.host import load_plugins
from zoo.testing.launchers import check_launcher
check_launcher(load_plugins(environment={}), "submitit/slurm", Path(sys.argv[1]), options={"poll_seconds": 1.0})
"""
SUBMIT = """
import sys
from pathlib import Path
from zoo.run.launcher import Job
from zoo_submitit.slurm import SlurmLauncher
store, count = Path(sys.argv[1]), int(sys.argv[2])
jobs = [Job(run_dir=store / "data" / "model" / str(number), command=("true",), cwd=store) for number in range(count)]
launcher = SlurmLauncher(sbatch="--hold")
handles = launcher.submit(jobs)
print("submitted", len(handles))
launcher.poll(handles)
launcher.cancel(handles)
"""
STOPPED = """
import sys, time
from pathlib import Path
from zoo.run.launcher import Job, Resources
from zoo_submitit.slurm import SlurmLauncher
run_dir, minutes = Path(sys.argv[1]), float(sys.argv[2])
script = '''
echo "start ${SLURM_RESTART_COUNT:-0}" >>said
trap 'echo stopped >>said; exit 75' TERM
[ -z "$SLURM_RESTART_COUNT" ] || exit 0
sleep 600 & wait
'''
launcher = SlurmLauncher(sbatch="--nodelist=n2", signal_seconds=20)
handles = launcher.submit(
    [Job(run_dir=run_dir, command=("bash", "-c", script), cwd=run_dir, resources=Resources(minutes=minutes))]
)
until = time.monotonic() + 180
while (state := launcher.poll(handles)[0]).kind != "ended" and time.monotonic() < until:
    time.sleep(1)
(run_dir / "state").write_text(f"{state.kind}, {state.reason}")
"""


def main() -> None:
    """Run everything and print or record the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="record the figures")
    parser.add_argument("--jobs", type=int, default=500, help="jobs whose submission is counted")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run; default: all")
    parser.add_argument("--local", type=Path, help="store of a local run, made before; default: it is made")
    arguments = parser.parse_args()
    if shutil.which("slurmctld") is None:
        sys.exit("Slurm is not installed: apt-get install slurmctld slurmd munge slurm-client")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also under nohup: the closed terminal is part of the trial
    with tempfile.TemporaryDirectory(prefix="slurm") as text, cluster(Path(text)) as folder:
        figures = [("Slurm", subprocess.run(["sinfo", "--version"], capture_output=True, text=True).stdout.strip())]
        if "kit" in arguments.parts:
            subprocess.run([sys.executable, "-c", KIT, str(folder / "kit")], check=True)
            figures.append(("conformance check of launchers", "kept: 1, 2 and 5 jobs, bad ends, cancel, attach, again"))
        if "submission" in arguments.parts:
            figures += submission(folder, arguments.jobs)
        if "stops" in arguments.parts:
            figures += stops(folder)
        if "nodes" in arguments.parts:
            figures += nodes(folder)
        if "suite" in arguments.parts:
            figures += suite(folder, arguments.local)
    page = "\n".join(f"| {name} | {value} |" for name, value in figures)
    print(page)
    if arguments.write:
        record(
            "Slurm",
            "By `benchmarks/slurm.py --write`: two nodes on one machine of two cores, without accounting.\n\n"
            f"| what | figure |\n| --- | --- |\n{page}\n",
        )


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Path]:
    """Start Slurm in a folder; its commands are counted in `calls`."""
    subprocess.run([CLUSTER, "start", folder / "slurm"], check=True)
    os.environ["SLURM_CONF"] = str(folder / "slurm" / "slurm.conf")
    (folder / "bin").mkdir()
    for name in COUNTED:
        real = shutil.which(name) or "false"
        path = folder / "bin" / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >>"{folder}/calls"\nexec {real} "$@"\n')
        path.chmod(0o755)
    os.environ["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    os.environ |= {"OMP_NUM_THREADS": "1", "ZOO_CACHE": str(folder / "cache")}
    (folder / "kit").mkdir()
    try:
        yield folder
    finally:
        subprocess.run([CLUSTER, "stop", folder / "slurm"], check=True)


def calls(folder: Path, name: str) -> int:
    """Return how often a command of Slurm was called."""
    path = folder / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(line.split()[0] == name for line in lines)


def submission(folder: Path, count: int) -> list[tuple[str, str]]:
    """Return what it costs to submit, ask for and cancel many jobs."""
    store, trace = folder / "many", folder / "trace"
    store.mkdir()
    before = {name: calls(folder, name) for name in COUNTED}
    command = [sys.executable, "-c", SUBMIT, str(store), str(count)]
    if shutil.which("strace"):
        command = ["strace", "-f", "-e", "trace=%file", "-o", str(trace), *command]
    subprocess.run(command, check=True)
    used = ", ".join(f"{calls(folder, name) - before[name]} {name}" for name in ("sbatch", "squeue", "scancel"))
    figures = [(f"calls to submit, ask for and cancel {count} jobs", used)]
    if trace.exists():
        lines = sum(str(store) in line for line in trace.read_text(errors="replace").splitlines())
        figures.append(("file calls in the store to submit a job", f"{lines / count:.1f}"))
    return figures


def stops(folder: Path) -> list[tuple[str, str]]:
    """Return what became of a job that met its time limit, and of one that was preempted."""
    figures = []
    for name, minutes in (("time limit", "1"), ("preemption", "30")):
        run_dir = folder / "stops" / "data" / "model" / name.replace(" ", "-")
        run_dir.mkdir(parents=True)
        watcher = subprocess.Popen([sys.executable, "-c", STOPPED, str(run_dir), minutes])
        wait(lambda: running("n2") != [], "a job on n2")
        if name == "preemption":
            time.sleep(5)
            urgent = ["sbatch", "--partition=urgent", "--nodelist=n2", "--cpus-per-task=2", "--output=/dev/null"]
            subprocess.run([*urgent, "--wrap=sleep 5"], stdout=subprocess.DEVNULL, check=True)
        watcher.wait(200)
        said = (run_dir / "said").read_text().split("\n")[:-1]
        figures.append((name, f"{', '.join(said)}: {(run_dir / 'state').read_text()}"))
    return figures


def nodes(folder: Path) -> list[tuple[str, str]]:
    """Return how a network that is trained on two nodes compares with one that one process trains."""
    bench = [sys.executable, "-m", "zoo", "--plugin", str(TOYS), "bench", "--model", "toyzoo/tiny", "--data"]
    bench += ["toyzoo/stripes", "--budget", "smoke", "--device", "cpu", "--json"]
    # Both nodes are this machine, and their names are not those of a network.
    settings = ("cpus=1", "minutes=10", "setup=export MASTER_ADDR=127.0.0.1")
    launch = [
        "--num-nodes",
        "2",
        "--launcher",
        "slurm",
        *(word for one in settings for word in ("--launcher-set", one)),
    ]
    found = []
    for name, more in (("one", []), ("two", launch)):
        done = subprocess.run(
            [*bench, "--store", str(folder / name), *more], stdout=subprocess.PIPE, text=True, check=True
        )
        found.append(json.loads(done.stdout)[0])
    (one, one_auc), (two, two_auc) = ((run["cost"]["processes"], run["test"]["auc"]["macro"]) for run in found)
    return [("one network on two nodes", f"{two} processes, macro AUC {two_auc:.4f}; {one} process: {one_auc:.4f}")]


def suite(folder: Path, local: Path | None) -> list[tuple[str, str]]:
    """Return what became of 24 cells on a cluster that misbehaves."""
    (folder / "cells.py").write_text(NETWORKS)
    (folder / "suite.toml").write_text(SUITE)
    zoo = [sys.executable, "-m", "zoo", "--plugin", str(TOYS), "--plugin", str(folder / "cells.py")]
    bench = [*zoo, "bench", str(folder / "suite.toml"), "--device", "cpu"]
    there, here = folder / "there", local or folder / "here"
    before = {name: calls(folder, name) for name in COUNTED}
    began = time.monotonic()
    settings = [word for one in SLURM for word in ("--launcher-set", one)]
    command = [*bench, "--store", str(there), "--launcher", "slurm", *settings]

    def count(name: str) -> int:
        return calls(folder, name) - before[name]

    print("the suite is submitted", flush=True)
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    wait(lambda: len(list(there.glob("*/*/*/result.json"))) >= 3, "three results", 600)
    wait(lambda: running("n2") != [], "a cell on n2")
    lost = running("n2")
    print("a node is killed under", lost, flush=True)
    subprocess.run([CLUSTER, "kill", folder / "slurm", "n2"], check=True)
    first.send_signal(signal.SIGHUP)
    first.wait(60)
    print("the command has ended with", first.returncode, flush=True)
    wait(lambda: state("n2").startswith("down"), "the node to be missed")
    subprocess.run([CLUSTER, "revive", folder / "slurm", "n2"], check=True)
    second = subprocess.run(command, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    print("the local run", flush=True)
    subprocess.run([*bench, "--store", str(here), "--jobs", "4"], stdout=subprocess.DEVNULL, check=True)
    queue = subprocess.run(
        ["squeue", "--noheader", "--array", "--states=all", "--name=zoo", "--Format=JobArrayID:|,State:|,RestartCnt:|"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    rows = [re.split(r"[|\s]+", line.strip()) for line in queue.splitlines()]
    rows = [row for row in rows if row[0].startswith(array_of(there))]
    restarts = {row[0]: int(row[2]) for row in rows}
    slow = next(there.glob("*/cells.n05/*/log.txt")).read_text()
    return [
        ("suite", f"{size_of_array(there)} cells in {count('sbatch') - count_tests(folder, before)} array"),
        (
            "killed node",
            f"cells under it: {len(lost)}; jobs that Slurm started again: {sum(map(bool, restarts.values()))}",
        ),
        ("cell that met its time limit", f"stopped {slow.count('Stopped by')} times before its limit"),
        ("closed terminal", f"exit code {first.returncode}; the second command ended with {second.returncode}"),
        ("states of the jobs in the end", ", ".join(sorted({row[1] for row in rows}))),
        ("questions", f"{count('squeue')} squeue in {seconds:.0f} s (poll_seconds=5), {count('sacct')} sacct"),
        ("results equal to those of the local run", same(there, here)),
    ]


def count_tests(folder: Path, before: dict[str, int]) -> int:
    """Return how often sbatch was called with --test-only since then."""
    lines = [line for line in (folder / "calls").read_text().splitlines() if line.startswith("sbatch")]
    return sum("--test-only" in line for line in lines[before["sbatch"] :])


def array_of(store: Path) -> str:
    """Return the id of the array whose files are in a store."""
    return next((store / "submitit").glob("*_submission.sh")).name.partition("_")[0]


def size_of_array(store: Path) -> int:
    """Return how many jobs the array has whose files are in a store: Slurm forgets those that have ended."""
    script = next((store / "submitit").glob("*_submission.sh")).read_text()
    return int(re.search(r"--array=0-(\d+)", script)[1]) + 1


def running(node: str) -> list[str]:
    """Return the jobs that run on a node."""
    command = ["squeue", "--noheader", "--array", "--states=RUNNING", f"--nodelist={node}", "--format=%i"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def state(node: str) -> str:
    """Return the state of a node."""
    command = ["sinfo", "--noheader", f"--nodes={node}", "--partition=debug", "--format=%T"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
