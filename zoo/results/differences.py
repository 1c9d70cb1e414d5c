"""Compares variants pair by pair on the same test images: their networks, or single trainings of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from zoo.errors import DataError, MissingError
from zoo.plurals import counted
from zoo.results.comparison import Variant
from zoo.results.files import read_file
from zoo.results.store import PREDICTIONS
from zoo.results.tasks import task_of_result
from zoo.scores.stats import (
    Array,
    area_interval,
    critical_value,
    holm,
    moments,
    two_sided_p,
)
from zoo.tasks.find import CORE, Tasks
from zoo.tasks.task import Contributions

SIGNIFICANCE = 0.05
POWER = 0.8
FEWEST_TRAININGS = 3
"""Trainings of each network below which nothing that was not found is called absent."""
MATTERS = 0.5
"""A difference that matters, as a share of the distance of the lower area from 1: half of the wrongly ranked pairs."""

Verdict = Literal["higher", "trainings differ", "trainings alike", "too few trainings", "too few images", "none found"]
"""Outcome of a comparison.

"higher": the first network is better, beyond chance. "trainings differ" and "trainings alike": a network has a single
training, so these trainings are compared and not the networks. "too few trainings" and "too few images": nothing was
found, and a difference that matters would not have been found. "none found": nothing was found, and it would have been.
"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A pair of variants on the same test images.

    Args:
        first, second: Their names; the first has the higher area.
        score: "macro", for the score that ranks networks, or another score, such as a class for its area.
        label: Name of the score for readers, such as "macro AUC".
        difference: Difference of the scores, averaged over seeds; first less second.
        low, high: 95 % interval of the difference, not corrected; over images only where a variant has one seed.
        p: Two-sided p value of the networks; None where a variant has one seed.
        corrected: P after Holm, over all pairs of the table; None where a variant has one seed.
        verdict: Outcome.
        detectable: Difference that would be found four times in five.
        seeds: Numbers of seeds of first and second.
        better: Direction of a plugin's metric, by which the first network is the better one; None for areas.
        corrected_away: Whether the interval of two trainings excludes 0, but not beyond chance in their table.
    """

    first: str
    second: str
    score: str
    label: str
    difference: float
    low: float
    high: float
    p: float | None
    corrected: float | None
    verdict: Verdict
    detectable: float
    seeds: tuple[int, int]
    better: Literal["higher", "lower"] | None = None
    corrected_away: bool = False

    @property
    def found(self) -> bool:
        """Whether there is a difference beyond chance, of the networks or, with one seed, of the trainings."""
        return self.verdict in ("higher", "trainings differ")

    @property
    def chance(self) -> str:
        """The corrected p value as a text; "" where the networks are not compared."""
        if self.corrected is None:
            return ""
        return "< 0.001" if self.corrected < 0.001 else f"= {self.corrected:.3f}"

    def in_words(self) -> str:
        """Return a sentence for a reader."""
        direction, side = ("lower", "below") if self.better == "lower" else ("higher", "above")
        over = " over images" if self.corrected is None else ""
        numbers = f"{self.difference:+.4f}, 95 %{over} {self.low:+.4f} to {self.high:+.4f}"
        numbers += f", corrected p {self.chance}" if self.chance else ""
        numbers += "; not beyond chance, corrected for all pairs of the table" if self.corrected_away else ""
        if self.verdict.startswith("too few"):
            numbers += f"; a difference below {self.detectable:.4f} would often be missed"
        sentence = _SENTENCES[self.verdict].format(
            first=self.first, second=self.second, what=self.label, direction=direction, side=side
        )
        return f"{sentence}: {numbers}"


_SENTENCES: dict[Verdict, str] = {
    "higher": "{first} has a {direction} {what} than {second}",
    "trainings differ": "Two trainings differ in {what}, {first} {side} {second}; one training does not rank a network",
    "trainings alike": "No difference in {what} was found between two trainings, of {first} and of {second}",
    "too few trainings": "Too few trainings to tell {first} and {second} apart in {what}",
    "too few images": "Too few test images to tell {first} and {second} apart in {what}",
    "none found": "No difference found in {what} between {first} and {second}",
}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Areas of one variant, with what each test image adds to their error.

    Args:
        name: Name of the variant.
        images: Name of the test images.
        scores: Names of the R scores, the one that ranks networks last.
        labels: Names of the scores for readers.
        areas: [seeds, R] scores.
        components: [R, N], mean over seeds; see `zoo.scores.stats.auc_components`.
        own: [R] variance of a score over images that one training does not share with others of the variant.
        largest: [R] largest change of a score by a single image.
        ends: [R, 2] interval of each mean score over images.
    """

    name: str
    images: str
    scores: tuple[str, ...]
    labels: tuple[str, ...]
    areas: Array
    components: Array
    own: Array
    largest: Array
    ends: Array


