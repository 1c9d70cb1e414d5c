"""Run the headline experiment piece by piece, and write docs/results.md from what is stored.

    uv run python benchmarks/headline.py                        # everything that is missing; interrupt it at any moment
    uv run python benchmarks/headline.py --minutes 9            # at most nine minutes of it; again goes on
    uv run python benchmarks/headline.py --write                # docs/results.md from the store; trains nothing
    uv run python benchmarks/headline.py --budget laptop --model p4m,p4,z2    # what two CPU cores can do

The pieces: the table (headline.toml), two more seeds of the leading four, AUC against the number of images
(few_images.toml), and every network of the table on the other data set, fainter, blurred and turned. Everything is
stored in small files under --store (default: results/headline); no image is.
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

import zoo
from zoo.harness import store as result_store
from zoo.harness.budget import BUDGETS
from zoo.harness.comparison import group_variants
from zoo.paths import make_dir, written_whole

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "results.md"
DATA = ("modelA", "modelB")
LEADING = "gconv/p4m,gconv/p4m_resnet18,gconv/octic,escnn/d8"

# One-vs-rest AUC of no substructure, sub-halo, vortex, and micro; single runs, checkpoint chosen on the test set.
# DeepLense's equivariant project of 2021, 75,000 training images of 129 x 129; see docs/populations.md.
PUBLISHED = {
    "modelA": {
        "ResNet-18": (0.9969, 0.9845, 0.9974, 0.9942),
        "e2cnn C4": (0.9986, 0.9942, 0.9986, 0.9969),
        "e2cnn C8": (0.9991, 0.9976, 0.9995, 0.9984),
        "e2cnn D4": (0.9994, 0.9969, 0.9994, 0.9982),
        "e2cnn D8": (0.9988, 0.9964, 0.9991, 0.9979),
    },
    "modelB": {
        "ResNet-18": (0.9920, 0.9632, 0.9908, 0.9848),
        "e2cnn C4": (0.9942, 0.9868, 0.9954, 0.9929),
        "e2cnn C8": (0.9958, 0.9887, 0.9966, 0.9950),
        "e2cnn D4": (0.9956, 0.9895, 0.9970, 0.9947),
        "e2cnn D8": (0.9962, 0.9914, 0.9986, 0.9961),
    },
}
GOALS = {"modelA": 0.9984, "modelB": 0.9961}
CLASSES = ("no_substructure", "subhalo", "vortex")

# What a network meets that it was not trained on: name -> arguments of zoo.evaluate for a data set.
SHIFTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "own test images": lambda data: {},
    "the other model": lambda data: {"data": DATA[1 - DATA.index(data)]},
    # Model A has SNR 34 by its source's peak, Model B draws 10 to 30.
    "half the SNR": lambda data: {"snr": 17.0, "peak": None} if data == "modelA" else {"snr": "U(5, 15)"},
    "PSF 1.5 times as wide": lambda data: {"psf_width": 0.15},
    "turned by 17 degrees": lambda data: {"angle": 17.0},
    "turned by 45 degrees": lambda data: {"angle": 45.0},
}


def main() -> int:
    """Run pieces until all are done or the time is up; return 0 when nothing is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("results/headline"))
    parser.add_argument("--budget", choices=list(BUDGETS), default="paper")
    parser.add_argument("--model", help="only these models; names by commas")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--only-table", action="store_true", help="leave out further seeds and few images")
    parser.add_argument("--test-images", type=int, help="for the shifted data; default: as many as the budget tests on")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} and train nothing")
    options = parser.parse_args()
    if options.write:
        with written_whole(PAGE) as temporary:
            temporary.write_text(page(options.store), encoding="utf-8")
        print(f"wrote {PAGE}")
        return 0
    deadline = time.monotonic() + 60 * options.minutes
    for command in trainings(options):
        print("$ zoo", *command, flush=True)
        if not run_until(deadline, [sys.executable, "-m", "zoo", *command]):
            print("The time is up; the same command goes on.")
            return 75  # as sysexits.h says of a temporary failure: try again
    for result in good_results(options.store):
        for shift in SHIFTS:
            if time.monotonic() > deadline:
                print("The time is up; the same command goes on.")
                return 75
            evaluate_shift(options.store, result, shift, images=options.test_images)
    print(f"Nothing is missing. The page: {sys.argv[0]} --store {options.store} --write")
    return 0


