"""Compares variants pair by pair on the same test images: their networks, or single trainings of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.plurals import counted
from zoo.results.comparison import MACRO, Variant
from zoo.results.files import read_file
from zoo.results.store import PREDICTIONS
from zoo.scores.stats import (
    Array,
    area_interval,
    critical_value,
    holm,
    largest_effects,
    macro_components,
    moments,
    softmax,
    two_sided_p,
)

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
        score: "macro" or a class.
        difference: Difference of the areas, averaged over seeds; first less second.
        low, high: 95 % interval of the difference, not corrected; over images only where a variant has one seed.
        p: Two-sided p value of the networks; None where a variant has one seed.
        corrected: P after Holm, over all pairs of the table; None where a variant has one seed.
        verdict: Outcome.
        detectable: Difference that would be found four times in five.
        seeds: Numbers of seeds of first and second.
        better: Direction of a plugin's metric, by which the first network is the better one; None for areas.
    """

    first: str
    second: str
    score: str
    difference: float
    low: float
    high: float
    p: float | None
    corrected: float | None
    verdict: Verdict
    detectable: float
    seeds: tuple[int, int]
    better: Literal["higher", "lower"] | None = None

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
        what = "macro AUC" if self.score == MACRO else f"AUC of {self.score.replace('_', ' ')}"
        if self.better is not None:
            what = self.score
        direction, side = ("lower", "below") if self.better == "lower" else ("higher", "above")
        over = " over images" if self.corrected is None else ""
        numbers = f"{self.difference:+.4f}, 95 %{over} {self.low:+.4f} to {self.high:+.4f}"
        if self.chance:
            numbers += f", corrected p {self.chance}"
        if self.verdict.startswith("too few"):
            numbers += f"; a difference below {self.detectable:.4f} would often be missed"
        sentence = _SENTENCES[self.verdict].format(
            first=self.first, second=self.second, what=what, direction=direction, side=side
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
        areas: [seeds, K + 1], the macro average last.
        components: [K + 1, N], mean over seeds; see `zoo.scores.stats.auc_components`.
        own: [K + 1] variance of an area over images that one training does not share with others of the variant.
        largest: [K + 1] largest change of an area by a single image.
        ends: [K + 1, 2] interval of each mean area over images.
    """

    name: str
    images: str
    areas: Array
    components: Array
    own: Array
    largest: Array
    ends: Array


def make_sample(name: str, images: str, predictions: Iterable[tuple[Array, NDArray[np.int64]]]) -> Sample:
    """Return the sample of a variant.

    Args:
        name: Name of the variant.
        images: Name of the test images.
        predictions: Probabilities [N, K] and labels [N] of each seed.
    """
    areas: list[Array] = []
    total: Array | float = 0.0
    squares: Array | float = 0.0
    largest: Array | None = None
    for probabilities, labels in predictions:
        area, components = macro_components(probabilities, labels)
        areas.append(area)
        total, squares = total + components, squares + (components**2).sum(1)
        largest = largest_effects(labels, probabilities.shape[1])
    count = len(areas)
    mean, largest = np.asarray(total / count), np.asarray(largest)
    ends = [
        area_interval(float(area), *moments(component), largest_effect=float(effect))
        for area, component, effect in zip(np.mean(areas, 0), mean, largest, strict=True)
    ]
    own = (np.asarray(squares) - count * (mean**2).sum(1)) / max(1, count - 1)
    return Sample(
        name=name,
        images=images,
        areas=np.stack(areas),
        components=mean,
        own=own,
        largest=largest,
        ends=np.array(ends),
    )


def compare_pairs(variants: Sequence[Variant]) -> tuple[list[Comparison], list[str]]:
    """Compare every pair of variants, for the macro average and every class; see `compare_samples`.

    Args:
        variants: Variants of one problem.

    Returns:
        Comparisons, and sentences on variants that could not be compared.
    """
    problems: list[str] = []
    samples: list[Sample] = []
    for variant in variants:
        try:
            samples.append(_read_sample(variant))
        except DataError as error:
            problems.append(f"{variant.name} is not compared: {error}")
    if len({sample.images for sample in samples}) > 1:
        problems.append("Not all variants were tested on the same images; only those that were are compared.")
    return compare_samples(samples, variants[0].results[0].classes if variants else ()), problems


def compare_samples(samples: Sequence[Sample], classes: Sequence[str]) -> list[Comparison]:
    """Compare every pair of samples on the same test images, for the macro average and every class.

    The error of a difference has two sources. The trainings: each variant's variance between seeds over their number.
    The images: DeLong's paired variance of the areas averaged over seeds, less the part that is each training's own,
    which the variance between seeds holds already. Both are added; the p-value is Student's with Welch and
    Satterthwaite's degrees of freedom, corrected for the pairs of the table (Holm). Where a variant has one seed, only
    the source of the images can be estimated: the trainings are compared and not the networks.

    Args:
        samples: Samples of one problem.
        classes: K names.
    """
    comparisons: list[Comparison] = []
    # The areas of two classes are one number.
    rows = [len(classes), *(range(len(classes)) if len(classes) > 2 else ())] if classes else []
    for row in rows:
        score = [*classes, MACRO][row]
        pairs = [(one, other) for one, other in combinations(samples, 2) if one.images == other.images]
        found = [compare_two(one, other, row, score) for one, other in pairs]
        for several in (False, True):  # networks and single trainings are two families of questions
            family = [each for each in found if (each[0].p is not None) == several]
            corrected = holm([p for _, p in family])
            comparisons += [
                judged(one, value, several=several) for (one, _), value in zip(family, corrected, strict=True)
            ]
    return comparisons


def _read_sample(variant: Variant) -> Sample:
    """Return the sample of a variant.

    Raises:
        DataError: Predictions are missing or damaged, or the seeds were tested on different images.
    """
    names: set[str] = set()
    path = variant.results[0].run_dir / PREDICTIONS

    def read() -> Iterator[tuple[Array, NDArray[np.int64]]]:
        nonlocal path
        for result in variant.results:
            path = result.run_dir / PREDICTIONS
            arrays, metadata = read_file(result, PREDICTIONS, only=("test.logits", "test.labels"))
            labels = arrays["test.labels"]
            about = metadata.get("test.ids", "").encode() + labels.tobytes() + result.data.recipe_hash.encode()
            names.add(hashlib.sha256(about).hexdigest())
            if len(names) > 1:
                raise DataError("its seeds were tested on different images.")
            probabilities = softmax(arrays["test.logits"])
            if probabilities.shape[1] != len(result.classes):
                raise DataError(f"{path} has {counted(probabilities.shape[1], 'class')}, not {len(result.classes)}.")
            yield probabilities, labels

    try:
        sample = make_sample(variant.name, "", read())
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} cannot be scored: {error}.") from error
    return replace(sample, images=names.pop())


def compare_two(one: Sample, other: Sample, row: int, score: str) -> tuple[Comparison, float]:
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
        score=score,
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
    )
