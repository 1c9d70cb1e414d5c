"""Time many jobs on one and on four GPUs of this machine, and check that no GPU gets two at once.

The GPUs are names only, and the jobs sleep: what is measured is the queue of core/local, not a GPU.

    uv run python benchmarks/slots.py [--jobs 24] [--seconds 5] [--write]

--write records the figures in benchmarks/results/launchers.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

from launcher_suite import record

from zoo.run.launcher import Job
from zoo.run.local import LocalLauncher

SLEEP = """
import json, os, sys, time
began = time.time()
time.sleep(float(sys.argv[1]))
json.dump([os.environ["CUDA_VISIBLE_DEVICES"], began, time.time()], open("times.json", "w"))
"""


def run(gpus: int, *, jobs: int, seconds: float, folder: Path) -> float:
    """Return the time in seconds until all jobs have ended.

    Raises:
        SystemExit: A job failed, or two had one GPU at a time.
    """
    folders = [folder / f"{gpus}-{number}" for number in range(jobs)]
    for one in folders:
        one.mkdir()
    launcher = LocalLauncher(gpu_ids=",".join(map(str, range(gpus))))
    command = (sys.executable, "-S", "-c", SLEEP, str(seconds))
    began = time.monotonic()
    handles = launcher.submit([Job(run_dir=one, command=command, cwd=one) for one in folders])
    states = launcher.poll(handles)
    while any(state.kind != "ended" for state in states):
        time.sleep(launcher.poll_seconds)
        states = launcher.poll(handles)
    took = time.monotonic() - began
    if any(state.reason != "ok" for state in states):
        sys.exit(f"not all jobs ended well: {states}")
    times = sorted(json.loads((one / "times.json").read_text()) for one in folders)
    if any(first[0] == second[0] and second[1] < first[2] for first, second in itertools.pairwise(times)):
        sys.exit(f"two jobs had one GPU at a time: {times}")
    return took


def main() -> None:
    """Run the jobs on one GPU, then on four, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        one, four = (run(gpus, jobs=given.jobs, seconds=given.seconds, folder=Path(name).resolve()) for gpus in (1, 4))
    table = f"""\
| what | figure |
| --- | --- |
| jobs | {given.jobs}, each of which sleeps for {given.seconds:g} s |
| one GPU | {one:.1f} s |
| four GPUs | {four:.1f} s, no two jobs on one GPU at a time |
| ratio | {one / four:.2f} |"""
    print(table)
    if given.write:
        record("GPUs of one machine", f"By `benchmarks/slots.py`: pretended GPUs, queue of `core/local`.\n\n{table}")


if __name__ == "__main__":
    main()
