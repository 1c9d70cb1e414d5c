"""Run the headline experiment piece by piece, and write docs/results.md and the README's table from what is stored.

    uv run python benchmarks/headline.py                        # everything that is missing; interrupt it at any moment
    uv run python benchmarks/headline.py --minutes 9            # at most nine minutes of it; again goes on
    uv run python benchmarks/headline.py --budget laptop --model p4m,p4,z2    # what two CPU cores can do
    uv run python benchmarks/headline.py --write                # record, docs/results.md, README; trains nothing

The pieces: the table (headline.toml), two more seeds of the leading four, AUC against the number of images
(few_images.toml), what makes the problem hard (difficulty.toml), and every network of the table on the other data set,
fainter, blurred and turned. Everything is stored in small files under --store; no image is.

--write adds what is needed of each run to benchmarks/results/headline.jsonl, a line a run, and writes page and table
from that; runs of several machines come together there. To begin anew, delete that file.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headline_page import full_size, make_page, name_of, readme_table

import zoo
from zoo.harness import store as result_store
from zoo.harness.budget import BUDGETS
from zoo.paths import make_dir, written_whole

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "results.md"
README = HERE.parent / "README.md"
TABLE_BEGINS, TABLE_ENDS = "<!-- benchmarks/headline.py --write -->\n", "\n<!-- until here -->"
RECORD = HERE / "results" / "headline.jsonl"
LEADING = "gconv/p4m,gconv/p4m_resnet18,gconv/octic,escnn/d8"
TRY_AGAIN = 75  # sysexits.h's word for a temporary failure

# What a network meets that it was not trained on: name -> arguments of zoo.evaluate for a data set.
SHIFTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "own test images": lambda data: {},
    "the other model": lambda data: {"data": "modelB" if data == "modelA" else "modelA"},
    # Model A has SNR 34 by its source's peak, Model B draws 10 to 30.
    "half the SNR": lambda data: {"snr": 17.0, "peak": None} if data == "modelA" else {"snr": "U(5, 15)"},
    "PSF 1.5 times as wide": lambda data: {"psf_width": 0.15},
    "turned by 17 degrees": lambda data: {"angle": 17.0},
    "turned by 45 degrees": lambda data: {"angle": 45.0},
}


def main(words: Sequence[str] | None = None) -> int:
    """Run pieces until all are done or the time is up; return 0 when nothing is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("results/headline"))
    parser.add_argument("--budget", choices=list(BUDGETS), default="paper")
    parser.add_argument("--model", help="only these models; names by commas")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--only-table", action="store_true", help="no further seeds, few images or difficulty")
    parser.add_argument("--test-images", type=int, help="for the shifted data; default: as many as the budget tests on")
    parser.add_argument("--write", action="store_true", help="write record, page and README's table; train nothing")
    options = parser.parse_args(words)
    if options.write:
        write(options.store)
        return 0
    deadline = time.monotonic() + 60 * options.minutes
    for command in trainings(options):
        print("$ zoo", *command, flush=True)
        if not run_until(deadline, [sys.executable, "-m", "zoo", *command]):
            print("The time is up; the same command goes on.")
            return TRY_AGAIN
    for result in list(result_store.results(options.store)):
        if result["status"] != "ok" or not full_size(result):
            continue
        for shift in SHIFTS:
            if time.monotonic() > deadline:
                print("The time is up; the same command goes on.")
                return TRY_AGAIN
            evaluate_shift(options.store, result, shift, images=options.test_images)
    print(f"Nothing is missing. The page: {sys.argv[0]} --store {options.store} --write")
    return 0


