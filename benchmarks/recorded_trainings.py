"""Trainings of small experiments: run them with zoo, find them in a store or in headline.jsonl, keep their scores."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from headline_runs import installed, read_run

from zoo import registry
from zoo.paths import written_whole
from zoo.results.cell import Cell
from zoo.results.schema import Finished
from zoo.results.store import done
from zoo.specs import ModelSpec

RUNS = Path(__file__).resolve().parent / "results" / "headline.jsonl"


def shared_options(description: str | None, *, model: str, data: str, record: Path) -> argparse.ArgumentParser:
    """Return a parser with the options of all these scripts.

    Args:
        description: Docstring of the script.
        model, data: Default networks and data set.
        record: File that --write writes, beside a page of the same name.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--model", default=model, help="networks (comma-separated)")
    parser.add_argument("--data", default=data, help="data set")
    parser.add_argument("--budget", default="laptop", help="numbers and size of the images")
    parser.add_argument("--seeds", default="0-2", help="seeds of the trainings")
    names = f"{record.name} and {record.with_suffix('.md').name}"
    parser.add_argument("--write", action="store_true", help=f"write {names} without training")
    return parser


def models_of(options: argparse.Namespace) -> list[str]:
    """Return the ids of the networks."""
    return [registry.find(installed(), ModelSpec, name).id for name in options.model.split(",")]


def write_both(record: Path, lines: Sequence[Mapping[str, Any]], text: str) -> None:
    """Write a record and its page, and print the page.

    Raises:
        SystemExit: A training of the record is not among the lines; nothing is written.
    """
    before = map(json.loads, record.read_text(encoding="utf-8").splitlines()) if record.is_file() else ()
    if lost := sorted(run_ids(list(before)) - run_ids(lines)):
        sys.exit(f"{record.name} would lose {', '.join(lost)}: they are neither in the store nor in {RUNS.name}.")
    with written_whole(record) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with written_whole(record.with_suffix(".md")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)


def run_ids(content: Any) -> set[str]:
    """Return the run ids at any depth of lines of a record."""
    if isinstance(content, Mapping):
        own = {content["run_id"]} if "run_id" in content else set()
        return own.union(*map(run_ids, content.values()))
    return set().union(*map(run_ids, content)) if isinstance(content, (list, tuple)) else set()


def run_zoo(*words: str) -> None:
    """Run a command of zoo.

    Raises:
        SystemExit: It failed, and has said why.
    """
    print("$ zoo", *words, flush=True)
    if code := subprocess.run([sys.executable, "-m", "zoo", *words], check=False).returncode:
        sys.exit(code)


def read_lines(record: Path = RUNS) -> dict[str, dict[str, Any]]:
    """Return the lines of a record by run id; none where there is no such file."""
    lines = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    return {line["run_id"]: line for line in map(json.loads, lines)}


def known(
    cells: Sequence[Cell], store: Path, record: Path, line: Callable[[Finished], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return a line of each cell that was trained, of those in `found` anew, of others as in the record."""
    before, results = read_lines(record), {result.run_id: result for result in found(cells, store)}
    run_ids = [cell.run_id for cell in cells if cell.run_id in results or cell.run_id in before]
    return [line(results[run_id]) if run_id in results else before[run_id] for run_id in run_ids]


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
