"""Columns of numbers that the tables of the terminal and of the page share: calibration, equivariance, settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zoo.report.svg import short
from zoo.results.metric_differences import declared_values, value_name
from zoo.results.schema import Cost, Finished, RunResult
from zoo.scores.schema import Interval, Invariance, Measures, Scores


@dataclass(frozen=True, kw_only=True)
class Column:
    """A number of each run.

    Args:
        heading: Heading of the column.
        value: Number of a run; NaN where it is unknown.
        text: Number for a reader.
        of_classes: Whether the column is of classification only.
        interval: 95 % interval of the number of a run, shown beside it; None for a number without one.
    """

    heading: str
    value: Callable[[Finished], float]
    text: Callable[[float], str]
    of_classes: bool = False
    interval: Callable[[Finished], Interval | None] | None = None

    def cell(self, *results: Finished, unknown: str = "-") -> str:
        """Return the number of a run, or the mean of several, for a reader.

        The interval of a mean is the mean of the intervals, which is not too narrow: the seeds share their images.
        """
        value = self.mean(results)
        if not math.isfinite(value):
            return unknown
        found = [ends for result in results if self.interval and (ends := self.interval(result)) is not None]
        if not found:
            return self.text(value)
        low, high = (sum(ends) / len(found) for ends in zip(*found, strict=True))
        return f"{self.text(value)} ({self.text(low)} to {self.text(high)})"

    def mean(self, results: Sequence[Finished]) -> float:
        """Return the mean number; NaN where one is unknown."""
        return sum(map(self.value, results)) / len(results)


def known(value: float | None) -> float:
    """Return a number that may be unknown as one that may be NaN."""
    return math.nan if value is None else value


def _measured(read: Callable[[Invariance], float | None]) -> Callable[[Finished], float]:
    """Return a function that reads a trained network's equivariance; NaN in results of earlier versions."""

    def value(result: Finished) -> float:
        found = None if result.equivariance is None else result.equivariance.after
        return math.nan if found is None else known(read(found))

    return value


def _at(angle: str) -> Callable[[Finished], float]:
    return _measured(lambda found: found.angles[angle].error if angle in found.angles else None)


def _of_classes(read: Callable[[Scores], float | None]) -> Callable[[Finished], float]:
    """Return a function that reads a score of classification; NaN in other tasks."""
    return lambda result: known(read(result.test)) if isinstance(result.test, Scores) else math.nan


def score_columns(results: Sequence[Finished]) -> list[Column]:
    """Return the scores of some runs of one problem, the one that ranks networks last.

    Of classification: the area of each class, where there are more than two, and their mean. Of other tasks: all.
    Without results, a column that has no values.
    """
    four = "{:.4f}".format
    if not results:
        return [Column(heading="score", value=_area("macro"), text=four)]
    if isinstance(results[0].test, Scores):
        names = results[0].classes if len(results[0].classes) > 2 else ()
        return [
            *(Column(heading=f"AUC {name.replace('_', ' ')}", value=_area(name), text=four) for name in names),
            Column(heading="AUC macro" if names else "AUC", value=_area("macro"), text=four),
        ]
    measures = results[0].test.in_order
    first, *others = measures
    return [Column(heading=measures[name].label, value=_measure(name), text=four) for name in [*others, first]]


def _area(name: str) -> Callable[[Finished], float]:
    return _of_classes(lambda scores: scores.auc[name])


def _measure(name: str) -> Callable[[Finished], float]:
    def value(result: Finished) -> float:
        found = result.test.measures.get(name) if isinstance(result.test, Measures) else None
        return math.nan if found is None else found.value

    return value


