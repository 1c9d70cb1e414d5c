"""Measure the start-up time of the command line, compared with Python and pip.

`zoo list-models`, `zoo --help`, `python -c pass` and `pip --version` alternate, each in a separate
process, so that a busy machine slows all of them. The medians of the rounds and their ratios to `pip --version` are
printed.

    uv run python benchmarks/startup.py [--rounds 15] [--json]

The target is 0.3 s for `zoo list-models` with every plugin of the repository installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time

from zoo.processor import usable_cores

COMMANDS = {
    "zoo list-models": ["-m", "zoo", "list-models"],
    "zoo --help": ["-m", "zoo", "--help"],
    "pip --version": ["-m", "pip", "--version"],
    "python -c pass": ["-c", "pass"],
}
REFERENCE = "pip --version"


def seconds(arguments: list[str]) -> float:
    """Run Python with these arguments once and return the wall time; exit if it fails."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds is {arguments.rounds}; it must be at least 1")

    for command in COMMANDS.values():  # the first start of each reads from disk and compiles bytecode
        seconds(command)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(arguments.rounds):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))

    rows = [
        {
            "command": name,
            "median_seconds": round(statistics.median(measured), 3),
            "lowest_seconds": round(min(measured), 3),
            "highest_seconds": round(max(measured), 3),
            # The load is similar within a round, so the median of ratios varies less than that of times.
            "ratio": round(statistics.median(a / b for a, b in zip(measured, times[REFERENCE], strict=True)), 2),
        }
        for name, measured in times.items()
    ]
    settings = {
        "rounds": arguments.rounds,
        "python": platform.python_version(),
        "plugins": sorted(point.name for point in importlib.metadata.entry_points(group="zoo.plugins")),
        "cores": usable_cores(),
        "load": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }
    if arguments.json:
        print(json.dumps({"settings": settings, "rows": rows}, indent=2))
        return
    print(" ".join(f"{key}={value}" for key, value in settings.items()))
    print(f"{'command':18}{'median s':>10}{'lowest':>10}{'highest':>10}{'x pip':>8}")
    for row in rows:
        print(
            f"{row['command']:18}{row['median_seconds']:10.3f}{row['lowest_seconds']:10.3f}"
            f"{row['highest_seconds']:10.3f}{row['ratio']:8.2f}"
        )


if __name__ == "__main__":
    main()