def trainings(options: argparse.Namespace) -> Iterator[list[str]]:
    """Yield the words of every `zoo bench` that the experiment takes; what is stored costs each of them no time."""
    small = options.budget != "paper"
    common = ["--budget", options.budget]
    chosen = ["--model", options.model] if options.model else []
    stored = ["--store", str(options.store)]
    yield ["bench", str(HERE / "headline.toml"), *common, *stored, *chosen]
    if options.only_table:
        return
    leading = chosen or ["--model", LEADING]
    yield ["bench", str(HERE / "headline.toml"), *common, *stored, *leading, "--seeds", "1-2"]
    # Steps as for the whole set are for a GPU, and ResNet-18 too.
    few, twins = ("few_images_laptop.toml", ["--model", "p4m,z2"]) if small else ("few_images.toml", [])
    yield ["bench", str(HERE / few), *common, *stored]
    yield ["bench", str(HERE / "difficulty.toml"), *common, "--store", str(difficulty(options.store)), *twins]


def difficulty(store: Path) -> Path:
    """Return where the runs of difficulty.toml lie: other images, which no other piece takes."""
    return store / "difficulty"


def run_until(deadline: float, command: Sequence[str]) -> bool:
    """Run a command; interrupt it, as Ctrl-C would, at the deadline. Return whether it ended by itself.

    Raises:
        SystemExit: it could not do anything at all. Cells that failed are shown in the page, and stop nothing.
    """
    with subprocess.Popen(command) as process:
        try:
            code = process.wait(timeout=None if deadline == float("inf") else max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
            return False
    if code not in (0, 1):
        sys.exit(code)
    return True


def evaluate_shift(store: Path, result: Mapping[str, Any], shift: str, *, images: int | None) -> None:
    """Score a run's weights on shifted data, unless that is stored, and store it."""
    path = store / "shifts" / f"{result['run_id']}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if shift in found:
        return
    print(f"{result['cell']['model']} of {name_of(result)}: {shift}", flush=True)
    count = images or result["cell"]["sizes"]["test"]
    scored = zoo.evaluate(Path(result["run_dir"]), images=count, device="auto", **SHIFTS[shift](name_of(result)))
    found[shift] = {name: scored[name] for name in ("auc", "intervals", "accuracy", "images", "angle")}
    make_dir(path.parent)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")


def write(store: Path) -> None:
    """Add a store's runs to the record, and write the page and the README's table from it.

    Raises:
        SystemExit: there is neither.
    """
    found = [*records(store, part="table"), *records(difficulty(store), part="difficulty")] if store.is_dir() else []
    if not found and not RECORD.exists():
        sys.exit(f"There are no results in {store}. First: uv run python benchmarks/headline.py")
    kept = {run["run_id"]: run for run in [*(read_record() if RECORD.exists() else []), *found]}
    with written_whole(RECORD) as temporary:
        temporary.write_text("".join(json.dumps(run) + "\n" for run in kept.values()), encoding="utf-8")
    print(f"wrote {RECORD}, {len(kept)} runs")
    runs = read_record()
    before, found, rest = README.read_text(encoding="utf-8").partition(TABLE_BEGINS)
    _, ends, after = rest.partition(TABLE_ENDS)
    for path, text in (
        (PAGE, make_page(runs)),
        (README, f"{before}{found}{readme_table(runs)}{ends}{after}"),
    ):
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


def records(store: Path, *, part: str) -> Iterator[dict[str, Any]]:
    """Yield what the page needs of each good run: its result, epochs, and scores on shifted data."""
    for result in result_store.results(store) if store.is_dir() else ():
        if result["status"] != "ok":
            continue
        run = {name: value for name, value in result.items() if name not in ("run_dir", "files")}
        run["environment"] = {name: value for name, value in run["environment"].items() if name != "platform"}
        text = (Path(result["run_dir"]) / result_store.HISTORY).read_text(encoding="utf-8")
        shifts = store / "shifts" / f"{result['run_id']}.json"
        yield run | {
            "part": part,
            "history": [json.loads(line) for line in text.splitlines()],
            "shifts": json.loads(shifts.read_text(encoding="utf-8")) if shifts.exists() else {},
        }


def read_record() -> list[dict[str, Any]]:
    """Return the recorded runs."""
    return [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    sys.exit(main())
