"""Compare how fast this commit and an earlier one make finished images on a CPU, in turns on the same machine.

    uv run python benchmarks/finished_images.py 0c0742e5                       # budgets laptop and paper, two minutes
    uv run python benchmarks/finished_images.py 0c0742e5 --budget laptop --rounds 5

Finished images are those that `zoo simulate` stores: rendered, averaged over sub-pixels, with sky and noise. Each round
starts a fresh process of either side, with the variables that `zoo` sets for its trainings. Imports and compilation are
not part of the time. The last column tells whether both sides made the same bits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
IMAGES = {"laptop": 4096, "paper": 1024}


def alone(budget: str) -> dict[str, Any]:
    """Return images per second and the hash of the images, measured in this process."""
    import zoo_caustics

    import zoo
    from zoo.data.open import Dataset
    from zoo.data.shards import SHARD_SIZE
    from zoo.host import load_plugins
    from zoo.plan.cells import make_plan
    from zoo.plan.request import Request

    host = load_plugins(environment={})
    request = Request(models=["gconv/z2"], data=["modelB"], budget=budget, device="cpu", baselines=False)
    [cell] = make_plan(host, request)
    simulation = Dataset(host, cell.recipe, cell.sizes).simulation(expected_images=cell.sizes["train"])
    simulation.shard("train", 0)
    digest, started = hashlib.sha256(), time.perf_counter()
    for number in range(1, 1 + IMAGES[budget] // SHARD_SIZE):
        digest.update(simulation.shard("train", number)["image"].tobytes())
    seconds = time.perf_counter() - started
    code = [str(module.__file__) for module in (zoo, zoo_caustics)]
    return {"rate": IMAGES[budget] / seconds, "images": digest.hexdigest(), "code": code}


def in_a_fresh_process(folder: Path, budget: str) -> dict[str, Any]:
    """Run `alone` with the code of a folder.

    Raises:
        RuntimeError: The process imported other code.
    """
    from zoo.processor import ALLOCATOR

    code = os.pathsep.join(map(str, [folder, *sorted((folder / "plugins").iterdir())]))
    command = [sys.executable, __file__, "--alone", budget]
    done = subprocess.run(
        command, env={**os.environ, **ALLOCATOR, "PYTHONPATH": code}, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if not all(Path(file).is_relative_to(folder) for file in found["code"]):
        raise RuntimeError(f"{found['code']} were imported, not the code in {folder}.")
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", nargs="?", help="Earlier commit.")
    parser.add_argument("--budget", choices=list(IMAGES), help="Measure this budget only.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", choices=list(IMAGES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.alone)))
        return
    if options.before is None:
        parser.error("name the commit to compare with, such as HEAD~1")
    print("| budget | images/s before | images/s now | now over before | same images |")
    print("| --- | --- | --- | ---: | --- |")
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "zoo")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        subprocess.run(["git", "-C", str(clone), "checkout", "-q", options.before], check=True)
        for budget in [options.budget] if options.budget else IMAGES:
            pairs = []
            for number in range(options.rounds):
                sides = (clone, ROOT) if number % 2 == 0 else (ROOT, clone)  # neither is always the first
                measured = {side: in_a_fresh_process(side, budget) for side in sides}
                pairs.append([measured[clone], measured[ROOT]])
            rates = [", ".join(f"{side['rate']:,.0f}" for side in sides) for sides in zip(*pairs, strict=True)]
            ratio = statistics.median(now["rate"] / before["rate"] for before, now in pairs)
            same = "yes" if len({side["images"] for pair in pairs for side in pair}) == 1 else "no"
            print(f"| {budget} | {' | '.join(rates)} | {ratio:.2f} | {same} |", flush=True)


if __name__ == "__main__":
    main()