def make_sample(name: str, images: str, contributions: Iterable[Contributions]) -> Sample:
    """Return the sample of a variant.

    Args:
        name: Name of the variant.
        images: Name of the test images.
        contributions: Scores of each seed, with what each image adds to their error.
    """
    areas: list[Array] = []
    total: Array | float = 0.0
    squares: Array | float = 0.0
    for found in contributions:
        areas.append(found.values)
        total, squares = total + found.components, squares + (found.components**2).sum(1)
    count = len(areas)
    mean = np.asarray(total / count)
    middle, reach = np.mean(areas, 0), critical_value() * np.sqrt((mean**2).sum(1))
    ends = np.stack([middle - reach, middle + reach], 1)
    for row in range(len(ends)) if found.areas else ():
        ends[row] = area_interval(float(middle[row]), *moments(mean[row]), largest_effect=float(found.largest[row]))
    own = (np.asarray(squares) - count * (mean**2).sum(1)) / max(1, count - 1)
    return Sample(
        name=name,
        images=images,
        scores=found.names,
        labels=found.labels,
        areas=np.stack(areas),
        components=mean,
        own=own,
        largest=found.largest,
        ends=ends,
    )


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
            samples.append(_read_sample(variant, tasks))
        except (DataError, MissingError) as error:
            problems.append(f"{variant.name} is not compared: {error}")
    if len({sample.images for sample in samples}) > 1:
        problems.append("Not all variants were tested on the same images; only those that were are compared.")
    return compare_samples(samples), problems


def compare_samples(samples: Sequence[Sample]) -> list[Comparison]:
    """Compare every pair of samples on the same test images, for every score, the one that ranks networks first.

    The error of a difference has two sources. The trainings: each variant's variance between seeds over their number.
    The images: DeLong's paired variance of the areas averaged over seeds, less the part that is each training's own,
    which the variance between seeds holds already. Both are added; the p-value is Student's with Welch and
    Satterthwaite's degrees of freedom, corrected for the pairs of the table (Holm). Where a variant has one seed, only
    the source of the images can be estimated: the trainings are compared and not the networks.

    Args:
        samples: Samples of one problem.
    """
    comparisons: list[Comparison] = []
    count = len(samples[0].scores) if samples else 0
    for row in [count - 1, *range(count - 1)] if count else []:
        pairs = [(one, other) for one, other in combinations(samples, 2) if one.images == other.images]
        found = [compare_two(one, other, row) for one, other in pairs]
        for several in (False, True):  # networks and single trainings are two families of questions
            family = [each for each in found if (each[0].p is not None) == several]
            corrected = holm([p for _, p in family])
            comparisons += [
                judged(one, value, several=several) for (one, _), value in zip(family, corrected, strict=True)
            ]
    return comparisons


