"""Compares results: what may be compared, over seeds, pair by pair on the same images, and by training size."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from zoo.data.recipe import canonical_json
from zoo.errors import DataError
from zoo.plurals import counted
from zoo.results.cell import SCHEMA, Cell
from zoo.results.files import read_file
from zoo.results.schema import Finished, RunResult
from zoo.results.store import PREDICTIONS
from zoo.scores.stats import Array, critical_value, holm, macro_components, softmax, two_sided_p

SIGNIFICANCE = 0.05
MACRO = "macro"


def problem_key(cell: Cell, *, any_train_size: bool = False) -> str:
    """Return a text that is equal for cells whose scores may stand in one table.

    Args:
        cell: Cell of the result.
        any_train_size: Let the number of training images differ, as along a learning curve.
    """
    sizes = {name: size for name, size in cell.sizes.items() if not (any_train_size and name == "train")}
    # All that decides what the images are, versions too; where they were rendered changes their noise only.
    images = {**cell.recipe.identity(), "device_type": None}
    key = [cell.data, cell.budget, sizes, cell.rule, cell.precision, images, cell.task]
    given = {name: digest for name, digest in cell.images.items() if not (any_train_size and name == "train")}
    return canonical_json([*key, given] if given else key)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Results that differ in nothing but the seed.

    Args:
        name: The model's id, and in brackets the settings that distinguish it from other variants of the same model.
        results: One a seed, in their order.
    """

    name: str
    results: tuple[Finished, ...]

    @property
    def model(self) -> str:
        """The model's id."""
        return self.results[0].cell.model

    def auc(self, name: str = MACRO) -> list[float]:
        """Return the area of every seed, for a class or "macro"."""
        return [result.test.auc[name] for result in self.results]


def group_variants(results: Iterable[RunResult], *, any_train_size: bool = False) -> list[Variant]:
    """Return good results of one problem grouped by all but the seed, best mean macro AUC first."""
    groups: dict[str, list[Finished]] = {}
    for result in results:
        if result.status == "ok":
            groups.setdefault(canonical_json(_decided(result.cell, any_train_size)), []).append(result)
    settings = [_settings(group[0].cell, any_train_size) for group in groups.values()]
    found = []
    for group, own in zip(groups.values(), settings, strict=True):
        model = group[0].cell.model
        others = [other for other in settings if other["model"] == model]
        differing = [
            f"{name.rpartition('.')[2] if not name.startswith('versions.') else name[9:]} {value}"
            for name, value in own.items()
            if any(other.get(name) != value for other in others)
        ]
        ordered = sorted(group, key=lambda result: result.cell.seed)
        found.append(Variant(name=f"{model} ({', '.join(differing)})" if differing else model, results=tuple(ordered)))
    return sorted(found, key=lambda variant: (-_mean(variant.auc()), variant.name))


def _decided(cell: Cell, any_train_size: bool) -> dict[str, Any]:
    """Return a cell without its seed, and without its training size where that may differ."""
    content = {"schema": SCHEMA, **{name: value for name, value in cell.identity().items() if name != "seed"}}
    if any_train_size:
        for field in ("sizes", "images"):
            content[field] = {name: value for name, value in content.get(field, {}).items() if name != "train"}
    return content


