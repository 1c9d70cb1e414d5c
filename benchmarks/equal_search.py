"""Search learning rate and weight decay of several networks with the same number of trials, then score on test images.

    uv run python benchmarks/equal_search.py --store DIR                  # runs what is missing; may be interrupted
    uv run python benchmarks/equal_search.py --store DIR --write          # writes the record and the page; no training
    uv run python benchmarks/equal_search.py --store DIR --budget smoke --model p4m,z2 --trials 2 --seeds 0

Each network has a study of `zoo tune`, whose first trial has the network's defaults. The settings of its best trial by
validation AUC, and the defaults, are trained with each of --seeds and training images of its own, and scored on the
test images. Trainings that benchmarks/results/headline.jsonl holds are not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headline_runs import installed
from page_parts import wrapped
from recorded_trainings import areas, found, models_of, read_lines, run_zoo, shared_options, summary, write_both

from zoo.cli.options import read_seeds
from zoo.plan.bench import plan_bench
from zoo.plan.request import Request
from zoo.plurals import counted
from zoo.results.cell import Cell

HERE = Path(__file__).resolve().parent
RECORD = HERE / "results" / "equal_search.jsonl"
PAGE = RECORD.with_suffix(".md")
SEARCHED = "lr,weight_decay"
ABOVE = 1.1
INTRODUCTION = """\
Written by `uv run python benchmarks/equal_search.py --store DIR --write`. Learning rate and weight decay were
searched on {data} at budget {budget}, with {trials} trials for each network, by the validation AUC of one training a
trial. The first trial has the defaults; a later one was stopped where its best epoch was below the median of the trials
before it. The best settings and the defaults were then trained with training images of their own for each seed, and
scored on the test images of the benchmark. A search of this size does not find the best settings of a network, nor does
it show that none are better than its defaults: {drawn}; {stopped} of these {later} trials were stopped. Each network
with a lower and a higher learning rate than its default, trained to the end: [learning_rates.md](learning_rates.md)."""


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing, or write the record and the page."""
    parser = shared_options(__doc__, model="p4m,z2_p4m_macs,timm/resnet18", data="modelB", record=RECORD)
    parser.add_argument("--trials", type=int, default=4, help="trials of each network")
    options = parser.parse_args(words)
    models = models_of(options)
    if options.write:
        write(models, options)
        return
    for model in models:
        search(model, options)
        train(model, options)
    print("All trials and trainings are complete. The same command with --write writes the page.")


def write(models: Sequence[str], options: argparse.Namespace) -> None:
    """Write the record of the studies and the page.

    Trainings that neither the store nor the record of the headline experiment holds are left out.
    """
    studies = []
    for model in models:
        cells = {name: trainings(model, options, best=name == "best") for name in ("defaults", "best")}
        runs = {name: list(map(summary, found(own, options.store))) for name, own in cells.items()}
        studies.append({**show(model, options), "runs": runs})
    write_both(RECORD, studies, page(studies))


def study_of(model: str, options: argparse.Namespace) -> str:
    """Return the name of a network's study, on which the random numbers of its trials depend."""
    return f"search-{model.rpartition('/')[2]}-{options.data}"


def search(model: str, options: argparse.Namespace) -> None:
    """Run the missing trials of a network."""
    run_zoo(
        "tune", "--study", study_of(model, options), "--model", model, "--data", options.data,
        "--budget", options.budget, "--trials", str(options.trials), "--search", SEARCHED,
        "--prune-after", "1", "--store", str(options.store),
    )  # fmt: skip


def train(model: str, options: argparse.Namespace) -> None:
    """Run the trainings of the defaults and of the best settings that neither the store nor the record holds."""
    recorded = read_lines()
    common = ["--data-seeds", "--seeds", options.seeds, "--no-baselines", "--store", str(options.store)]
    defaults = ["--model", model, "--data", options.data, "--budget", options.budget]
    for best, words in ((False, defaults), (True, ["--from-study", study_of(model, options)])):
        if any(cell.run_id not in recorded for cell in trainings(model, options, best=best)):
            run_zoo("bench", *words, *common)