def trainings(options: argparse.Namespace) -> Iterator[list[str]]:
    """Yield the words of every `zoo bench` that the experiment takes; what is stored costs each of them no time."""
    common = ["--budget", options.budget, "--store", str(options.store)]
    chosen = ["--model", options.model] if options.model else []
    yield ["bench", str(HERE / "headline.toml"), *common, *chosen]
    if not options.only_table:
        yield ["bench", str(HERE / "headline.toml"), *common, *(chosen or ["--model", LEADING]), "--seeds", "1-2"]
        yield ["bench", str(HERE / "few_images.toml"), *common, *chosen]


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


def good_results(store: Path, *, few: bool = False) -> list[Mapping[str, Any]]:
    """Return the results that ended well: of whole training sets, or of those with few images too."""
    found = [result for result in result_store.results(store) if result["status"] == "ok"]
    whole = {name: budget.sizes["train"] for name, budget in BUDGETS.items()}
    return [r for r in found if few or r["cell"]["sizes"]["train"] == whole[r["cell"]["budget"]]]


def evaluate_shift(store: Path, result: Mapping[str, Any], shift: str, *, images: int | None) -> None:
    """Score a run's weights on shifted data, unless that is stored, and store it."""
    path = store / "shifts" / result["run_id"] / f"{shift.replace(' ', '-')}.json"
    if path.exists():
        return
    count = images or result["cell"]["sizes"]["test"]
    print(f"{result['cell']['model']} of {name_of(result)}: {shift}", flush=True)
    found = zoo.evaluate(Path(result["run_dir"]), images=count, device="auto", **SHIFTS[shift](name_of(result)))
    make_dir(path.parent)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")


def name_of(result: Mapping[str, Any]) -> str:
    """Return the bare name of a result's data set."""
    return str(result["cell"]["recipe"]["dataset"]).rpartition("/")[2]


def page(store: Path) -> str:
    """Return docs/results.md.

    Raises:
        SystemExit: there is nothing to write about.
    """
    results = good_results(store)
    if not results:
        sys.exit(f"There are no results in {store}. First: uv run python benchmarks/headline.py")
    budgets = sorted({result["cell"]["budget"] for result in results})
    gpus = sorted({str(result["environment"].get("gpu") or "no GPU") for result in results})
    parts = [
        "# Results",
        "",
        "Written by `benchmarks/headline.py --write` from stored runs: no number is typed in.",
        "",
        f"Budget {', '.join(budgets)}; machine: {', '.join(gpus)}. "
        + " ".join(f"{BUDGETS[name].note[0].upper()}{BUDGETS[name].note[1:]}." for name in budgets),
        *([] if "paper" in budgets else ["", MISSING]),
    ]
    for data in DATA:
        own = [result for result in results if name_of(result) == data]
        if own:
            parts += [
                "",
                f"## {data}",
                "",
                *score_table(own, data),
                "",
                *time_table(own, data),
                "",
                *shift_table(own, store),
            ]
    parts += few_table(good_results(store, few=True))
    return "\n".join(parts) + "\n"


MISSING = (
    "**The paper-size table is missing**: 67,500 training images of 150 x 150 pixels at the published masses need a\n"
    "GPU, and none was at hand. What stands here shows that everything runs, on an easier problem; the published\n"
    "numbers are quoted for orientation, and nothing here says that they are reached or beaten."
)


