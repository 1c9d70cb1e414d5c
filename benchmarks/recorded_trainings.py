"""Trainings of small experiments: run them with zoo, find them in a store or in headline.jsonl, keep their scores."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from headline_runs import read_run

from zoo.results.cell import Cell
from zoo.results.schema import Finished
from zoo.results.store import done

RUNS = Path(__file__).resolve().parent / "results" / "headline.jsonl"


def run_zoo(*words: str) -> None:
    """Run a command of zoo.

    Raises:
        SystemExit: It failed, and has said why.
    """
    print("$ zoo", *words, flush=True)
    if code := subprocess.run([sys.executable, "-m", "zoo", *words], check=False).returncode:
        sys.exit(code)


def read_lines() -> dict[str, dict[str, Any]]:
    """Return the lines of benchmarks/results/headline.jsonl by run id."""
    return {line["run_id"]: line for line in map(json.loads, RUNS.read_text(encoding="utf-8").splitlines())}


def found(cells: Sequence[Cell], store: Path) -> Iterator[Finished]:
    """Yield the results of those cells that the store or the record of the headline experiment holds."""
    recorded = read_lines()
    for cell in cells:
        if result := done(store, cell):
            yield result
        elif cell.run_id in recorded:
            yield read_run(recorded[cell.run_id]).result


def summary(result: Finished) -> dict[str, Any]:
    """Return what pages state of a training."""
    return {
        "run_id": result.run_id,
        "seed": result.cell.seed,
        "learning_rate": result.cell.training["lr"],
        "auc": result.test.auc["macro"],
        "fresh_auc": result.fresh.scores.headline.value if result.fresh else None,
        "not_begun": result.not_begun,
    }


def areas(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the seeds, the macro test AUC of each with their mean, and that on fresh images as cells of a table."""
    seeds, values = ", ".join(str(run["seed"]) for run in runs), [run["auc"] for run in runs]
    fresh = [run["fresh_auc"] for run in runs]
    told = f"; mean {mean(values):.4f}" if len(values) > 1 else ""
    shown = ", ".join("-" if value is None else f"{value:.4f}" for value in fresh)
    return f"{seeds} | {', '.join(f'{value:.4f}' for value in values)}{told} | {shown}"
