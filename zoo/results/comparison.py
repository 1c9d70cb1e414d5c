"""Groups results: what may be compared, over seeds and by training size. Differences: `zoo.results.differences`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.data.phases import describe_phases
from zoo.data.recipe import canonical_json
from zoo.results.cell import SCHEMA, Cell
from zoo.results.schema import Finished, RunResult
from zoo.scores.stats import critical_value

MACRO = "macro"


def problem_key(cell: Cell, *, any_train_size: bool = False) -> str:
    """Return a text that is equal for cells whose scores may stand in one table.

    Args:
        cell: Cell of the result. Its phases are left out: the images of a test do not depend on them.
        any_train_size: Let the number of training images differ, as along a learning curve.
    """
    sizes = {name: size for name, size in cell.sizes.items() if not (any_train_size and name == "train")}
    # All that decides what the images are, versions too; where they were rendered changes their noise only.
    # Not the precision of the training, which a network may choose: scores are computed in float32.
    images = {**cell.recipe.identity(), "device_type": None}
    key = [cell.data, cell.budget, sizes, cell.rule, images, cell.task]
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
    """Return a cell without its seeds, and without its training size where that may differ."""
    content = {"schema": SCHEMA, **{name: value for name, value in cell.identity().items() if name != "seed"}}
    if content.pop("train_seed", None) is not None:
        content["training images"] = "of each seed"
    content.pop("predictions", None)  # a method that was trained several times elsewhere, each with its seed
    if content.pop("phases", None):
        content["trained on"] = describe_phases(cell.phases)
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


def spread_note(variants: Sequence[Variant]) -> str:
    """Return what the spread between seeds holds, or "" where no variant has several."""
    several = [variant for variant in variants if len(variant.results) > 1 and not variant.results[0].scored]
    own = [variant.name for variant in several if variant.results[0].cell.train_seed is not None]
    shared = [variant.name for variant in several if variant.results[0].cell.train_seed is None]
    what = "initial weights, order of the images and augmentation"
    parts = [f"{what} of {', '.join(shared)}, on the same training images (others: --data-seeds)"] if shared else []
    parts += [f"{what} and choice of the training images of {', '.join(own)}"] if own else []
    return f"The spread between seeds holds {'; '.join(parts)}." if parts else ""


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation between seeds; NaN for a single seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


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
