"""Areas under the ROC curve in slices of the scenes' parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.about import UNDECLARED
from zoo.schema import Record
from zoo.scores.intervals import Grouping, interval_of_area
from zoo.scores.schema import Interval
from zoo.scores.stats import Array, auc_components, largest_effects, macro_components

SLICES = 5
ANOMALY = "any anomaly"
"""Subject of slices of all images by their anomaly score."""


class Bin(Record):
    """One slice of a parameter.

    Args:
        low: Lowest value.
        high: Highest value.
        middle: Median value.
        auc: Area under the ROC curve within the slice.
        interval: 95 % interval of it.
        images: Images in the slice.
    """

    low: float
    high: float
    middle: float
    auc: float
    interval: Interval
    images: int


class Slices(Record):
    """Areas in slices of one parameter of the scenes.

    Args:
        parameter: Name of the parameter.
        label: Label in pictures.
        subject: Class that is separated from all others, or "macro" for the average over classes; of anomaly scores,
            class of anomalies that is separated from normal images, or "any anomaly" for all of them.
        bins: Slices with as many images each, in the order of the parameter.
    """

    parameter: str
    label: str
    subject: str
    bins: tuple[Bin, ...]


def slice_scores(
    probabilities: Array,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    parameters: Mapping[str, NDArray[Any]],
    *,
    declared: Mapping[str, str] = MappingProxyType({}),
    normal: Sequence[int] = (),
    groups: NDArray[np.int64] | None = None,
) -> list[Slices]:
    """Return areas under the ROC curve in slices of the scenes' parameters, as many images in each.

    A parameter that varies in every class, such as the SNR, slices all images: the area is the macro average
    within the slice. One that only some classes have, such as the mass of a clump, slices the images of those
    classes: they are separated from all images of the other classes.

    Of anomaly scores, anomalies are separated from normal images: from those of the slice where the parameter varies in
    every class, else from all.

    Args:
        probabilities: [N, K]; [N, 1] of anomaly scores.
        labels: [N].
        classes: K names.
        parameters: Name -> [N]; columns that may be sliced.
        declared: Parameter -> label of those that are; default: the first four that vary.
        normal: Labels of normal images, for anomaly scores.
        groups: [N] number of the group of each image; None where all are independent.

    Returns:
        One entry for each parameter and class that it slices.
    """
    numeric = {
        name: np.asarray(values, dtype=np.float64)
        for name, values in parameters.items()
        if np.asarray(values).dtype.kind in "fiub"
    }
    varying = {
        name: [k for k in range(len(classes)) if _varies(values[labels == k])] for name, values in numeric.items()
    }
    chosen = [name for name in declared if varying.get(name)] or [name for name in varying if varying[name]][
        :UNDECLARED
    ]
    entries = []
    for name in chosen:
        values, label = numeric[name], declared.get(name, name.replace("_", " "))
        everywhere = len(varying[name]) == len(classes)
        for k in [None] if everywhere else [k for k in varying[name] if k not in normal]:
            scores = probabilities[:, 0 if normal else k or 0]
            others = None  # places of the images that those of a slice are separated from, by rising score
            if k is not None:
                against = np.flatnonzero(np.isin(labels, normal) if normal else labels != k)
                others = against[np.argsort(scores[against], kind="stable")]
            inside = np.flatnonzero(np.isfinite(values) & (True if k is None else labels == k))
            edges = np.unique(np.quantile(values[inside], np.linspace(0, 1, SLICES + 1)))
            place = np.searchsorted(edges[1:-1], values[inside], side="right")
            bins = []
            for index in range(len(edges) - 1):
                within = inside[place == index]
                if not len(within):
                    continue
                if others is None and normal:
                    positive = ~np.isin(labels[within], normal)
                    area, parts = auc_components(scores[within], positive)
                    effect = 1 / max(1, min(int(positive.sum()), int((~positive).sum())))
                elif others is None:
                    areas, components = macro_components(probabilities[within], labels[within])
                    area, parts = float(areas[-1]), components[-1]
                    effect = float(largest_effects(labels[within], len(classes))[-1])
                else:
                    within = within[np.argsort(scores[within], kind="stable")]
                    area, parts = _told_from(scores[within], scores[others])
                    effect = 1 / min(len(within), len(others))
                if others is None:
                    kinds, taken = np.isin(labels[within], normal) if normal else labels[within], within
                else:
                    kinds, taken = np.arange(len(parts)) < len(within), np.concatenate([within, others])
                grouping = Grouping.of(None if groups is None else groups[taken], kinds)
                if math.isfinite(area):
                    bins.append(
                        Bin(
                            low=float(values[within].min()),
                            high=float(values[within].max()),
                            middle=float(np.median(values[within])),
                            auc=area,
                            interval=interval_of_area(area, parts, largest_effect=effect, grouping=grouping),
                            images=len(within),
                        )
                    )
            if len(bins) > 1:
                subject = (ANOMALY if normal else "macro") if k is None else classes[k]
                entries.append(Slices(parameter=name, label=label, subject=subject, bins=tuple(bins)))
    return entries


def _told_from(hits: Array, misses: Array) -> tuple[float, Array]:
    """Return the area of some positives [P] against some negatives [M], both sorted, and its components [P + M].

    The same as `stats.auc_components` gives, where the same negatives serve many slices.
    """

    def placements(of: Array, among: Array) -> Array:
        return (np.searchsorted(among, of, "left") + np.searchsorted(among, of, "right")) / (2 * len(among))

    by_hit, by_miss = placements(hits, misses), placements(misses, hits)
    if len(hits) < 2 or len(misses) < 2:
        return float(by_hit.mean()), np.full(len(hits) + len(misses), math.inf)
    parts = [(each - each.mean()) / math.sqrt(len(each) * (len(each) - 1)) for each in (by_hit, by_miss)]
    return float(by_hit.mean()), np.concatenate(parts)


def _varies(values: Array) -> bool:
    finite = values[np.isfinite(values)]
    return len(finite) > 1 and bool((finite != finite[0]).any())
