"""Pictures of docs/results.md: the macro AUC of each network with its interval, drawn from the record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headline_rows import best_first
from headline_runs import Run, dataset_of, name_of
from headline_tables import area

from zoo.results.baselines import is_baseline
from zoo.results.comparison import estimate

TICKS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
FEWEST = 3
"""Rows of a table that is worth a picture."""
LONGEST = 48
"""Letters of a name, whose settings stand in the table."""
NETWORK, BASELINE = "#0072B2", "#8C6D31"


def picture_of(runs: Sequence[Run]) -> str:
    """Return the name of the picture of a table; "" for images of an earlier definition, and for few rows."""
    cell = runs[0].cell
    if cell.recipe.dataset_version != dataset_of(runs[0]).version or len({run.cell.model for run in runs}) < FEWEST:
        return ""
    return f"auc-{name_of(cell)}-{cell.budget}.svg"


def draw_areas(runs: Sequence[Run], path: Path) -> None:
    """Draw the macro AUC of each row of a table with its 95 % interval, on a logarithmic axis towards 1.

    Args:
        runs: Runs of one table.
        path: Path of the SVG.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = path.name  # the same file each time
    variants = best_first(runs)
    figure, axis = plt.subplots(figsize=(8, 0.8 + 0.3 * len(variants)), layout="constrained")
    for place, variant in enumerate(variants):
        found, first = estimate(variant.results), variant.results[0]
        missed, ends = 1 - found.score, (1 - found.high, 1 - found.low)
        baseline = is_baseline(first.cell, dataset_of(runs[0]))
        color, form = (BASELINE, "s") if baseline else (NETWORK, "o")
        axis.plot(ends, (place, place), color=color, lw=1.6)
        axis.plot(missed, place, form, color=color, ms=5)
        label = f"{area(found.score)}  ({len(variant.results)})"
        axis.annotate(label, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    names = [variant.name if len(variant.name) <= LONGEST else f"{variant.name[:LONGEST]}..." for variant in variants]
    axis.set_yticks(range(len(variants)), names, fontsize=8)
    axis.set_ylim(len(variants) - 0.5, -0.5)
    least = min(1 - estimate(variant.results).high for variant in variants)
    axis.set_xscale("log")
    axis.set_xlim(0.55, max(least * 0.7, 1e-4))
    axis.set_xticks([1 - tick for tick in TICKS if 1 - tick >= least * 0.7], minor=False)
    axis.set_xticklabels([area(tick) for tick in TICKS if 1 - tick >= least * 0.7], fontsize=8)
    axis.minorticks_off()
    axis.grid(axis="x", lw=0.4)
    axis.set_xlabel("macro AUC with its 95 % interval; squares: baselines; in brackets: trainings", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