def trainings(model: str, options: argparse.Namespace, *, best: bool) -> Sequence[Cell]:
    """Return the cells of the trainings after the search, with the best settings or with the defaults."""
    common: dict[str, Any] = {"seeds": read_seeds(options.seeds), "data_seeds": True, "baselines": False}
    common["store"] = options.store
    if best:
        request = Request(models=[], data=[], **common)
        return plan_bench(installed(), request, study=study_of(model, options), given=common).cells
    return plan_bench(installed(), Request(models=[model], data=[options.data], budget=options.budget, **common)).cells


def show(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return a study as `zoo tune --show NAME --json` prints it."""
    command = ["tune", "--show", study_of(model, options), "--store", str(options.store), "--json"]
    printed = subprocess.run([sys.executable, "-m", "zoo", *command], check=True, stdout=subprocess.PIPE)
    study: dict[str, Any] = json.loads(printed.stdout)
    return study


def page(studies: Sequence[Mapping[str, Any]]) -> str:
    """Return the page.

    Args:
        studies: Lines of benchmarks/results/equal_search.jsonl.
    """
    [trials] = {len(study["trials"]) for study in studies}
    [(data, budget)] = {(study["data"], study["budget"]) for study in studies}
    lines = [
        "| network | settings | learning rate | weight decay | validation AUC of the trial | seeds | test macro AUC "
        "| fresh test |",
        "| --- | --- | ---: | ---: | ---: | --- | --- | --- |",
    ]
    every = [
        "| network | trial | learning rate | weight decay | validation AUC | epochs |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    notes = []
    for study in studies:
        model, all_trials = study["model"], study["trials"]
        best = max((one for one in all_trials if one["state"] == "ended"), key=lambda trial: trial["val_auc"])["trial"]
        rows = {"defaults": 0, "best": best} if best else {"best": 0}
        for settings, number in rows.items():
            name = "best trial" if best and settings == "best" else "defaults" if best else "defaults, the best trial"
            runs = study["runs"][settings]
            lines.append(f"| {model} | {name} | {row(all_trials[number])} | {areas(runs)} |")
            notes += [
                f"{model}, learning rate {run['learning_rate']:.3g}, seed {run['seed']}: the training had not begun to "
                f"learn after {counted(run['not_begun'], 'epoch')}."
                for run in runs
                if run["not_begun"]
            ]
        every += [f"| {model} | {one['trial']} | {row(one)} | {epochs_of(one)} |" for one in all_trials]
    introduction = INTRODUCTION.format(data=data.rpartition("/")[2], budget=budget, trials=trials, **limits(studies))
    parts = [
        "# The same search for several networks",
        wrapped(introduction.replace("\n", " ")),
        "\n".join(lines),
        *map(wrapped, notes),
        "## All trials",
        "\n".join(every),
    ]
    return "\n\n".join(parts) + "\n"


def limits(studies: Sequence[Mapping[str, Any]]) -> dict[str, str | int]:
    """Return how many trials after the first lay clearly above the default learning rate, and how many were stopped."""
    above, stopped, later = [], 0, 0
    for study in studies:
        default, *others = study["trials"]
        higher = sum(one["values"]["lr"] > ABOVE * default["values"]["lr"] for one in others)
        above.append(f"{higher} of {study['model']}")
        stopped += sum(one["state"] == "stopped" for one in others)
        later += len(others)
    drawn = (
        f"of {len(others)} learning rates drawn for each network, those more than {100 * (ABOVE - 1):.0f} % above the "
        f"default were {', '.join(above)}"
    )
    return {"drawn": drawn, "stopped": stopped, "later": later}


def row(trial: Mapping[str, Any]) -> str:
    """Return the settings and the validation AUC of a trial as cells of a table."""
    values, auc = trial["values"], trial["val_auc"] or max(trial["val_auc_by_epoch"].values(), default=None)
    return f"{values['lr']:.3g} | {values['weight_decay']:.3g} | {'-' if auc is None else f'{auc:.4f}'}"


def epochs_of(trial: Mapping[str, Any]) -> str:
    """Return how many epochs of a trial were trained, and whether it was stopped early."""
    count = str(len(trial["val_auc_by_epoch"]))
    return count if trial["state"] == "ended" else f"{count}, {trial['state']}"


if __name__ == "__main__":
    main()