ARROWS = {"higher": "\u2191", "lower": "\u2193"}
"""Behind the name of a plugin's metric: which direction is better."""
MOST_METRICS = 8
"""Values of plugins' metrics that a table shows; the CSV has all."""
_ERROR, _SHARE, _THREE = "{:.0e}".format, "{:.1%}".format, "{:.3f}".format
FRESH = "fresh test"
MEASURED = (
    Column(
        heading=FRESH,
        value=lambda result: result.fresh.scores.headline.value if result.fresh else math.nan,
        text="{:.4f}".format,
    ),
    Column(
        heading="test - fresh",
        value=lambda result: result.fresh.difference if result.fresh else math.nan,
        text="{:+.4f}".format,
        interval=lambda result: result.fresh.interval if result.fresh else None,
    ),
    Column(
        heading="accuracy", value=_of_classes(lambda scores: scores.accuracy), text="{:.3f}".format, of_classes=True
    ),
    Column(
        heading="log loss", value=_of_classes(lambda scores: scores.log_loss), text="{:.3f}".format, of_classes=True
    ),
    Column(heading="Brier", value=_of_classes(lambda scores: scores.brier), text="{:.3f}".format, of_classes=True),
    Column(
        heading="calibration error", value=_of_classes(lambda scores: scores.ece), text="{:.3f}".format, of_classes=True
    ),
    Column(
        heading="calibrated log loss",
        value=lambda result: result.calibration.log_loss if result.calibration else math.nan,
        text="{:.3f}".format,
    ),
    Column(
        heading="calibrated error",
        value=lambda result: result.calibration.ece if result.calibration else math.nan,
        text="{:.3f}".format,
    ),
    Column(heading="equivariance error", value=_measured(lambda found: found.square.error), text=_ERROR),
    Column(heading="class flips", value=_measured(lambda found: found.square.flips), text=_SHARE, of_classes=True),
    Column(
        heading="own group",
        value=_measured(lambda found: found.declared.error if found.declared else None),
        text=_ERROR,
    ),
    Column(heading="at 17 deg", value=_at("17"), text=_ERROR),
    Column(heading="at 45 deg", value=_at("45"), text=_ERROR),
    Column(
        heading="other angles",
        value=_measured(lambda found: found.rotations.error if found.rotations else None),
        text=_ERROR,
    ),
)
"""Scores and equivariance, in their order."""


SETTINGS = (
    Column(heading="learning rate", value=lambda result: known(result.cell.training.get("lr")), text="{:g}".format),
    Column(
        heading="weight decay", value=lambda result: known(result.cell.training.get("weight_decay")), text="{:g}".format
    ),
    Column(
        heading="search trials",
        value=lambda result: (
            known(result.cell.search.trials) if result.cell.search else math.nan if result.scored else 0
        ),
        text="{:.0f}".format,
    ),
)
"""Settings of the training, and the trials of the search that found them."""


def precision_of(result: RunResult) -> str:
    """Return the precision of a training; "-" for a network that fits itself, and for predictions made elsewhere."""
    return "-" if result.cell.fits_itself or result.cell.predictions else result.cell.precision


def precisions(results: Sequence[RunResult]) -> list[str]:
    """Return the precisions of the trainings, each once."""
    return sorted({precision_of(result) for result in results} - {"-"}) or [results[0].cell.precision]


def of_cost(read: Callable[[Cost], float | None]) -> Callable[[Finished], float]:
    """Return a function that reads a run's cost; NaN for predictions made elsewhere, whose cost was not measured."""
    return lambda result: math.nan if result.cost is None else known(read(result.cost))


COSTS = (
    Column(heading="parameters", value=of_cost(lambda cost: cost.parameters), text="{:,.0f}".format),
    Column(heading="MACs", value=of_cost(lambda cost: cost.macs), text=short),
)
SPEEDS = (
    Column(heading="train images/s", value=of_cost(lambda cost: cost.train_images_per_second), text="{:,.0f}".format),
    Column(
        heading="minutes",
        value=lambda result: math.nan if result.scored else result.seconds / 60,
        text="{:.1f}".format,
    ),
)
"""Size, operations and times of the networks, in two parts of a table."""


def measured_columns(results: Sequence[Finished]) -> list[Column]:
    """Return the columns of scores and equivariance that some runs have."""
    of_classes = all(isinstance(result.test, Scores) for result in results)
    shown = [column for column in MEASURED if of_classes or not column.of_classes]
    return [*with_numbers(shown, results), *_metric_columns(results)]


def with_numbers(columns: Sequence[Column], results: Sequence[Finished]) -> list[Column]:
    """Return the columns in which some run has a number; a column of dashes is useless."""
    return [column for column in columns if any(math.isfinite(column.value(result)) for result in results)]


def _of_metric(metric: str, value: str) -> Callable[[Finished], float]:
    return lambda result: known(result.test.extra.get(metric, {}).get(value))


def _ends_of_metric(metric: str, value: str) -> Callable[[Finished], Interval | None]:
    return lambda result: result.test.extra_intervals.get(metric, {}).get(value)


def _metric_columns(results: Sequence[Finished]) -> list[Column]:
    """Return a column for each value of a plugin's metric that has a direction, which an arrow shows."""
    keys = list(declared_values(results).items())[:MOST_METRICS]
    return [
        Column(
            heading=f"{value_name((metric, value))} {ARROWS[direction]}",
            value=_of_metric(metric, value),
            text="{:.4g}".format,
            interval=_ends_of_metric(metric, value),
        )
        for (metric, value), direction in keys
    ]
