"""Time the README's first command on a fresh clone with an empty image cache, on an otherwise idle machine.

    uv run python benchmarks/first_command.py             # clone, install, simulate, train; print the time
    uv run python benchmarks/first_command.py --write     # add it to benchmarks/results/first_command.jsonl

The command is read from the README; `pip install uv` is left out, since this script needs uv, too. Packages come from
where uv finds them, its own cache included. Installing them counts, and is measured separately, too: `uv sync` does
first what `uv run` would.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RECORD = ROOT / "benchmarks" / "results" / "first_command.jsonl"
INSTALLS = "pip install uv && "


def command() -> str:
    """Return the first command of the README, without the installation of uv.

    Raises:
        ValueError: The README's first block does not begin with it.
    """
    found = re.search(rf"```bash\n{re.escape(INSTALLS)}(.*)\n```", README.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{README} has no block that begins with: {INSTALLS}")
    return found[1]


def measure() -> dict[str, Any]:
    """Return a line of the record."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "zoo")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        left_out = {"PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "OMP_NUM_THREADS"}
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        environment["ZOO_CACHE"] = str(Path(folder, "cache"))
        began = time.perf_counter()
        subprocess.run(["uv", "sync"], cwd=clone, env=environment, check=True)
        installed = time.perf_counter()
        subprocess.run(command(), shell=True, cwd=clone, env=environment, check=True)
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
        "command": command(),
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
    parser.add_argument("--write", action="store_true", help="Add the time to the record.")
    options = parser.parse_args()
    line = measure()
    print(json.dumps(line, indent=1))
    if options.write:
        with RECORD.open("a", encoding="utf-8") as record:
            record.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
