"""Compares variants pair by pair on the same test images: their networks, or single trainings of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from zoo.errors import DataError, MissingError
from zoo.results.comparison import Variant, with_spread
from zoo.results.samples import Sample, read_sample
from zoo.results.verdict import Comparison, Verdict
from zoo.scores.stats import (
    critical_value,
    holm,
    two_sided_p,
)
from zoo.tasks.find import CORE, Tasks

SIGNIFICANCE = 0.05
POWER = 0.8
FEWEST_TRAININGS = 3
"""Trainings of each network below which nothing that was not found is called absent."""
MATTERS = 0.5
"""A difference that matters, as a share of the distance of the lower area from 1: half of the wrongly ranked pairs."""


def compare_pairs(variants: Sequence[Variant], *, tasks: Tasks = CORE) -> tuple[list[Comparison], list[str]]:
    """Compare every pair of variants, for every score that the task compares; see `compare_samples`.

    Args:
        variants: Variants of one problem.
        tasks: Tasks that are installed.

    Returns:
        Comparisons, and sentences on variants that could not be compared.
    """
    problems: list[str] = []
    samples: list[Sample] = []
    for variant in variants:
        try:
            samples.append(read_sample(variant, tasks))
        except (DataError, MissingError) as error:
            problems.append(f"{variant.name} is not compared: {error}")
    if others := [sample.name for sample in samples if sample.images != samples[0].images]:
        problems.append(
            f"Tested on other images, labels or groups of images than {samples[0].name}: {', '.join(others)}. Only "
            "variants that were tested on the same ones are compared."
        )
    return compare_samples(samples), problems


def compare_samples(samples: Sequence[Sample]) -> list[Comparison]:
    """Compare every pair of samples on the same test images, for every score, the one that ranks networks first.

    The error of a difference has two sources. The trainings: each variant's variance between seeds over their number.
    The images: DeLong's paired variance of the areas averaged over seeds, less the part that is each training's own,
    which the variance between seeds holds already. Both are added; the p-value is Student's with Welch and
    Satterthwaite's degrees of freedom, corrected for the pairs of the table (Holm). Where a variant has one seed, the
    spread of its trainings is unknown: trainings are compared and not the networks. Their interval is over images and
    the trainings of the other variant, where it has several.

    Args:
        samples: Samples of one problem.
    """
    comparisons: list[Comparison] = []
    count = len(samples[0].scores) if samples else 0
    for row in [count - 1, *range(count - 1)] if count else []:
        comparisons += compare_by(samples, row)
    return comparisons


def compare_by(samples: Sequence[Sample], row: int) -> list[Comparison]:
    """Compare every pair of samples on the same test images by one score, of which this is the number."""
    comparisons = []
    pairs = [(one, other) for one, other in combinations(samples, 2) if one.images == other.images]
    for several in (False, True):  # networks and single trainings are two families of questions
        own = [pair for pair in pairs if (min(len(sample.areas) for sample in pair) > 1) == several]
        family = [_compare_two(one, other, row, pairs=len(own)) for one, other in own]
        corrected = holm([p for _, p in family])
        comparisons += [_judged(one, value, several=several) for (one, _), value in zip(family, corrected, strict=True)]
    return comparisons


def _compare_two(one: Sample, other: Sample, row: int, *, pairs: int) -> tuple[Comparison, float]:
    """Return a comparison before it is corrected and judged, and its p value.

    Args:
        one, other: Samples on the same test images.
        row: Number of the score.
        pairs: Number of comparisons that the p value will be corrected for. What would be found four times in five is
            at the strictest level of the correction, that of the smallest p value.
    """
    if other.areas[:, row].mean() > one.areas[:, row].mean():
        one, other = other, one
    difference = float(one.areas[:, row].mean() - other.areas[:, row].mean())
    several = min(len(one.areas), len(other.areas)) > 1
    images = float(((one.components[row] - other.components[row]) ** 2).sum())
    parts = []
    repeated = [each for each in (one, other) if len(each.areas) > 1]
    for each in repeated:
        count = len(each.areas)
        parts.append((float(each.areas[:, row].var(ddof=1)) / count, count - 1.0))
        images -= float(each.own[row]) / count
    images = max(0.0, images)
    if images + sum(part for part, _ in parts) < 1e-20:  # no pair of images is ranked differently, up to rounding
        images = float(max(one.largest[row], other.largest[row])) ** 2
    parts.append((images, one.freedom))
    variance = sum(part for part, _ in parts)
    known = sum(part**2 / freedom for part, freedom in parts)
    freedom = variance**2 / known if known > 0 else math.inf
    error = math.sqrt(variance)
    reach = critical_value(degrees_of_freedom=freedom) * error
    low, high = difference - reach, difference + reach
    p = two_sided_p(difference / error, degrees_of_freedom=freedom)
    if not several:
        low, high = _over_images(one, other, row)
        for each in repeated:  # one variant at most
            low, high = with_spread(difference, (low, high), trainings=each.areas[:, row].tolist())
        # Below 0.05 where, and only where, the interval ends above 0.
        reach = critical_value(degrees_of_freedom=freedom)
        deviation = reach * difference / (difference - low) if difference > low else 0.0
        p = two_sided_p(deviation, degrees_of_freedom=freedom)
    strictest = 1 - SIGNIFICANCE / pairs
    detectable = error * sum(critical_value(level, degrees_of_freedom=freedom) for level in (strictest, 2 * POWER - 1))
    limit = (1 - float(other.areas[:, row].mean())) * MATTERS
    quantiles = sum(critical_value(level, degrees_of_freedom=one.freedom) for level in (strictest, 2 * POWER - 1))
    from_images = quantiles * math.sqrt(images)
    verdict: Verdict = "none found"
    if not several:
        verdict = "trainings alike"
    elif min(len(one.areas), len(other.areas)) < FEWEST_TRAININGS:
        verdict = "too few trainings"
    elif from_images > limit:
        verdict = "too few images"
    elif detectable > limit:
        verdict = "too few trainings"
    comparison = Comparison(
        first=one.name,
        second=other.name,
        score=one.scores[row],
        label=one.labels[row],
        difference=difference,
        low=low,
        high=high,
        p=p if several else None,
        corrected=None,
        verdict=verdict,
        detectable=detectable,
        seeds=(len(one.areas), len(other.areas)),
        over=one.over,
    )
    return comparison, p


def _over_images(one: Sample, other: Sample, row: int) -> tuple[float, float]:
    """Return an interval of the difference over images, for two trainings.

    The intervals of both areas are joined (Zou & Donner 2008, Statist. Med. 27, 1693): they are skewed near an area
    of 1, where a symmetric interval of the difference holds the truth too rarely.
    """
    (low, high), (other_low, other_high) = one.ends[row], other.ends[row]
    area, other_area = one.areas[:, row].mean(), other.areas[:, row].mean()
    first, second = one.components[row], other.components[row]
    product = math.sqrt(float((first @ first) * (second @ second)))
    correlation = float(first @ second) / product if 0 < product < math.inf else 0.0

    def joined(down: float, up: float) -> float:
        return math.sqrt(max(0.0, down**2 + up**2 - 2 * correlation * down * up))

    difference = float(area - other_area)
    return difference - joined(area - low, other_high - other_area), difference + joined(
        high - area, other_area - other_low
    )


def _judged(one: Comparison, corrected: float, *, several: bool) -> Comparison:
    """Return a comparison with its p value, corrected for its family of pairs, and its verdict."""
    found: Verdict = "higher" if several else "trainings differ"
    return replace(
        one,
        corrected=corrected if several else None,
        verdict=found if corrected < SIGNIFICANCE else one.verdict,
        corrected_away=one.low > 0 and corrected >= SIGNIFICANCE,
    )
