"""Compares variants by the metrics of plugins, pair by pair, in the direction that the plugin declares.

The error over images comes from test images drawn again, the same draws for every network (`zoo.run.metrics`); the rest
is as for areas (`zoo.results.differences`). A metric has no known scale, so nothing is called absent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.results.comparison import Variant
from zoo.results.differences import compare_by
from zoo.results.files import read_resampled
from zoo.results.samples import Sample
from zoo.results.schema import Finished
from zoo.results.verdict import Comparison
from zoo.scores.stats import critical_value

Key = tuple[str, str]
"""A metric and one of its values."""
_LEAST_EFFECT = 1e-12
"""Error of a difference that no draw of images changes, so that it can be divided by."""


def declared_values(results: Sequence[Finished]) -> dict[Key, Literal["higher", "lower"]]:
    """Return the values with a direction that these results have: (metric, value) -> the better direction."""
    found: dict[Key, Literal["higher", "lower"]] = {}
    for result in results:
        for metric, values in result.directions.items():
            found |= {(metric, value): direction for value, direction in values.items()}
    return found


def value_name(key: Key) -> str:
    """Return the name of a value for readers, with that of its metric where the two differ."""
    metric, value = key
    name = metric.rpartition("/")[2]
    return value if value == name else f"{name} {value}"


def compare_metrics(variants: Sequence[Variant]) -> list[Comparison]:
    """Compare every pair of variants by each value with a direction; variants without it are left out.

    Args:
        variants: Variants of one problem.
    """
    results = [result for variant in variants for result in variant.results]
    directions = declared_values(results)
    if not directions:
        return []
    drawn: dict[str, dict[Key, NDArray[np.float64]]] = {}
    for result in results:
        try:
            drawn[result.run_id] = read_resampled(result)
        except DataError:
            drawn[result.run_id] = {}
    comparisons = []
    for key, direction in directions.items():
        samples = [sample for variant in variants if (sample := _sample(variant, key, direction, drawn))]
        comparisons += [_directed(one, direction) for one in compare_by(samples, 0)]
    return comparisons


def _sample(
    variant: Variant, key: Key, direction: str, drawn: dict[str, dict[Key, NDArray[np.float64]]]
) -> Sample | None:
    """Return a variant's values as a sample of one score, of which more is better; None where a seed has no draws."""
    metric, value = key
    sign = 1.0 if direction == "higher" else -1.0
    values, draws = [], []
    for result in variant.results:
        if value not in result.test.extra.get(metric, {}) or key not in drawn[result.run_id]:
            return None
        values.append(sign * result.test.extra[metric][value])
        draws.append(sign * drawn[result.run_id][key])
    if len({len(each) for each in draws}) > 1:
        return None
    # Vectors whose squared length is the variance over images, as `zoo.scores.stats.auc_components` gives for areas.
    groups = {str(result.test.image_groups) for result in variant.results}
    if len(groups) > 1:
        return None
    first = variant.results[0]
    several = 0 if first.test.image_groups is None else first.test.image_groups.values
    # A bootstrap over G groups lacks a factor of G / (G - 1) in the variance.
    freedom, factor = (several - 1.0, several / (several - 1)) if several > 1 else (math.inf, 1.0)
    components = np.stack([(each - each.mean()) * math.sqrt(factor / len(each)) for each in draws])
    mean, count = components.mean(0), len(values)
    own = float((components**2).sum() - count * (mean**2).sum()) / max(1, count - 1)
    middle = float(np.mean(values))
    reach = critical_value(degrees_of_freedom=freedom) * math.sqrt(float((mean**2).sum()))
    drawn_from = f"{first.data.counts['test']} {first.test.image_groups}"
    return Sample(
        name=variant.name,
        images=f"{first.cell.recipe.of_image_alone.hash} {drawn_from} {len(draws[0])}",
        scores=(value_name(key),),
        labels=(value_name(key),),
        areas=np.array(values)[:, None],
        components=mean[None],
        own=np.array([own]),
        largest=np.array([_LEAST_EFFECT]),
        ends=np.array([[middle - reach, middle + reach]]),
        freedom=freedom,
    )


def _directed(one: Comparison, direction: Literal["higher", "lower"]) -> Comparison:
    """Return a comparison in the unit of the metric, without a statement that needs its scale."""
    verdict = "too few trainings" if one.verdict in ("none found", "too few images") else one.verdict
    if direction == "higher":
        return replace(one, better=direction, verdict=verdict)
    return replace(
        one, better=direction, verdict=verdict, difference=-one.difference, low=-one.high, high=-one.low
    )  # fmt: skip
