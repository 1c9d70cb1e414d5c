"""The values of the tables of a problem on the page, for the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from zoo.data.about import portable
from zoo.errors import DataError
from zoo.plurals import counted
from zoo.report import charts
from zoo.report.columns import COSTS, SETTINGS, SPEEDS, measured_columns, score_columns, with_numbers
from zoo.report.figures import rows_address, words
from zoo.report.svg import SERIES, series_class
from zoo.results.baselines import NO_BASELINES, Standing
from zoo.results.comparison import Variant, estimate
from zoo.results.convergence import training_end
from zoo.results.files import read_history
from zoo.results.schema import Finished
from zoo.results.verdict import Comparison
from zoo.scores.schema import Scores

MOST_SERIES = 12
"""Variants that the charts of one problem show; the table shows all."""


def score_table(
    variants: Sequence[Variant], classes: Sequence[str], *, standing: Standing = NO_BASELINES
) -> dict[str, Any]:
    """Return "headings" and "rows" of the sortable table, a row for each variant, best first."""
    estimates = [estimate(variant.results) for variant in variants]
    limits = (min(value.low for value in estimates), max(value.high for value in estimates))
    limits = limits if limits[1] > limits[0] else (0.0, 1.0)
    # The areas of two classes are one number.
    results = [result for variant in variants for result in variant.results]
    scores = score_columns(results)[:-1]
    areas = len(classes) > 2 or not isinstance(variants[0].results[0].test, Scores)
    columns = [*measured_columns(results), *with_numbers([*COSTS, *SETTINGS, *SPEEDS], results)]
    headings = [
        "model", "seeds", variants[0].label if areas else "AUC", "95 %",
        *(column.heading.removeprefix("AUC ") for column in scores),
        *(column.heading for column in columns),
    ]  # fmt: skip
    rows = []
    for index, (variant, value) in enumerate(zip(variants, estimates, strict=True)):
        drawn = index < MOST_SERIES
        style = series_class(index) if drawn else "none"
        bar = charts.interval_bar(value.low, value.score, value.high, limits=limits, style=style, zero=False)
        interval = bar + Markup("<small>{:.4f} to {:.4f}</small>").format(value.low, value.high)
        spread = f"{value.spread:.4f}" if value.seeds > 1 else ""
        cells = [
            {"value": value.seeds, "text": value.seeds},
            {"value": value.score, "text": f"{value.score:.4f}", "strong": True, "spread": spread},
            {"value": value.low, "text": interval},
            *(
                {"value": column.mean(variant.results), "text": column.cell(*variant.results, unknown="–")}
                for column in scores
            ),
            *(
                {"value": column.mean(variant.results), "text": column.cell(*variant.results, unknown="–")}
                for column in columns
            ),
        ]
        label = standing.label(variant.results[0])
        rows.append({"name": variant.name, "label": label, "series": index % SERIES if drawn else None, "cells": cells})
    return {"headings": headings, "rows": rows}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True, kw_only=True)
class DifferenceRow:
    """A pair of variants in the table of differences; texts as the page shows them."""

    first: str
    second: str
    bar: Markup
    interval: str
    difference: str
    chance: str
    style: str
    verdict: str


_VERDICTS = {
    "trainings alike": "two trainings: no difference found",
    "trainings differ": "two trainings differ",
    "too few trainings": "too few trainings to tell",
    "too few images": "too few test images to tell",
    "none found": "no difference found",
}
_ONE_AND_SEVERAL = {
    "trainings alike": "one training and a mean: no difference found",
    "trainings differ": "one training and a mean differ",
}
"""Of a single training and the mean of several."""


def difference_rows(comparisons: Sequence[Comparison]) -> list[DifferenceRow]:
    """Return the differences with their intervals, clearest first."""
    reach = max((max(abs(one.low), abs(one.high)) for one in comparisons), default=1.0) or 1.0
    rows = []
    for one in sorted(comparisons, key=lambda one: (not one.found, -abs(one.difference))):
        verdicts = _ONE_AND_SEVERAL if one.one_and_several else _VERDICTS
        rows.append(
            DifferenceRow(
                first=one.first,
                second=one.second,
                bar=charts.interval_bar(
                    one.low,
                    one.difference,
                    one.high,
                    limits=(-reach, reach),
                    style="found" if one.found else "unclear",
                    zero=True,
                ),
                interval=f"{one.low:+.4f} to {one.high:+.4f}",
                difference=f"{one.difference:+.4f}",
                chance=one.chance.removeprefix("= ") or "–",
                style="found" if one.found else "unclear",
                verdict=verdicts.get(one.verdict, one.better or one.verdict),
            )
        )
    return rows


def difference_csv(comparisons: Sequence[Comparison]) -> str:
    """Return the differences as the target of a link that saves them as CSV."""
    columns = ("first", "second", "score", "difference", "low", "high", "p", "p (Holm)", "verdict")
    rows = [
        (one.first, one.second, one.label, one.difference, one.low, one.high, one.p, one.corrected, one.verdict)
        for one in comparisons
    ]
    return rows_address([columns, *rows])


def confusion_tables(variants: Sequence[Variant], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return confusion matrices, rows the truth, in per cent of a row, summed over seeds."""
    tables = []
    names = [words(name) for name in classes]
    for variant in variants:
        matrices = [result.test.confusion for result in variant.results if isinstance(result.test, Scores)]
        total = [[sum(matrix[i][j] for matrix in matrices) for j in range(len(classes))] for i in range(len(classes))]
        rows = []
        for i, name in enumerate(names):
            shares = [count / (sum(total[i]) or 1) for count in total[i]]
            cells = [
                {
                    "style": "hit" if i == j else "miss",
                    "share": f"{share:.3f}",
                    "title": counted(total[i][j], "image"),
                    "text": f"{100 * share:.1f}",
                }
                for j, share in enumerate(shares)
            ]
            rows.append({"name": name, "cells": cells})
        tables.append({"name": variant.name, "classes": names, "rows": rows})
    return tables


def _end(result: Finished) -> str:
    """Return how the training ended, or "" where its history cannot be read, or is not known."""
    if result.val is None:
        return ""
    try:
        return training_end(result.cell, read_history(result), epoch=result.val.epoch).in_words()
    except DataError:
        return ""


def _settings(result: Finished) -> dict[str, Any]:
    """Return everything that a plan may change of a run, by name."""
    cell = result.cell
    trained_on = {"trained on": cell.trained_on} if cell.phases else {}
    hparams = {name: portable(value, cell.content.get(name, "")) for name, value in cell.hparams.items()}
    return {**hparams, **cell.training, **trained_on}


def run_rows(variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """Return the settings of every run, and how its training ended."""
    return [
        {
            "model": result.cell.model,
            "seed": result.cell.seed,
            "score": f"{result.test.headline.value:.4f}",
            "epoch": "–" if result.val is None else result.val.epoch,
            "end": _end(result),
            "id": result.run_id,
            "settings": ", ".join(f"{key} {value}" for key, value in _settings(result).items()),
        }
        for variant in variants
        for result in variant.results
    ]
