"""Train several networks with a third, once and three times their default learning rate, all for the same epochs.

    uv run python benchmarks/learning_rates.py --store DIR           # trains what is missing; may be interrupted
    uv run python benchmarks/learning_rates.py --store DIR --write   # writes the record and the page; no training
    uv run python benchmarks/learning_rates.py --store DIR --budget smoke --model z2,p4m --seeds 0-1

Every network is trained to the end with each learning rate, with the first of the seeds; the one with the highest
validation AUC, and the default, also with the others. A seed has its own training images, the same for all networks.
Trainings that benchmarks/results/headline.jsonl or the record holds are not repeated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headline_runs import installed
from page_parts import wrapped
from recorded_trainings import areas, known, models_of, read_lines, run_zoo, shared_options, summary, write_both

from zoo.cli.options import read_seeds
from zoo.plan.bench import plan_bench
from zoo.plan.request import Request
from zoo.plurals import counted
from zoo.results.cell import Cell
from zoo.results.schema import Finished

HERE = Path(__file__).resolve().parent
RECORD = HERE / "results" / "learning_rates.jsonl"
PAGE = RECORD.with_suffix(".md")
FACTORS = (1 / 3, 1.0, 3.0)
INTRODUCTION = """\
Written by `uv run python benchmarks/learning_rates.py --store DIR --write`. Each network was trained on {data} at
budget {budget} with a third, once and three times its default learning rate, for all epochs, with training images of
its own for each seed. Each learning rate was trained with the first seed; the one with the highest validation AUC, and
the default, also with the other seeds. All other settings are the network's defaults. Macro test AUC is that of the
benchmark's test images, of each seed."""


def main(words: Sequence[str] | None = None) -> None:
    """Train what is missing, or write the record and the page."""
    parser = shared_options(__doc__, model="p4m,z2_p4m_macs,timm/resnet18", data="modelB", record=RECORD)
    options = parser.parse_args(words)
    models = models_of(options)
    if options.write:
        write(models, options)
        return
    first, *others = read_seeds(options.seeds)
    for model in models:
        default, *changed = rates_of(model, options)
        for rate in (default, *changed):
            train(model, rate, [first], options)
        for rate in sorted({default, best_of(measured(model, options))["learning_rate"]}):
            train(model, rate, others, options)
    print("All trainings are complete. The same command with --write writes the page.")


def rates_of(model: str, options: argparse.Namespace) -> tuple[float, ...]:
    """Return the default learning rate of a network, then the others."""
    [cell] = cells_of(model, None, [0], options)
    default = float(cell.training["lr"])
    return (default, *(float(f"{default * factor:.2g}") for factor in FACTORS if factor != 1))


def cells_of(model: str, rate: float | None, seeds: Sequence[int], options: argparse.Namespace) -> Sequence[Cell]:
    """Return the cells of a network at a learning rate; None stands for the default."""
    request = Request(
        models=[model], data=[options.data], budget=options.budget, seeds=tuple(seeds), data_seeds=True,
        baselines=False, settings={} if rate is None else {"lr": rate}, store=options.store,
    )  # fmt: skip
    return plan_bench(installed(), request).cells


def train(model: str, rate: float, seeds: Sequence[int], options: argparse.Namespace) -> None:
    """Run the trainings that neither the store nor a record holds."""
    if not seeds:
        return
    recorded = read_lines().keys() | read_lines(RECORD).keys()
    missing = [cell.seed for cell in cells_of(model, rate, seeds, options) if cell.run_id not in recorded]
    if missing:
        run_zoo(
            "bench", "--model", model, "--data", options.data, "--budget", options.budget, "--set", f"lr={rate}",
            "--data-seeds", "--seeds", ",".join(map(str, missing)), "--no-baselines", "--store", str(options.store),
        )  # fmt: skip


def measured(model: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what is known of the trainings of a network, the default learning rate first."""

    def line(result: Finished) -> dict[str, Any]:
        about = {"model": model, "data": options.data, "budget": options.budget}
        return summary(result) | about | {"val_auc": result.val.auc}

    seeds = read_seeds(options.seeds)
    return [
        run
        for rate in rates_of(model, options)
        for run in known(cells_of(model, rate, seeds, options), options.store, RECORD, line)
    ]


def best_of(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the training with the highest validation AUC among those of the first seed."""
    first = min(run["seed"] for run in runs)
    return max((run for run in runs if run["seed"] == first), key=lambda run: float(run["val_auc"]))


def write(models: Sequence[str], options: argparse.Namespace) -> None:
    """Write the record and the page.

    Raises:
        SystemExit: A learning rate was not trained with the first seed.
    """
    runs = [run for model in models for run in measured(model, options)]
    first = min(read_seeds(options.seeds))
    there = {(run["model"], run["learning_rate"]) for run in runs if run["seed"] == first}
    wanted = {(model, rate) for model in models for rate in rates_of(model, options)}
    if missing := sorted(wanted - there):
        sys.exit(f"Not trained yet: {', '.join(f'{model} with {rate:g}' for model, rate in missing)}.")
    write_both(RECORD, runs, page(runs))


def page(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the page.

    Args:
        runs: Lines of benchmarks/results/learning_rates.jsonl, of each network the default learning rate first.
    """
    [(data, budget)] = {(run["data"], run["budget"]) for run in runs}
    lines = [
        "| network | learning rate | validation AUC | seeds | macro test AUC | fresh test |",
        "| --- | ---: | ---: | --- | --- | --- |",
    ]
    notes = []
    for model in dict.fromkeys(run["model"] for run in runs):
        own = [run for run in runs if run["model"] == model]
        default, best = own[0]["learning_rate"], best_of(own)["learning_rate"]
        for rate in sorted({run["learning_rate"] for run in own}):
            of_rate = [run for run in own if run["learning_rate"] == rate]
            told = ", ".join(word for word, holds in (("default", rate == default), ("best", rate == best)) if holds)
            named = f"{rate:g}" + (f" ({told})" if told else "")
            lines.append(f"| {model} | {named} | {of_rate[0]['val_auc']:.4f} | {areas(of_rate)} |")
            if rate == best and len(of_rate) < sum(run["learning_rate"] == default for run in own):
                notes.append(f"{model} was not trained with {rate:g} and the other seeds yet.")
            notes += [
                f"{model}, learning rate {rate:g}, seed {run['seed']}: the training had not begun to learn after "
                f"{counted(run['not_begun'], 'epoch')}."
                for run in of_rate
                if run["not_begun"]
            ]
    introduction = INTRODUCTION.format(data=data, budget=budget)
    parts = ["# The default learning rates", wrapped(introduction.replace("\n", " ")), "\n".join(lines)]
    parts += ["The validation AUC is that of the first seed; *best* is the highest of a network.", *map(wrapped, notes)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
