"""A stored truth that a network estimates, as weights and results state it; and the numbers that files may hold."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from zoo.schema import Record

# Files come from anywhere, and what they say ends up in file names and in networks to be built. The bounds are far
# beyond any image; they keep out infinities, and whole numbers that no float can hold.
Finite: TypeAlias = Annotated[float, Meta(gt=-1e30, lt=1e30)]
Answer: TypeAlias = Annotated[float, Meta(gt=-1e39, lt=1e39)]  # of a network, in single precision
Positive: TypeAlias = Annotated[float, Meta(gt=0, lt=1e30)]

FLOW_BINS = 8
"""Bins of the spline of a flow."""
FLOW_COLUMNS = 2 + 3 * FLOW_BINS - 1
"""Numbers of a flow: location, logarithm of the width; widths and heights of the bins, slopes between them."""


class Target(Record, omit_defaults=True):
    """A stored truth that a network estimates, with the unit of its answers; see `zoo.models.answer_units`.

    Args:
        name: Name of the truth.
        centre, scale: Mean and standard deviation of the training split; a network answers in these units.
        spread: Factor of the widths that a network answers, fitted on the validation split.
        quantiles: Quantiles of the training split at equal steps from 0 to 1.
        mean_answers, deviations: Mean and standard deviation of the answers for validation images of these truths; see
            `zoo.scores.response`.
        mean_copies, deviation_copies: The same for validation images drawn again, a row for each draw.
        skill: CRPS skill on the validation split; None in files of earlier versions.
    """

    name: str
    centre: Finite
    scale: Positive
    spread: Positive = 1.0
    quantiles: tuple[Finite, ...] = ()
    mean_answers: tuple[Finite, ...] = ()
    deviations: tuple[Positive, ...] = ()
    mean_copies: tuple[tuple[Finite, ...], ...] = ()
    deviation_copies: tuple[tuple[Positive, ...], ...] = ()
    skill: Finite | None = None

    def __post_init__(self) -> None:
        """Check that what is stated for each quantile is.

        Raises:
            ValueError: The lengths differ.
        """
        rows = [self.mean_answers, self.deviations, *self.mean_copies, *self.deviation_copies]
        lengths = {len(self.quantiles), *map(len, rows)} if self.mean_answers else set()
        if len(lengths) > 1 or len(self.mean_copies) != len(self.deviation_copies):
            raise ValueError(f"{self.name} states answers for other truths than its quantiles")