def score_table(results: Sequence[Mapping[str, Any]], data: str) -> list[str]:
    """Return the lines of a Markdown table: ours, best mean micro AUC first, then the published ones."""
    lines = [
        "| network | seeds | parameters | MMACs | none | sub-halo | vortex | micro | macro (95 %) | group error |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    variants = group_variants(results)
    for variant in sorted(variants, key=lambda variant: -mean(variant.auc("micro"))):
        first = variant.results[0]
        low, high = first["test"]["intervals"]["auc.macro"]
        areas = " | ".join(area(mean(variant.auc(name))) for name in (*CLASSES, "micro"))
        macro = f"{area(mean(variant.auc()))} ({area(low)} to {area(high)})"
        lines.append(
            f"| `{variant.name}` | {len(variant.results)} | {first['cost']['parameters']:,} | "
            f"{first['cost']['macs'] / 1e6:.1f} | {areas} | {macro} | "
            f"{first['equivariance']['trained']['error']:.0e} |"
        )
    for name, areas in PUBLISHED[data].items():
        lines.append(f"| *published: {name}* | 1 | | | {' | '.join(area(value) for value in areas)} | | |")
    return [
        *lines,
        "",
        "The interval is that of the first seed's test images; equivariance is the error under the declared group.",
    ]


def time_table(results: Sequence[Mapping[str, Any]], data: str) -> list[str]:
    """Return lines that say when each network's validation AUC reached the goals, simulation included."""
    plain = [max(e["val_auc"] for e in history(r)) for r in results if r["cell"]["model"] == "timm/resnet18"]
    goals = {f"{GOALS[data]:.4f}": GOALS[data]} | ({"ResNet-18's best": max(plain)} if plain else {})
    lines = [
        "| network | images/s | peak MiB | "
        + " | ".join(f"minutes to {name}" for name in goals)
        + " | minutes in all |",
        "| --- | ---: | ---: | " + " | ".join("---:" for _ in goals) + " | ---: |",
    ]
    for variant in group_variants(results):
        first = variant.results[0]
        simulated = first["cost"]["simulation_seconds"]
        cells = []
        for goal in goals.values():
            elapsed, reached = simulated, ""
            for entry in history(first):
                elapsed += entry["seconds"]
                if entry["val_auc"] >= goal:
                    reached = f"{elapsed / 60:.1f}"
                    break
            cells.append(reached or "not reached")
        lines.append(
            f"| `{variant.name}` | {first['cost']['train_images_per_second']:,.0f} | "
            f"{first['cost']['peak_memory_bytes'] / 2**20:,.0f} | {' | '.join(cells)} | {first['seconds'] / 60:.1f} |"
        )
    note = (
        "Minutes until the validation images' macro AUC is reached, with the simulation of the images where this run "
        "made them (a run that found them in the cache has none)."
    )
    return [note, "", *lines]


def shift_table(results: Sequence[Mapping[str, Any]], store: Path) -> list[str]:
    """Return the lines of a table of macro AUC on data that the networks were not trained for."""
    lines = ["| network | " + " | ".join(SHIFTS) + " |", "| --- |" + " ---: |" * len(SHIFTS)]
    for result in sorted(results, key=lambda result: -result["test"]["auc"]["macro"]):
        if result["cell"]["seed"]:
            continue
        cells = []
        for shift in SHIFTS:
            path = store / "shifts" / result["run_id"] / f"{shift.replace(' ', '-')}.json"
            cells.append(area(json.loads(path.read_text())["auc"]["macro"]) if path.exists() else "")
        lines.append(f"| `{result['cell']['model']}` | {' | '.join(cells)} |")
    return ["Macro AUC of the same weights on other images:", "", *lines]


def few_table(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table of macro AUC against the number of training images, if there is more than one."""
    sizes = sorted({result["cell"]["sizes"]["train"] for result in results})
    if len(sizes) < 2:
        return []
    lines = ["", "## Few images", "", "Macro AUC, mean over seeds (standard deviation between them; number of seeds)."]
    for data in DATA:
        own = [result for result in results if name_of(result) == data]
        models = sorted({result["cell"]["model"] for result in own})
        lines += [
            "",
            f"| {data} | " + " | ".join(f"{size:,}" for size in sizes) + " |",
            "| --- |" + " ---: |" * len(sizes),
        ]
        for model in models:
            cells = []
            for size in sizes:
                found = [
                    r["test"]["auc"]["macro"]
                    for r in own
                    if (r["cell"]["model"], r["cell"]["sizes"]["train"]) == (model, size)
                ]
                spread = (sum((a - mean(found)) ** 2 for a in found) / (len(found) - 1)) ** 0.5 if len(found) > 1 else 0
                cells.append(f"{area(mean(found))} ({spread:.4f}; {len(found)})" if found else "")
            lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return lines


def history(result: Mapping[str, Any]) -> list[dict[str, float]]:
    """Return the epochs of a run."""
    text = (Path(result["run_dir"]) / result_store.HISTORY).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


def area(value: float) -> str:
    """Return .9984 for 0.9984."""
    return f"{value:.4f}".removeprefix("0")


if __name__ == "__main__":
    sys.exit(main())