def _settings(cell: Cell, any_train_size: bool) -> dict[str, Any]:
    """Return the leaves of a cell without its seed, by dotted name."""
    leaves: dict[str, Any] = {}
    for name, value in _decided(cell, any_train_size).items():
        leaves |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return leaves


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation between seeds; NaN for a single seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A pair of variants on the same test images.

    Args:
        first, second: Their names; the first has the higher area.
        score: "macro" or a class.
        difference: Difference of the areas, averaged over seeds; first less second.
        low, high: 95 % interval of the difference, not corrected.
        p: Two-sided p value.
        corrected: P after Holm, over all pairs of the table.
        seeds: Numbers of seeds of first and second.
    """

    first: str
    second: str
    score: str
    difference: float
    low: float
    high: float
    p: float
    corrected: float
    seeds: tuple[int, int]

    @property
    def found(self) -> bool:
        """Whether there is a difference beyond chance."""
        return self.corrected < SIGNIFICANCE

    def in_words(self) -> str:
        """Return a sentence for a reader."""
        what = "macro AUC" if self.score == MACRO else f"AUC of {self.score.replace('_', ' ')}"
        chance = "corrected p < 0.001" if self.corrected < 0.001 else f"corrected p = {self.corrected:.3f}"
        numbers = f"{self.difference:+.4f}, 95 % {self.low:+.4f} to {self.high:+.4f}, {chance}"
        if self.found:
            return f"{self.first} has a higher {what} than {self.second}: {numbers}"
        return f"No difference found in {what} between {self.first} and {self.second}: {numbers}"


def compare_pairs(variants: Sequence[Variant]) -> tuple[list[Comparison], list[str]]:
    """Compare every pair of variants, for the macro average and every class.

    The error of a difference has two sources. The images: DeLong's paired variance of the areas averaged over
    seeds, on the same test images. The seeds: each variant's variance between seeds over their number. Both are
    added; the p-value is Student's with Welch and Satterthwaite's degrees of freedom. With one seed only the
    first source can be estimated.

    Args:
        variants: Variants of one problem.

    Returns:
        Comparisons, and sentences on variants that could not be compared.
    """
    problems: list[str] = []
    samples: list[tuple[Variant, str, Array, Array]] = []
    for variant in variants:
        try:
            samples.append((variant, *_components(variant)))
        except DataError as error:
            problems.append(f"{variant.name} is not compared: {error}")
    if len({images for _, images, _, _ in samples}) > 1:
        problems.append("Not all variants were tested on the same images; only those that were are compared.")
    comparisons: list[Comparison] = []
    scores = [*variants[0].results[0].classes, MACRO] if variants else []
    # The areas of two classes are one number.
    rows = [len(scores) - 1, *(range(len(scores) - 1) if len(scores) > 3 else ())]
    for row in rows:
        family = [
            _compare(one, other, row, scores[row]) for one, other in combinations(samples, 2) if one[1] == other[1]
        ]
        corrected = holm([comparison.p for comparison in family])
        comparisons += [
            Comparison(**{**vars(comparison), "corrected": value})
            for comparison, value in zip(family, corrected, strict=True)
        ]
    return comparisons, problems


def _components(variant: Variant) -> tuple[str, Array, Array]:
    """Return a name of the test images, the areas [seeds, K + 1] and the mean components [K + 1, N] of a variant.

    Raises:
        DataError: Predictions are missing or damaged, or the seeds were tested on different images.
    """
    names, areas, total = set(), [], None
    for result in variant.results:
        arrays, metadata = read_file(result, PREDICTIONS, only=("test.logits", "test.labels"))
        labels = arrays["test.labels"]
        try:
            area, components = macro_components(softmax(arrays["test.logits"]), labels)
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{result.run_dir / PREDICTIONS} cannot be scored: {error}.") from error
        if len(area) != len(result.classes) + 1:
            raise DataError(
                f"{result.run_dir / PREDICTIONS} has {counted(len(area) - 1, 'class')}, not {len(result.classes)}."
            )
        about = metadata.get("test.ids", "").encode() + labels.tobytes() + result.data.recipe_hash.encode()
        names.add(hashlib.sha256(about).hexdigest())
        areas.append(area)
        total = components if total is None else total + components if total.shape == components.shape else total
    if len(names) > 1 or total is None:
        raise DataError("its seeds were tested on different images.")
    return names.pop(), np.stack(areas), total / len(areas)


def _compare(
    one: tuple[Variant, str, Array, Array], other: tuple[Variant, str, Array, Array], row: int, score: str
) -> Comparison:
    if other[2][:, row].mean() > one[2][:, row].mean():
        one, other = other, one
    difference = float(one[2][:, row].mean() - other[2][:, row].mean())
    parts = [(float(((one[3][row] - other[3][row]) ** 2).sum()), math.inf)]
    for _, _, areas, _ in (one, other):
        if len(areas) > 1:
            parts.append((float(areas[:, row].var(ddof=1)) / len(areas), len(areas) - 1))
    variance = sum(part for part, _ in parts)
    known = sum(part**2 / freedom for part, freedom in parts)
    freedom = variance**2 / known if known > 0 else math.inf
    # Two networks that rank every pair of images in the same order do not differ.
    error = math.sqrt(variance)
    p = two_sided_p(difference / error, degrees_of_freedom=freedom) if error else float(difference == 0)
    reach = critical_value(degrees_of_freedom=freedom) * error
    return Comparison(
        first=one[0].name,
        second=other[0].name,
        score=score,
        difference=difference,
        low=difference - reach,
        high=difference + reach,
        p=p,
        corrected=p,
        seeds=(len(one[2]), len(other[2])),
    )


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The macro AUC of a variant at one training size.

    Args:
        train_images: Training size.
        auc: Mean over seeds.
        spread: Standard deviation between seeds; NaN for one.
        low, high: 95 % interval over images and, where there are several, over seeds.
        seeds: Number of seeds.
    """

    train_images: int
    auc: float
    spread: float
    low: float
    high: float
    seeds: int


def learning_curves(results: Iterable[RunResult]) -> dict[str, list[Estimate]]:
    """Return macro AUC against training size, for variants that occur at several sizes and differ in nothing else.

    Args:
        results: Results of one problem, with any training size (`problem_key(..., any_train_size=True)`).

    Returns:
        Name of the variant -> points, smallest size first.
    """
    curves = {}
    for variant in group_variants(results, any_train_size=True):
        by_size: dict[int, list[Finished]] = {}
        for result in variant.results:
            by_size.setdefault(result.cell.sizes["train"], []).append(result)
        if len(by_size) > 1:
            curves[variant.name] = [estimate(by_size[size]) for size in sorted(by_size)]
    return curves


def estimate(results: Sequence[Finished]) -> Estimate:
    """Return the macro AUC of results that differ in the seed only, with its uncertainty."""
    values = [result.test.macro for result in results]
    lows, highs = np.array([result.test.intervals["auc.macro"] for result in results], dtype=float).T
    mean, between, reach = _mean(values), spread(values), 0.0
    if len(values) > 1:
        reach = critical_value(degrees_of_freedom=len(values) - 1) * between / math.sqrt(len(values))
    return Estimate(
        train_images=results[0].cell.sizes["train"],
        auc=mean,
        spread=between,
        # Errors of images and of seeds are independent, so their squares add.
        low=max(0.0, mean - math.hypot(mean - _mean(lows), reach)),
        high=min(1.0, mean + math.hypot(_mean(highs) - mean, reach)),
        seeds=len(values),
    )
