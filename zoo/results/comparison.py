"""Groups results: what may be compared, over seeds and by training size. Differences: `zoo.results.differences`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.data.recipe import canonical_json
from zoo.results.cell import Cell
from zoo.results.naming import distinguish, variant_keys, with_settings
from zoo.results.schema import Finished, RunResult
from zoo.scores.schema import Scores
from zoo.scores.stats import critical_value, difference_of_independent

MACRO = "macro"


def problem_key(cell: Cell, *, any_train_size: bool = False) -> str:
    """Return a text that is equal for cells whose scores may stand in one table.

    Args:
        cell: Cell of the result. Its phases are left out, since the images of a test do not depend on them, and
            derived channels, since they are computed from these images.
        any_train_size: Whether the number of training images may differ, as along a learning curve.
    """
    sizes = {name: size for name, size in cell.sizes.items() if not (any_train_size and name == "train")}
    # All that decides what the images are, versions too; where they were rendered changes their noise only.
    # Not the precision of the training, which a network may choose: scores are computed in float32.
    images = {**cell.recipe.of_image_alone.identity(), "device_type": None}
    key: list[Any] = [cell.data, cell.budget, sizes, cell.rule, images, cell.task]
    given = {name: digest for name, digest in cell.images.items() if not (any_train_size and name == "train")}
    key += [each for each in (given, cell.task_version) if each]
    return canonical_json(key)


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

    @property
    def label(self) -> str:
        """Name of the score that ranks networks, such as "macro AUC"."""
        return self.results[0].test.headline.label

    def headline(self) -> list[float]:
        """Return the score that ranks networks, of every seed."""
        return [result.test.headline.value for result in self.results]

    def auc(self, name: str = MACRO) -> list[float]:
        """Return the area of every seed, for a class or "macro"; the headline score in tasks that have no areas."""
        return [
            result.test.auc[name] if isinstance(result.test, Scores) else result.test.headline.value
            for result in self.results
        ]

    @property
    def rank(self) -> float:
        """Mean of the headline score, with the sign by which higher is better."""
        return _mean([result.test.headline.rank for result in self.results])


def group_variants(results: Iterable[RunResult], *, any_train_size: bool = False) -> list[Variant]:
    """Return good results of one problem grouped by all but the seed, best mean headline score first."""
    good = [result for result in results if result.status == "ok"]
    groups: dict[str, list[Finished]] = {}
    for key, result in zip(variant_keys((r.cell for r in good), any_train_size=any_train_size), good, strict=True):
        groups.setdefault(key, []).append(result)
    of_models: dict[str, list[list[Finished]]] = {}
    for group in groups.values():
        of_models.setdefault(group[0].cell.model, []).append(sorted(group, key=lambda result: result.cell.seed))
    found = []
    for model, own in of_models.items():
        cells = [[result.cell for result in group] for group in own]
        differing = distinguish(cells, any_train_size=any_train_size)
        found += [
            Variant(name=with_settings(model, settings), results=tuple(group))
            for group, settings in zip(own, differing, strict=True)
        ]
    return sorted(found, key=lambda variant: (-variant.rank, variant.name))


def names_of_rows(variants: Iterable[Variant]) -> dict[str, str]:
    """Return run id -> name of its variant."""
    return {result.run_id: variant.name for variant in variants for result in variant.results}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def spread_note(variants: Sequence[Variant]) -> str:
    """Return what the spread between seeds holds, or "" where no variant has several."""
    several = [variant for variant in variants if len(variant.results) > 1 and not variant.results[0].scored]
    seeded = [v for v in several if any(result.cell.train_seed is not None for result in v.results)]
    own = [variant.name for variant in seeded if not _takes_all(variant.results[0])]
    every = [variant.name for variant in seeded if variant.name not in own]
    shared = [variant.name for variant in several if variant not in seeded]
    what = "initial weights, order of the images and augmentation"
    parts = [f"{what} of {', '.join(shared)}, on the same training images (others: --data-seeds)"] if shared else []
    parts += [f"{what} and choice of the training images of {', '.join(own)}"] if own else []
    parts += [f"{what} of {', '.join(every)}, on all training images that there are"] if every else []
    return f"The spread between seeds holds {'; '.join(parts)}." if parts else ""


def _takes_all(result: Finished) -> bool:
    """Whether a training on stored images used all that there are for training."""
    used = result.data.counts.get("train")
    return result.cell.recipe.simulator is None and used is not None and sum(used) < result.cell.sizes["train"]


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation between seeds; NaN for a single seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The headline score, such as the macro AUC, of a variant at one training size.

    Args:
        train_images: Training size.
        score: Mean over seeds.
        spread: Standard deviation between seeds; NaN for one.
        low, high: 95 % interval over images, or groups of them, and, where there are several, over seeds.
        seeds: Number of seeds.
        label: Name of the score.
        higher_is_better: Its direction.
    """

    train_images: int
    score: float
    spread: float
    low: float
    high: float
    seeds: int
    label: str = "macro AUC"
    higher_is_better: bool = True

    @property
    def rank(self) -> float:
        """The score with the sign by which higher is better."""
        return self.score if self.higher_is_better else -self.score


def learning_curves(results: Iterable[RunResult]) -> dict[str, list[Estimate]]:
    """Return the headline score against training size, for variants that differ in nothing else.

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


def interval_of_mean(values: Sequence[float], intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the 95 % interval of a mean over seeds: of the images, and of the trainings where there are several.

    Args:
        values: Score of each seed, on the same test images.
        intervals: Interval of each over the test images.
    """
    lows, highs = np.array(intervals, dtype=float).T
    # Areas and shares end at 0 and 1.
    least, most = (0.0, 1.0) if all(0 <= end <= 1 for one in intervals for end in one) else (-math.inf, math.inf)
    low, high = with_spread(_mean(values), (_mean(lows), _mean(highs)), trainings=values)
    return max(least, low), min(most, high)


def with_spread(middle: float, ends: tuple[float, float], *, trainings: Sequence[float]) -> tuple[float, float]:
    """Return a 95 % interval over images that is widened by the spread between trainings.

    Args:
        middle: Mean score of the trainings, or its difference from another score.
        ends: Interval of this number over the test images.
        trainings: Score of each training; the spread of a single one is unknown and adds nothing.
    """
    reach, count = 0.0, len(trainings)
    if count > 1:
        reach = critical_value(degrees_of_freedom=count - 1) * spread(trainings) / math.sqrt(count)
    # Errors of images and of seeds are independent, so their squares add.
    return middle - math.hypot(middle - ends[0], reach), middle + math.hypot(ends[1] - middle, reach)


def estimate(results: Sequence[Finished]) -> Estimate:
    """Return the headline score of results that differ in the seed only, with its uncertainty."""
    headlines = [result.test.headline for result in results]
    values = [one.value for one in headlines]
    low, high = interval_of_mean(values, [one.interval for one in headlines])
    return Estimate(
        train_images=results[0].cell.sizes["train"],
        score=_mean(values),
        spread=spread(values),
        low=low,
        high=high,
        seeds=len(values),
        label=headlines[0].label,
        higher_is_better=headlines[0].higher_is_better,
    )


def is_above(variant: Variant, bar: Variant) -> bool:
    """Return whether a variant is better by the 95 % interval of the difference, as of separate test images."""
    one, other = estimate(variant.results), estimate(bar.results)
    _, (low, high) = difference_of_independent(one.score, (one.low, one.high), other.score, (other.low, other.high))
    return low > 0 if one.higher_is_better else high < 0
