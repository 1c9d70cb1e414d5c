"""Time the README's first command on a fresh clone with an empty image cache, on an otherwise idle machine.

    uv run python benchmarks/first_command.py                  # clone, install, simulate, train; print the time
    uv run python benchmarks/first_command.py --data modelA    # the same command on another data set
    uv run python benchmarks/first_command.py --write          # add it to the record, and write the page
    uv run python benchmarks/first_command.py --page           # the page again, from the record

The command is read from the README; `pip install uv` is left out, since this script needs uv, too. Packages come from
where uv finds them, its own cache included. Installing them counts, and is measured separately, too: `uv sync` does
first what `uv run` would.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
RECORD, PAGE = RESULTS / "first_command.jsonl", RESULTS / "first_command.md"
INSTALLS = "pip install uv && "

_ABOUT = """\
# The first command, from a fresh clone to its table

Written by `uv run python benchmarks/first_command.py --write` from [first_command.jsonl](first_command.jsonl).

Each row is one whole command in a fresh clone with an empty image cache on an otherwise idle machine: installation,
simulation of all images, training, baselines, test. uv's cache held the packages, so their download is not part of
the time; `-`: the installation was not measured separately. Rows of one processor and command are of successive
versions of this repository; the newest is last. Rows of one commit differ by the speed of the machine only.
"""


def command(data: str | None = None) -> str:
    """Return the first command of the README, without the installation of uv.

    Args:
        data: Data set in place of the README's.

    Raises:
        ValueError: The README's first block does not begin with it, or names no data set.
    """
    found = re.search(rf"```bash\n{re.escape(INSTALLS)}(.*)\n```", README.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{README} has no block that begins with: {INSTALLS}")
    if data is None:
        return found[1]
    line, replaced = re.subn(r"--data \S+", lambda _: f"--data {shlex.quote(data)}", found[1])
    if not replaced:
        raise ValueError(f"{found[1]} names no data set.")
    return line


def page(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of the record's lines."""
    titles = ["date", "commit", "command", "machine", "precision", "time", "installation in it", "macro AUC"]
    rows = [" | ".join(titles), " | ".join(["---"] * 5 + ["---:"] * 3)]
    for line in sorted(lines, key=lambda line: (line["processor"], line["command"])):
        cells = [line["date"], f"`{line['commit'][:8]}`", f"`{line['command']}`"]
        cells += [f"{line['processor']}, {line['cores']} cores", line["precision"], shown_time(line["seconds"])]
        cells += [f"{line['install_seconds']:.0f} s" if "install_seconds" in line else "-", f"{line['macro_auc']:.4f}"]
        rows.append(" | ".join(cells))
    return _ABOUT + "\n" + "".join(f"| {row} |\n" for row in rows)


def shown_time(seconds: float) -> str:
    """Return 457.6 as "7 min 38 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def measure(data: str | None = None) -> dict[str, Any]:
    """Return a line of the record; `data` as in `command`."""
    line = command(data)
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "zoo")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        left_out = {"PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "OMP_NUM_THREADS"}
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        environment["ZOO_CACHE"] = str(Path(folder, "cache"))
        began = time.perf_counter()
        subprocess.run(["uv", "sync"], cwd=clone, env=environment, check=True)
        installed = time.perf_counter()
        subprocess.run(line, shell=True, cwd=clone, env=environment, check=True)
        ended = time.perf_counter()
        [trained, *_] = (
            result
            for path in sorted(clone.glob("results/*/*/*/result.json"))
            if "/gconv.p4m/" in str(path) and (result := json.loads(path.read_text(encoding="utf-8")))
        )
    machine = trained["environment"]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip(),
        "command": line,
        "processor": machine["processor"],
        "cores": machine["cores"],
        "precision": trained["cell"]["precision"],
        "seconds": round(ended - began, 1),
        "install_seconds": round(installed - began, 1),
        "macro_auc": trained["test"]["auc"]["macro"],
    }


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="NAME", help="Run the command on this data set.")
    parser.add_argument("--write", action="store_true", help="Add the time to the record, and write the page.")
    parser.add_argument("--page", action="store_true", help="Write the page from the record, and measure nothing.")
    options = parser.parse_args()
    if options.page and (options.data or options.write):
        parser.error("--page takes no other option.")
    if not options.page:
        line = measure(options.data)
        print(json.dumps(line, indent=1))
        if options.write:
            with RECORD.open("a", encoding="utf-8") as record:
                record.write(json.dumps(line) + "\n")
    if options.page or options.write:
        lines = [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]
        PAGE.write_text(page(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
