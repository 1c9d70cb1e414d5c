"""Columns of numbers that the tables of the terminal and of the page share: calibration, equivariance, settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zoo.results.schema import Finished
from zoo.scores.schema import Invariance


@dataclass(frozen=True, kw_only=True)
class Column:
    """A number of each run.

    Args:
        heading: Heading of the column.
        value: Number of a run; NaN where it is unknown.
        text: Number for a reader.
        optional: Whether the column is left out where no run has the number.
    """

    heading: str
    value: Callable[[Finished], float]
    text: Callable[[float], str]
    optional: bool = False

    def cell(self, result: Finished) -> str:
        """Return the number of one run for a reader."""
        value = self.value(result)
        return self.text(value) if math.isfinite(value) else "-"


def known(value: float | None) -> float:
    """Return a number that may be unknown as one that may be NaN."""
    return math.nan if value is None else value


def _measured(read: Callable[[Invariance], float | None]) -> Callable[[Finished], float]:
    """Return a function that reads a trained network's equivariance; NaN in results of earlier versions."""

    def value(result: Finished) -> float:
        found = result.equivariance.after
        return math.nan if found is None else known(read(found))

    return value


def _at(angle: str) -> Callable[[Finished], float]:
    return _measured(lambda found: found.angles[angle].error if angle in found.angles else None)


_ERROR, _SHARE = "{:.0e}".format, "{:.1%}".format
MEASURED = (
    Column(heading="accuracy", value=lambda result: result.test.accuracy, text="{:.3f}".format),
    Column(heading="log loss", value=lambda result: result.test.log_loss, text="{:.3f}".format),
    Column(heading="Brier", value=lambda result: known(result.test.brier), text="{:.3f}".format),
    Column(heading="calibration error", value=lambda result: result.test.ece, text="{:.3f}".format),
    Column(heading="equivariance error", value=_measured(lambda found: found.square.error), text=_ERROR),
    Column(heading="class flips", value=_measured(lambda found: found.square.flips), text=_SHARE),
    Column(
        heading="own group",
        value=_measured(lambda found: found.declared.error if found.declared else None),
        text=_ERROR,
        optional=True,
    ),
    Column(heading="at 17 deg", value=_at("17"), text=_ERROR, optional=True),
    Column(heading="at 45 deg", value=_at("45"), text=_ERROR, optional=True),
    Column(
        heading="other angles",
        value=_measured(lambda found: found.rotations.error if found.rotations else None),
        text=_ERROR,
        optional=True,
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
        value=lambda result: known(result.cell.search.trials) if result.cell.search else 0,
        text="{:.0f}".format,
    ),
)
"""Settings of the training, and the trials of the search that found them."""


def measured_columns(results: Sequence[Finished]) -> list[Column]:
    """Return the columns of some runs."""
    return [
        column
        for column in MEASURED
        if not column.optional or any(math.isfinite(column.value(result)) for result in results)
    ]


def equivariance_notes(results: Sequence[Finished]) -> list[str]:
    """Return what the columns of equivariance hold, and which rows have none."""
    measured = [result.equivariance.after for result in results if result.equivariance.after is not None]
    notes = []
    if measured:
        rotations = [one for found in measured for one in (*found.angles.values(), found.rotations) if one is not None]
        floors = [one.floor for one in rotations if one.floor is not None]
        notes.append(
            "equivariance error: root mean square change of the centred logits under the eight symmetries of the "
            "square, over their spread between images; 0: invariant, 1.4: unrelated answers; -: one answer for all "
            "images. class flips: images whose class changes under one of them. own group: the same error under the "
            "symmetries that the network declares. At angles that need interpolation, images are blurred and cut to a "
            "disc first" + (f"; interpolation makes up to {max(floors):.0e} of the error" if floors else "")
        )
    if len(measured) < len(results):
        notes.append(
            "equivariance error: not shown for runs of earlier versions of zoo, which stored another measure; "
            "measure their weights: zoo equivariance RUN"
        )
    return notes
