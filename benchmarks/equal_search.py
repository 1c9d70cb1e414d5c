"""Search learning rate and weight decay of several networks with the same number of trials, then score on test images.

    uv run python benchmarks/equal_search.py --store DIR                  # runs what is missing; may be interrupted
    uv run python benchmarks/equal_search.py --store DIR --write          # writes the record and the page; no training
    uv run python benchmarks/equal_search.py --store DIR --budget smoke --model p4m,z2 --trials 2 --seeds 0

Each network has a study of `zoo tune`, whose first trial has the network's defaults. The settings of its best trial by
validation AUC, and the defaults, are trained with each of --seeds and training images of its own, and scored on the
test images. Trainings that benchmarks/results/headline.jsonl holds are not repeated; where they have the settings of a
best trial, --write states the search in their lines of that file, and docs/results.md is written again after it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from headline_runs import installed, read_run
from page_parts import wrapped

from zoo import registry
from zoo.cli.options import read_seeds
from zoo.paths import written_whole
from zoo.plan.bench import plan_bench
from zoo.plan.request import Request
from zoo.plurals import counted
from zoo.results.cell import Cell
from zoo.results.schema import Finished
from zoo.results.store import done
from zoo.specs import ModelSpec

HERE = Path(__file__).resolve().parent
RUNS = HERE / "results" / "headline.jsonl"
RECORD = HERE / "results" / "equal_search.jsonl"
PAGE = HERE / "results" / "equal_search.md"
SEARCHED = "lr,weight_decay"
INTRODUCTION = """\
Written by `uv run python benchmarks/equal_search.py --store DIR --write`. Learning rate and weight decay were
searched on {data} at budget {budget}, with {trials} trials for each network, by the validation AUC of one training a
trial. The first trial has the defaults; a later one was stopped where its best epoch was below the median of the trials
before it. The best settings and the defaults were then trained with training images of their own for each seed, and
scored on the test images of the benchmark. A search of this size shows whether the order of the networks rests on the
defaults of one of them; it does not find the best settings of any."""


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing, or write the record and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="folder of the studies and runs")
    parser.add_argument("--model", default="p4m,z2_p4m_macs,timm/resnet18", help="networks (comma-separated)")
    parser.add_argument("--data", default="modelB", help="data set")
    parser.add_argument("--budget", default="laptop", help="numbers and size of the images")
    parser.add_argument("--trials", type=int, default=4, help="trials of each network")
    parser.add_argument("--seeds", default="0-2", help="seeds of the trainings after the search")
    parser.add_argument("--write", action="store_true", help=f"write {RECORD.name} and {PAGE.name} without training")
    options = parser.parse_args(words)
    models = [registry.find(installed(), ModelSpec, name).id for name in options.model.split(",")]
    if options.write:
        write(models, options)
        return
    for model in models:
        search(model, options)
        train(model, options)
    print("All trials and trainings are complete. The same command with --write writes the page.")


def write(models: Sequence[str], options: argparse.Namespace) -> None:
    """Write the record of the studies and the page, and state the searches in the recorded runs.

    Trainings that neither the store nor the record of the headline experiment holds are left out.
    """
    studies = []
    for model in models:
        best = trainings(model, options, best=True)
        state_search(best)
        cells = {"defaults": trainings(model, options, best=False), "best": best}
        runs = {name: list(map(summary, found(own, options.store))) for name, own in cells.items()}
        studies.append({**show(model, options), "runs": runs})
    text = page(studies)
    with written_whole(RECORD) as temporary:
        temporary.write_text("".join(json.dumps(study) + "\n" for study in studies), encoding="utf-8")
    with written_whole(PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)


def found(cells: Sequence[Cell], store: Path) -> Iterator[Finished]:
    """Yield the results of those cells that the store or the record of the headline experiment holds."""
    recorded = read_runs()
    for cell in cells:
        if result := done(store, cell):
            yield result
        elif cell.run_id in recorded:
            yield read_run(recorded[cell.run_id]).result


def summary(result: Finished) -> dict[str, Any]:
    """Return what the page states of a training."""
    return {
        "run_id": result.run_id,
        "seed": result.cell.seed,
        "learning_rate": result.cell.training["lr"],
        "auc": result.test.auc["macro"],
        "fresh_auc": result.fresh.scores.headline.value if result.fresh else None,
        "not_begun": result.not_begun,
    }


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
    recorded = read_runs()
    common = ["--data-seeds", "--seeds", options.seeds, "--no-baselines", "--store", str(options.store)]
    defaults = ["--model", model, "--data", options.data, "--budget", options.budget]
    for best, words in ((False, defaults), (True, ["--from-study", study_of(model, options)])):
        if any(cell.run_id not in recorded for cell in trainings(model, options, best=best)):
            run_zoo("bench", *words, *common)


def run_zoo(*words: str) -> None:
    """Run a command of zoo.

    Raises:
        SystemExit: It failed, and has said why.
    """
    print("$ zoo", *words, flush=True)
    if code := subprocess.run([sys.executable, "-m", "zoo", *words], check=False).returncode:
        sys.exit(code)


def trainings(model: str, options: argparse.Namespace, *, best: bool) -> Sequence[Cell]:
    """Return the cells of the trainings after the search, with the best settings or with the defaults."""
    common: dict[str, Any] = {"seeds": read_seeds(options.seeds), "data_seeds": True, "baselines": False}
    common["store"] = options.store
    if best:
        request = Request(models=[], data=[], **common)
        return plan_bench(installed(), request, study=study_of(model, options), given=common).cells
    return plan_bench(installed(), Request(models=[model], data=[options.data], budget=options.budget, **common)).cells


def read_runs() -> dict[str, dict[str, Any]]:
    """Return the lines of benchmarks/results/headline.jsonl by run id."""
    return {line["run_id"]: line for line in map(json.loads, RUNS.read_text(encoding="utf-8").splitlines())}


def state_search(best: Sequence[Cell]) -> None:
    """State the search in the recorded runs that have its best settings."""
    searches = {cell.run_id: cell.to_json()["search"] for cell in best}
    lines = list(map(json.loads, RUNS.read_text(encoding="utf-8").splitlines()))  # an id may stand in two parts
    for line in lines:
        if line["run_id"] in searches:
            line["cell"]["search"] = searches[line["run_id"]]
    with written_whole(RUNS) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


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
    introduction = INTRODUCTION.format(data=data.rpartition("/")[2], budget=budget, trials=trials)
    parts = [
        "# The same search for several networks",
        wrapped(introduction.replace("\n", " ")),
        "\n".join(lines),
        *map(wrapped, notes),
        "## All trials",
        "\n".join(every),
    ]
    return "\n\n".join(parts) + "\n"


def row(trial: Mapping[str, Any]) -> str:
    """Return the settings and the validation AUC of a trial as cells of a table."""
    values, auc = trial["values"], trial["val_auc"] or max(trial["val_auc_by_epoch"].values(), default=None)
    return f"{values['lr']:.3g} | {values['weight_decay']:.3g} | {'-' if auc is None else f'{auc:.4f}'}"


def areas(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the seeds, the macro test AUC of each with their mean, and that on fresh images as cells of a table."""
    seeds, values = ", ".join(str(run["seed"]) for run in runs), [run["auc"] for run in runs]
    fresh = [run["fresh_auc"] for run in runs]
    told = f"; mean {mean(values):.4f}" if len(values) > 1 else ""
    shown = ", ".join("-" if value is None else f"{value:.4f}" for value in fresh)
    return f"{seeds} | {', '.join(f'{value:.4f}' for value in values)}{told} | {shown}"


def epochs_of(trial: Mapping[str, Any]) -> str:
    """Return how many epochs of a trial were trained, and whether it was stopped early."""
    count = str(len(trial["val_auc_by_epoch"]))
    return count if trial["state"] == "ended" else f"{count}, {trial['state']}"


if __name__ == "__main__":
    main()
