"""The scalar probe: separation of the classes of a data set by simple numbers of an image, without its structure.

A linear and a gradient-boosted classifier on the numbers of `zoo.scores.scalars`, and each number by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.scores.intervals import intervals
from zoo.scores.scalars import NAMES, scalars_of
from zoo.scores.schema import Probe
from zoo.scores.stats import macro_components

if TYPE_CHECKING:
    from zoo.data.split import Split

MOST_IMAGES = 20_000
"""Images of a split that are looked at: simple numbers need no more."""
TREES, DEPTH = 100, 3
"""Stages of the boosted classifier, and depth of its trees."""
SHOWN = 4
"""Number of single scalars that a text names, best first."""

_SHUFFLES = 5

Features = NDArray[np.float64]


def probe_splits(train: Split, test: Split) -> Probe | None:
    """Return the result of `probe` for the first images of two splits."""
    features, labels = zip(*(_features_of(split) for split in (train, test)), strict=True)
    groups = None if test.groups is None else test.groups.numbers[: len(labels[1])]
    return probe(features[0], labels[0], features[1], labels[1], classes=train.classes, groups=groups)


def probe(
    train: Features,
    train_labels: NDArray[np.int64],
    test: Features,
    test_labels: NDArray[np.int64],
    *,
    classes: tuple[str, ...],
    names: tuple[str, ...] = NAMES,
    groups: NDArray[np.int64] | None = None,
) -> Probe | None:
    """Fit classifiers to standardised features, and return their test AUCs.

    Args:
        train, test: [n, F] and [m, F].
        train_labels, test_labels: [n], [m].
        classes: K names.
        names: F names of the features.
        groups: [m] number of the group of each test image; None where all are independent.

    Returns:
        The areas, or None where a class is missing in a split.
    """
    count = len(classes)
    if any(len(np.unique(labels)) < count for labels in (train_labels, test_labels)):
        return None
    mean, deviation = train.mean(0), train.std(0)
    scale = np.where(deviation > 1e-12 * np.abs(mean).clip(1e-12), deviation, 1.0)  # a constant carries no information
    train, test = (((each - mean) / scale).clip(-10, 10) for each in (train, test))
    linear, boosted = (_probabilities(kind, train, train_labels, test) for kind in ("linear", "boosted"))
    per_class, boosted_areas = _areas(linear, test_labels), _areas(boosted, test_labels)
    generator = np.random.default_rng(0)
    shuffled = []
    for number in range(_SHUFFLES):
        # Of both splits: a fit to shuffled labels still points somewhere, and true test labels may lie that way.
        some, others = generator.permutation(train_labels), generator.permutation(test_labels)
        # The boosted classifier once: it is slow.
        kinds = ("linear", "boosted") if number == 0 else ("linear",)
        shuffled.append([_areas(_probabilities(kind, train, some, test), others).mean() for kind in kinds])
    single = [
        _areas(_probabilities("linear", train[:, [k]], train_labels, test[:, [k]]), test_labels).mean()
        for k in range(train.shape[1])
    ]
    return Probe(
        auc=_named(per_class, classes),
        interval=intervals(linear, test_labels, groups=groups)["auc_macro"],
        shuffled=float(np.mean([areas[0] for areas in shuffled])),
        single=dict(zip(names, map(float, single), strict=True)),
        images={"train": len(train), "test": len(test)},
        boosted=_named(boosted_areas, classes),
        boosted_interval=intervals(boosted, test_labels, groups=groups)["auc_macro"],
        boosted_shuffled=float(shuffled[0][1]),
    )


def best_scalars(found: Probe) -> list[tuple[str, float]]:
    """Return the scalars that separate the classes best by themselves, with their areas, best first."""
    return sorted(found.single.items(), key=lambda item: -item[1])[:SHOWN]


def describe_probe(found: Probe | None) -> str:
    """Return one line about a result of `probe`."""
    if found is None:
        return "scalar probe: not possible, a class is missing"
    parts = [f"linear {found.auc['macro']:.3f} ({found.interval[0]:.3f} to {found.interval[1]:.3f})"]
    if found.boosted_interval is not None:
        low, high = found.boosted_interval
        parts.insert(0, f"boosted trees {found.boosted['macro']:.3f} ({low:.3f} to {high:.3f})")
    single = ", ".join(f"{name} {area:.3f}" for name, area in best_scalars(found))
    return (
        f"scalar probe ({len(found.single)} scalars): AUC macro {', '.join(parts)}; "
        f"alone: {single}; labels shuffled {found.shuffled:.3f}"
    )


def _features_of(split: Split) -> tuple[Features, NDArray[np.int64]]:
    """Return the scalars and labels of a split's first images, a chunk at a time."""
    parts: list[Features] = []
    left = MOST_IMAGES
    for chunk in split.chunks:
        for start in range(0, min(len(chunk), left), 256):
            images = np.array(chunk[start : min(start + 256, left)])
            parts.append(scalars_of(torch.from_numpy(images)).numpy())
        left = max(0, left - len(chunk))
    features = np.concatenate(parts)
    return features, np.asarray(split.labels)[: len(features)]


def _probabilities(kind: str, train: Features, labels: NDArray[np.int64], test: Features) -> Features:
    """Return [m, K] probabilities of the test images, of a "linear" or "boosted" classifier."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model: Any = LogisticRegression(max_iter=1000)
    if kind == "boosted":
        model = HistGradientBoostingClassifier(
            max_iter=TREES, max_depth=DEPTH, max_features=0.3, l2_regularization=10.0, early_stopping=False,
            random_state=0,
        )  # fmt: skip
    with threadpool_limits(1):  # several threads add gradients in an order that may differ from run to run
        probabilities: Features = model.fit(train, labels).predict_proba(test)
    return probabilities


def _named(areas: Features, classes: tuple[str, ...]) -> dict[str, float]:
    return {**dict(zip(classes, map(float, areas), strict=True)), "macro": float(areas.mean())}


def _areas(probabilities: Features, labels: NDArray[np.int64]) -> Features:
    """Return [K] one-vs-rest areas under the ROC curve."""
    return macro_components(probabilities, labels)[0][:-1]
