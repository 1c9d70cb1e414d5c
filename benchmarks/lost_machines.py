"""Make a set of tiny images on simulated machines, kill some of them, and look whether the manifest is whole.

A machine is a process of `--launcher core/local`, or of another launcher of this machine. Those to be killed get
SIGKILL when they have made a few files. The files that they had made must not be made again, `zoo data verify` must
find nothing, and the manifest must be, byte for byte, that of one process which makes the same set.

    uv run python benchmarks/lost_machines.py [--images 200000] [--machines 10] [--killed 2] [--write]

--write records the figures in benchmarks/results/launchers.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher_suite import record

DATA = ("modelA", "--device", "cpu", "--set", "data.image_size=16", "--set", "data.pixel_scale=0.4")
ZOO = (sys.executable, "-m", "zoo")
FILES_BEFORE = 3
"""Files that a machine makes before it is killed."""


def processes(folder: Path) -> Iterator[tuple[int, int]]:
    """Yield process id and number of the machines that make shares of a folder right now."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        if "run-share" in words and words[words.index("run-share") + 1].startswith(f"{folder}/"):
            yield int(path.parent.name), int(Path(words[words.index("run-share") + 1]).parent.name)


def files_of(folder: Path, machine: int, of: int) -> dict[Path, int]:
    """Return path -> time of change of the files that a machine has made of its share."""
    paths = (folder / "train").glob("*.safetensors")
    return {path: path.stat().st_mtime_ns for path in paths if int(path.stem) % of == machine}


def make(folder: Path, *, words: Sequence[str], machines: int, killed: int) -> dict[str, str]:
    """Run a command that makes shares, kill some machines, and return what happened.

    Args:
        folder: Folder of the images.
        words: Words of `zoo simulate`, with its launcher.
        machines: Number of shares.
        killed: Number of machines to kill: the last ones.
    """
    victims: set[int] = set(range(machines - killed, machines))
    before: dict[Path, int] = {}
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        command = subprocess.Popen([*ZOO, "simulate", *words], stdout=said, stderr=said)
        while command.poll() is None:
            for pid, machine in processes(folder) if victims else ():
                if machine in victims and len(made := files_of(folder, machine, machines)) >= FILES_BEFORE:
                    os.kill(pid, signal.SIGKILL)
                    before |= made
                    victims.remove(machine)
            time.sleep(0.05)
        said.seek(0)
        text = said.read()
    if command.returncode or victims:
        sys.exit(f"exit code {command.returncode}, machines not killed: {len(victims)}\n{text}")
    changed = sum(path.stat().st_mtime_ns != when for path, when in before.items())
    return {
        "time, two busy cores": f"{time.monotonic() - started:,.0f} s",
        "killed machines": f"{killed} of {machines}; they had made {len(before)} files",
        "shares given out again": str(text.count("it is submitted again")),
        "files made twice": str(changed),
        "end": next(line for line in text.splitlines() if line.startswith("train: ")),
    }


def main() -> None:
    """Make the set on machines and by one process, compare, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--killed", type=int, default=2)
    parser.add_argument("--launcher", default="core/local", help="core/local or submitit/without_slurm")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    launcher = ["--launcher", given.launcher, "--shards", str(given.machines)]
    if given.launcher == "core/local":
        launcher += ["--jobs", str(given.machines)]
    with tempfile.TemporaryDirectory() as name:
        many, one = Path(name, "many").resolve(), Path(name, "one")
        words = [*DATA, "-n", str(given.images)]
        figures = {"images": f"{given.images:,} of 16 x 16 pixels, {given.launcher}"}
        by_many = [*words, "--out", str(many), *launcher]
        figures |= make(many, words=by_many, machines=given.machines, killed=given.killed)
        verify = subprocess.run([*ZOO, "data", "verify", str(many)], capture_output=True, text=True)
        figures["zoo data verify"] = f"exit code {verify.returncode}"
        subprocess.run([*ZOO, "simulate", *words, "--out", str(one)], check=True)
        same = (many / "manifest.json").read_bytes() == (one / "manifest.json").read_bytes()
        figures["manifest"] = "equal to that of one process, byte for byte" if same else "NOT that of one process"
    rows = [f"| {key} | {value} |" for key, value in figures.items()]
    table = "\n".join(["| what | figure |", "| --- | --- |", *rows])
    print(table)
    if given.write:
        record("Simulated machines", f"By `benchmarks/lost_machines.py`.\n\n{table}")


if __name__ == "__main__":
    main()
