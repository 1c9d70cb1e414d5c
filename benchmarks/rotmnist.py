"""Print the test errors of `zoo bench benchmarks/rotmnist.toml` over seeds, and the published ones.

    uv run zoo bench benchmarks/rotmnist.toml
    uv run python benchmarks/rotmnist.py [--store results] [--json]

The interval of a ratio comes from a joint bootstrap over seeds and test images, with the same draws for both networks,
so it includes the variation between trainings and between digits. Published: Cohen & Welling 2016, arXiv:1602.07576,
Table 1: similar networks (Z2CNN, P4CNN) with 12,000 training images instead of 3,500.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.host import load_plugins
from zoo.plan.suite import plan_suite
from zoo.plan.suite_file import changed, read_suite
from zoo.results.files import read_file
from zoo.results.store import PREDICTIONS, done

SUITE = Path(__file__).with_suffix(".toml")
CONTROL = "gconv/z2"
PUBLISHED = {"gconv/z2": 5.03, "gconv/p4": 2.28}
RESAMPLES = 4000


def wrong_answers(store: Path) -> tuple[dict[str, NDArray[np.bool_]], dict[str, int]]:
    """Return the errors [seeds, images] and the number of parameters of each network."""
    rows: dict[str, list[NDArray[np.bool_]]] = defaultdict(list)
    parameters: dict[str, int] = {}
    for cell in plan_suite(load_plugins(), changed(read_suite(SUITE), store=store)).cells:
        result = done(store, cell)
        if result is not None:
            arrays, _ = read_file(result, PREDICTIONS, only=["test.logits", "test.labels"])
            rows[cell.model].append(arrays["test.logits"].argmax(1) != arrays["test.labels"])
            parameters[cell.model] = result.cost.parameters
    return {model: np.stack(wrong) for model, wrong in rows.items()}, parameters


def summarise(wrong: dict[str, NDArray[np.bool_]], parameters: dict[str, int]) -> list[dict[str, Any]]:
    """Return a row for each network: its error in per cent and the ratio to the control's, with 95 % intervals."""
    rng = np.random.default_rng(0)
    images = next(iter(wrong.values())).shape[1]
    weights = rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES) / images  # [R, images]

    def resampled(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        seeds = rng.integers(len(rows), size=(RESAMPLES, len(rows)))
        return np.take_along_axis(weights @ rows.T.astype(float), seeds, axis=1).mean(1)

    control = resampled(wrong[CONTROL]) if CONTROL in wrong else None
    table = []
    for model, rows in wrong.items():
        errors = 100 * rows.mean(1)
        row: dict[str, Any] = {
            "network": model,
            "parameters": parameters[model],
            "seeds": len(rows),
            "error": errors.mean(),
            "spread": errors.std(ddof=1) if len(rows) > 1 else None,
            "published": PUBLISHED.get(model),
        }
        draws = resampled(rows)
        row["interval"] = (100 * np.quantile(draws, [0.025, 0.975])).tolist()
        if control is not None and model != CONTROL:
            row["ratio"] = rows.mean() / wrong[CONTROL].mean()
            row["ratio_interval"] = np.quantile(draws / control, [0.025, 0.975]).tolist()
        table.append(row)
    return table


def markdown(table: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| network | parameters | seeds | error, % | 95 % | spread of seeds | x z2 | 95 % | published, % |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: | --- | ---: |",
    ]
    for row in table:
        interval = "{:.2f} to {:.2f}".format(*row["interval"])
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
        ratio_interval = "{:.2f} to {:.2f}".format(*row["ratio_interval"]) if "ratio" in row else ""
        spread = "" if row["spread"] is None else f"{row['spread']:.2f}"
        lines.append(
            f"| `{row['network']}` | {row['parameters']:,} | {row['seeds']} | {row['error']:.2f} | {interval} "
            f"| {spread} | {ratio} | {ratio_interval} | {row['published'] or ''} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Read the store and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("results"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wrong, parameters = wrong_answers(options.store)
    if not wrong:
        sys.exit(f"{options.store} contains no run of this suite. First run: uv run zoo bench {SUITE}")
    table = summarise(wrong, parameters)
    print(json.dumps(table, indent=2) if options.json else markdown(table))


if __name__ == "__main__":
    main()