def _read_sample(variant: Variant, tasks: Tasks) -> Sample:
    """Return the sample of a variant.

    Raises:
        DataError: Predictions are missing or damaged, or the seeds were tested on different images.
        MissingError: The task's plugin is absent.
    """
    task = task_of_result(variant.results[0], tasks=tasks)
    names: set[str] = set()
    path = variant.results[0].run_dir / PREDICTIONS

    def read() -> Iterator[Contributions]:
        nonlocal path
        for result in variant.results:
            path = result.run_dir / PREDICTIONS
            arrays, metadata = read_file(result, PREDICTIONS, only=("test.logits", "test.labels"))
            labels = arrays["test.labels"]
            images = result.cell.recipe.of_image_alone.hash
            about = metadata.get("test.ids", "").encode() + labels.tobytes() + images.encode()
            names.add(hashlib.sha256(about).hexdigest())
            if len(names) > 1:
                raise DataError("its seeds were tested on different images.")
            predictions = arrays["test.logits"]
            if predictions.shape[1] != task.outputs:
                raise DataError(
                    f"{path} has {counted(predictions.shape[1], 'prediction')} an image, not {task.outputs}."
                )
            yield task.contributions(predictions, labels)

    try:
        sample = make_sample(variant.name, "", read())
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} cannot be scored: {error}.") from error
    return replace(sample, images=names.pop())


def compare_two(one: Sample, other: Sample, row: int) -> tuple[Comparison, float]:
    """Return a comparison before it is corrected and judged, and its p value, over images only with single seeds."""
    if other.areas[:, row].mean() > one.areas[:, row].mean():
        one, other = other, one
    difference = float(one.areas[:, row].mean() - other.areas[:, row].mean())
    several = min(len(one.areas), len(other.areas)) > 1
    images = float(((one.components[row] - other.components[row]) ** 2).sum())
    parts = []
    if several:
        for each in (one, other):
            count = len(each.areas)
            parts.append((float(each.areas[:, row].var(ddof=1)) / count, count - 1.0))
            images -= float(each.own[row]) / count
    images = max(0.0, images)
    if images + sum(part for part, _ in parts) < 1e-20:  # no pair of images is ranked differently, up to rounding
        images = float(max(one.largest[row], other.largest[row])) ** 2
    parts.append((images, math.inf))
    variance = sum(part for part, _ in parts)
    known = sum(part**2 / freedom for part, freedom in parts)
    freedom = variance**2 / known if known > 0 else math.inf
    error = math.sqrt(variance)
    reach = critical_value(degrees_of_freedom=freedom) * error
    low, high = difference - reach, difference + reach
    p = two_sided_p(difference / error, degrees_of_freedom=freedom)
    if not several:
        low, high = _over_images(one, other, row)
        # Below 0.05 where, and only where, the interval ends above 0.
        p = two_sided_p(critical_value() * difference / (difference - low)) if difference > low else 1.0
    power = critical_value(2 * POWER - 1, degrees_of_freedom=freedom)
    limit = (1 - float(other.areas[:, row].mean())) * MATTERS
    from_images = (critical_value() + critical_value(2 * POWER - 1)) * math.sqrt(images)
    verdict: Verdict = "none found"
    if not several:
        verdict = "trainings alike"
    elif min(len(one.areas), len(other.areas)) < FEWEST_TRAININGS:
        verdict = "too few trainings"
    elif from_images > limit:
        verdict = "too few images"
    elif reach + power * error > limit:
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
        detectable=reach + power * error,
        seeds=(len(one.areas), len(other.areas)),
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


def judged(one: Comparison, corrected: float, *, several: bool) -> Comparison:
    """Return a comparison with its p value, corrected for its family of pairs, and its verdict."""
    found: Verdict = "higher" if several else "trainings differ"
    return replace(
        one,
        corrected=corrected if several else None,
        verdict=found if corrected < SIGNIFICANCE else one.verdict,
        corrected_away=not several and one.low > 0 and corrected >= SIGNIFICANCE,
    )
