"""The leak probe: how well four numbers of an image separate the classes, without its structure.

A network that does not beat it has learnt how bright, large or peaked the ring is, and not what bends the light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.scores.schema import Probe
from zoo.scores.stats import intervals, macro_components

if TYPE_CHECKING:
    from zoo.data.split import Split

FEATURES = ("total flux", "ring radius", "central brightness", "peak")
MOST_IMAGES = 20_000
"""Images of a split that are looked at: four numbers need no more."""

_SHUFFLES = 5

Features = NDArray[np.float64]


def image_features(images: NDArray[np.float32]) -> Features:
    """Return the numbers of FEATURES for each image.

    Args:
        images: [n, C, H, W]; channels are added up.

    Returns:
        [n, 4]: the sum over all pixels; the mean distance from the centre in pixels, weighted by the light above
        the median pixel; the mean of the pixels within an eighth of the image's half width; the brightest pixel.
    """
    light = np.asarray(images, dtype=np.float64).sum(1)
    rows, columns = (np.arange(size) - (size - 1) / 2 for size in light.shape[1:])
    radius = np.hypot(rows[:, None], columns)
    above = np.clip(light - np.median(light, axis=(1, 2), keepdims=True), 0, None)
    weight = above.sum((1, 2))
    centre = radius <= max(1.0, min(light.shape[1:]) / 16)
    return np.stack(
        [
            light.sum((1, 2)),
            (above * radius).sum((1, 2)) / np.where(weight > 0, weight, 1),
            light[:, centre].mean(1),
            light.max((1, 2)),
        ],
        axis=1,
    )


def probe_splits(train: Split, test: Split) -> Probe | None:
    """Return the result of `probe` for the first images of two splits."""
    features, labels = zip(*(_features_of(split) for split in (train, test)), strict=True)
    return probe(features[0], labels[0], features[1], labels[1], classes=train.classes)


def probe(
    train: Features,
    train_labels: NDArray[np.int64],
    test: Features,
    test_labels: NDArray[np.int64],
    *,
    classes: tuple[str, ...],
) -> Probe | None:
    """Fit a multinomial logistic regression on standardised features and return its test AUCs.

    Args:
        train, test: [n, F] and [m, F], see `image_features`.
        train_labels, test_labels: [n], [m].
        classes: K names.

    Returns:
        The areas, or None where a class is missing in a split.
    """
    count = len(classes)
    if any(len(np.unique(labels)) < count for labels in (train_labels, test_labels)):
        return None
    mean, deviation = train.mean(0), train.std(0)
    scale = np.where(deviation > 1e-12 * np.abs(mean).clip(1e-12), deviation, 1.0)  # a constant carries no information
    train, test = (train - mean) / scale, (test - mean) / scale
    probabilities = _fit(train, train_labels, test)
    per_class = _areas(probabilities, test_labels)
    generator = np.random.default_rng(0)
    shuffled = []
    for _ in range(_SHUFFLES):
        # Of both splits: a fit to shuffled labels still points somewhere, and true test labels may lie that way.
        some, others = generator.permutation(train_labels), generator.permutation(test_labels)
        shuffled.append(_areas(_fit(train, some, test), others).mean())
    single = [
        _areas(_fit(train[:, [k]], train_labels, test[:, [k]]), test_labels).mean() for k in range(train.shape[1])
    ]
    return Probe(
        auc={**dict(zip(classes, map(float, per_class), strict=True)), "macro": float(per_class.mean())},
        interval=intervals(probabilities, test_labels)["auc_macro"],
        shuffled=float(np.mean(shuffled)),
        single=dict(zip(FEATURES, map(float, single), strict=False)),
        images={"train": len(train), "test": len(test)},
    )


def describe_probe(found: Probe | None) -> str:
    """Return one line about a result of `probe`."""
    if found is None:
        return "scalar probe: not possible, a class is missing"
    low, high = found.interval
    name, best = max(found.single.items(), key=lambda item: item[1])
    return (
        f"scalar probe ({', '.join(FEATURES)}): AUC macro {found.auc['macro']:.3f} ({low:.3f} to {high:.3f}), "
        f"{name} alone {best:.3f}, labels shuffled {found.shuffled:.3f}"
    )


def _features_of(split: Split) -> tuple[Features, NDArray[np.int64]]:
    """Return the features and labels of a split's first images, a chunk at a time."""
    parts: list[Features] = []
    left = MOST_IMAGES
    for chunk in split.chunks:
        for start in range(0, min(len(chunk), left), 256):
            parts.append(image_features(np.asarray(chunk[start : min(start + 256, left)])))
        left = max(0, left - len(chunk))
    features = np.concatenate(parts)
    return features, np.asarray(split.labels)[: len(features)]


def _fit(train: Features, labels: NDArray[np.int64], test: Features) -> Features:
    """Return [m, K] probabilities of the test images."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(train, labels)
    probabilities: Features = model.predict_proba(test)
    return probabilities


def _areas(probabilities: Features, labels: NDArray[np.int64]) -> Features:
    """Return [K] one-vs-rest areas under the ROC curve."""
    return macro_components(probabilities, labels)[0][:-1]
