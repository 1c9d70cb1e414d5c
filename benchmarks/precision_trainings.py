"""Train a network in float32 and in bf16 with several seeds: does bf16 on a CPU cost accuracy?

    uv run python benchmarks/precision_trainings.py --store DIR           # trains what is missing; may be interrupted
    uv run python benchmarks/precision_trainings.py --store DIR --write   # writes the record and the page; no training
    uv run python benchmarks/precision_trainings.py --store DIR --budget smoke --model z2 --seeds 0-1

A seed has the same training images, initial weights and order of the images in both precisions, and all trainings are
scored on the same test images, in float32. Trainings that benchmarks/results/headline.jsonl holds are not repeated.
The speed of both precisions is measured by benchmarks/precision.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from headline_runs import installed
from page_parts import wrapped
from recorded_trainings import areas, known, read_lines, run_zoo, shared_options, summary, write_both
from scipy.stats import t

from zoo.cli.options import read_seeds
from zoo.plan.bench import plan_bench
from zoo.plan.request import Request
from zoo.plurals import counted
from zoo.results.cell import Cell
from zoo.results.schema import Finished

HERE = Path(__file__).resolve().parent
RECORD = HERE / "results" / "precision_trainings.jsonl"
PAGE = RECORD.with_suffix(".md")
Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
INTRODUCTION = """\
Written by `uv run python benchmarks/precision_trainings.py --store DIR --write`. Trainings of {model} on {data} at
budget {budget} in float32 and in bf16, on CPUs. A seed has the same training images, initial weights and order of
the images in both precisions. Scores are in float32, on the same test images for all trainings, and on as many fresh
ones."""
OTHER_PROCESSORS = """\
The two precisions were not trained on the same processors, which round differently, so the difference is that of
precision and processor together."""


def main(words: Sequence[str] | None = None) -> None:
    """Train what is missing, or write the record and the page."""
    parser = shared_options(__doc__, model="p4m", data="modelA", record=RECORD)
    options = parser.parse_args(words)
    if "," in options.model:
        parser.error("the page has one network")
    if options.write:
        write(options)
        return
    recorded = read_lines().keys() | read_lines(RECORD).keys()
    for precision in PRECISIONS:
        if any(cell.run_id not in recorded for cell in trainings(options, precision)):
            run_zoo(
                "bench", "--model", options.model, "--data", options.data, "--budget", options.budget, "--data-seeds",
                "--seeds", options.seeds, "--precision", precision, "--no-baselines", "--fresh-test", "1",
                "--store", str(options.store),
            )  # fmt: skip
    print("All trainings are complete. The same command with --write writes the page.")


def trainings(options: argparse.Namespace, precision: Precision) -> Sequence[Cell]:
    """Return the cells of one precision."""
    request = Request(
        models=[options.model], data=[options.data], budget=options.budget, seeds=read_seeds(options.seeds),
        data_seeds=True, precision=precision, baselines=False, store=options.store,
    )  # fmt: skip
    return plan_bench(installed(), request).cells


def write(options: argparse.Namespace) -> None:
    """Write the record and the page; trainings that are missing are left out."""
    runs = []
    for precision in PRECISIONS:

        def line(result: Finished, precision: Precision = precision) -> dict[str, Any]:
            about = {"precision": precision, "model": result.cell.model, "data": result.cell.recipe.dataset}
            return about | summary(result) | {"machine": machine(result), "budget": options.budget}

        runs += known(trainings(options, precision), options.store, RECORD, line)
    write_both(RECORD, runs, page(runs))


def machine(result: Finished) -> str:
    """Return where a training ran."""
    where = result.environment
    return f"{where.processor}, {counted(where.threads, 'thread')}, torch {where.libraries['torch']}"


def page(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the page.

    Args:
        runs: Lines of benchmarks/results/precision_trainings.jsonl.
    """
    [(model, data, budget)] = {(run["model"], run["data"], run["budget"]) for run in runs}
    by_precision = {precision: [run for run in runs if run["precision"] == precision] for precision in PRECISIONS}
    lines = [
        "| precision | seeds | test macro AUC | fresh test | deviation between seeds |",
        "| --- | --- | --- | --- | ---: |",
    ]
    for precision, own in by_precision.items():
        deviation = f"{stdev(run['auc'] for run in own):.4f}" if len(own) > 1 else "-"
        lines.append(f"| {precision} | {areas(own)} | {deviation} |")
    machines = [
        f"{precision}: {'; '.join(dict.fromkeys(run['machine'] for run in own))}."
        for precision, own in by_precision.items()
    ]
    introduction = INTRODUCTION.format(model=model, data=data.rpartition("/")[2], budget=budget)
    machines_of = {frozenset(run["machine"] for run in own) for own in by_precision.values()}
    parts = [
        "# Whole trainings in float32 and in bf16",
        wrapped(f"{introduction} {' '.join(machines)}".replace("\n", " ")),
        "\n".join(lines),
        wrapped(verdict(*by_precision.values())),
        OTHER_PROCESSORS if len(machines_of) > 1 else "",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def verdict(fp32: Sequence[Mapping[str, Any]], bf16: Sequence[Mapping[str, Any]]) -> str:
    """Return the differences by seed and what they show.

    The interval of their mean is Student's t, so it holds the variation between trainings.
    """
    full = {run["seed"]: run["auc"] for run in fp32}
    differences = [run["auc"] - full[run["seed"]] for run in bf16 if run["seed"] in full]
    if len(differences) < 2:
        return "With fewer than two seeds in both precisions the differences cannot be judged."
    centre = mean(differences)
    half = float(t.ppf(0.975, len(differences) - 1)) * stdev(differences) / len(differences) ** 0.5
    shown = (
        f"The interval excludes 0: bf16 is {'higher' if centre > 0 else 'lower'}."
        if abs(centre) > half
        else f"The interval holds 0: a cost of bf16 is not shown, and one of up to {half - centre:.4f} is not excluded."
    )
    return (
        f"bf16 less float32, by seed: {', '.join(f'{value:+.4f}' for value in differences)}; mean {centre:+.4f} "
        f"({centre - half:+.4f} to {centre + half:+.4f}, 95 %, Student's t over {counted(len(differences), 'seed')}). "
        f"{shown}"
    )


if __name__ == "__main__":
    main()
