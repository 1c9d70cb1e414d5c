"""Count the file operations in a store while many cells run: those of the command that waits, and those of a cell.

The cells are pretended: their launcher states that they run, and each has a progress file. The command is `zoo bench`
without its plan; the process of a cell reports its progress twenty times a second. Calls are counted by strace.

    uv run python benchmarks/many_cells.py [--cells 500] [--seconds 30]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from zoo.cli.watch import Watcher
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.progress import INTERVAL_VARIABLE, ProgressFile, interval_beside
from zoo.results.store import PROGRESS
from zoo.run.launch import Launch
from zoo.run.launcher import Job
from zoo.run.matrix import CellState, run_matrix
from zoo.run.where import Where

PLUGIN = """
from zoo import LauncherSpec, hookimpl

@hookimpl
def zoo_launchers():
    target = "many_cells:Pretended"
    return [LauncherSpec(id="pretended/queue", target=target, summary="pretended jobs", outlives=True)]
"""
BEGIN, END = "counting-begins", "counting-ends"


class Pretended:
    """A launcher whose jobs run for ever."""

    poll_seconds = 30.0

    def submit(self, jobs: list[Job]) -> list[str]:
        """Return a handle for each job, whose progress file is there."""
        for job in jobs:
            ProgressFile(job.run_dir / PROGRESS).report("train", 1, 2)
        return [str(job.run_dir) for job in jobs]

    def poll(self, handles: list[str]) -> list[str]:
        """State that all jobs run."""
        return ["running"] * len(handles)

    def cancel(self, handles: list[str]) -> None:
        """Do nothing."""


def wait(store: Path, *, cells: int, seconds: float) -> None:
    """Wait for cells as `zoo bench` does."""
    plugin = store.parent / "pretended.py"
    plugin.write_text(PLUGIN)
    host = load_plugins(files=[plugin], environment=dict(os.environ))
    request = Request(models=["z2"], data=["modelA"], budget="smoke", device="cpu", seeds=range(cells), baselines=False)
    plan = make_plan(host, request)
    end = 0.0

    def watch(states: list[CellState]) -> None:
        nonlocal end
        watcher.watch(states)
        if not end:
            end = time.monotonic() + seconds
            (store / BEGIN).exists()
        if time.monotonic() > end:
            (store / END).exists()
            raise KeyboardInterrupt

    with Watcher() as watcher, contextlib.suppress(KeyboardInterrupt):
        run_matrix(
            host, plan, store=store, where=Where(device="cpu"), launch=Launch(launcher="pretended/queue"), watch=watch
        )  # fmt: skip


def report(store: Path, *, cells: int, seconds: float) -> None:
    """Report the progress of a cell beside others."""
    os.environ[INTERVAL_VARIABLE] = str(interval_beside(cells))
    file, steps = ProgressFile(store / PROGRESS), int(20 * seconds)
    (store / BEGIN).exists()
    for step in range(steps):
        file.report("train", step, steps)
        time.sleep(1 / 20)
    (store / END).exists()


ROLES = {"wait": wait, "report": report}


def calls(role: str, *, cells: int, seconds: float) -> float:
    """Return the calls a second of a role that name a file of the store."""
    with tempfile.TemporaryDirectory() as name:
        store, trace = Path(name, "store"), Path(name, "trace")
        store.mkdir()
        command = [sys.executable, __file__, "--cells", str(cells), "--seconds", str(seconds), "--role", role]
        subprocess.run(
            ["strace", "-f", "-e", "trace=%file", "-o", str(trace), *command, "--store", str(store)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        lines = trace.read_text(errors="replace").splitlines()
    marks = [next(place for place, line in enumerate(lines) if mark in line) for mark in (BEGIN, END)]
    return sum(str(store) in line for line in lines[marks[0] + 1 : marks[1]]) / seconds


def main() -> None:
    """Print the calls a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role:
        ROLES[given.role](given.store, cells=given.cells, seconds=given.seconds)
        return
    waits, own = (calls(role, cells=given.cells, seconds=given.seconds) for role in ROLES)
    print("| cells | command, calls a second | of each cell | a cell itself | both |\n| --- | --- | --- | --- | --- |")
    each = waits / given.cells
    print(f"| {given.cells} | {waits:.0f} | {each:.2f} | {own:.2f} | {each + own:.2f} |")


if __name__ == "__main__":
    main()
