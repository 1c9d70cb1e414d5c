"""Synthetic predictions with a known truth, and how often intervals and tests are right on them.

The predictions are synthetic, so the truth is known exactly. Scores of a class have one distribution where it is the
true class and the same one, shifted, where it is not; the scores of an image's three classes are correlated, as those
of a softmax are. Student's t with 5 and 3 degrees of freedom stands for networks that are far off on a few images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from zoo.results.comparison import interval_of_mean
from zoo.results.differences import compare_samples
from zoo.results.samples import Sample, make_sample
from zoo.results.verdict import Comparison
from zoo.scores.intervals import intervals
from zoo.tasks.classify import area_contributions

Array = NDArray[np.float64]


@cache
def shift_for(area: float, freedom: int) -> float:
    """Return the shift that gives two equal distributions this area under the ROC curve."""
    from scipy import optimize, stats

    if not freedom:
        return float(np.sqrt(2) * stats.norm.ppf(area))
    # 1 - area = P(x + shift < y), integrated over x = sinh(u), which reaches far into the tails.
    u = np.linspace(-12, 12, 4001)
    x, law = np.sinh(u), stats.t(freedom)
    weights = law.pdf(x) * np.cosh(u) * (u[1] - u[0])
    return float(optimize.brentq(lambda shift: weights @ law.sf(x + shift) - (1 - area), -1.0, 500.0, xtol=1e-9))


def predictions(
    random: np.random.Generator,
    images: int,
    *,
    area: float,
    freedom: int,
    groups: NDArray[np.int64] | None = None,
    alike: float = 0.0,
) -> tuple[Array, NDArray[np.int64]]:
    """Return scores [N, 3] and labels [N]; every class, their mean and the pooled decisions have this area.

    Args:
        random: Generator.
        images: N.
        area: True area under the ROC curve.
        freedom: Degrees of freedom of the scores; 0 is normal.
        groups: [N] number of the group of each image.
        alike: Share of the variance of a score that images of one group have in common.
    """
    labels = np.arange(images) % 3
    noise = random.normal(size=(images, 3))
    if groups is not None:
        noise = np.sqrt(1 - alike) * noise + np.sqrt(alike) * random.normal(size=(groups.max() + 1, 3))[groups]
    noise = (noise - noise.mean(1, keepdims=True)) * np.sqrt(1.5)  # of unit variance, correlation -1/2
    if freedom:
        noise *= np.sqrt(freedom / random.chisquare(freedom, size=(images, 1)))
    noise[np.arange(images), labels] += shift_for(area, freedom)
    return noise, labels


def coverage(images: int, *, area: float, freedom: int, repetitions: int, accuracy: bool = True) -> dict[str, float]:
    """Return the share of intervals that hold the truth, of a class, the macro and the micro area and the accuracy.

    Also "width", the median width of the macro area's interval, and "perfect", the share of repetitions in which all
    pairs of a class were in order.
    """
    random = np.random.default_rng([0, images, freedom, round(area * 10_000)])
    truth = {"auc_0": area, "auc_macro": area, "auc_micro": area}
    if accuracy:
        truth["accuracy"] = accuracy_of(area, freedom)
    held = dict.fromkeys(truth, 0)
    widths, perfect = [], 0
    for _ in range(repetitions):
        found = intervals(*predictions(random, images, area=area, freedom=freedom))
        for name, value in truth.items():
            held[name] += found[name][0] <= value <= found[name][1]
        widths.append(found["auc_macro"][1] - found["auc_macro"][0])
        perfect += found["auc_0"][1] == 1
    shares = {name: count / repetitions for name, count in held.items()}
    return {**shares, "width": float(np.median(widths)), "perfect": perfect / repetitions}


def coverage_of_groups(
    groups: int, *, area: float, alike: float, repetitions: int, images: int = 2048
) -> dict[str, float]:
    """Return the share of intervals of the macro area over "groups" and over "images" that hold the truth.

    Every image belongs to one of the groups, at random, whatever its class. Also "accuracy", over groups.
    """
    random = np.random.default_rng([3, groups, round(area * 10_000), round(alike * 100)])
    held = {"groups": 0, "images": 0, "accuracy": 0}
    for _ in range(repetitions):
        numbers = random.integers(groups, size=images)
        scores, labels = predictions(random, images, area=area, freedom=0, groups=numbers, alike=alike)
        over_groups, over_images = intervals(scores, labels, groups=numbers), intervals(scores, labels)
        for kind, found, name, truth in (
            ("groups", over_groups, "auc_macro", area),
            ("images", over_images, "auc_macro", area),
            ("accuracy", over_groups, "accuracy", accuracy_of(area, 0)),
        ):
            held[kind] += found[name][0] <= truth <= found[name][1]
    return {kind: count / repetitions for kind, count in held.items()}


@cache
def accuracy_of(area: float, freedom: int) -> float:
    """Return the true accuracy, from three million images."""
    random = np.random.default_rng(0)
    scores, labels = predictions(random, 3_000_000, area=area, freedom=freedom)
    return float((scores.argmax(1) == labels).mean())


def trainings(
    random: np.random.Generator, images: int, *, networks: Sequence[float], seeds: int, spread: float, freedom: int = 0
) -> list[Sample]:
    """Return trained networks on the same images, with these true areas and this spread between trainings."""
    labels = np.arange(images) % 3
    drawn = scores_of(random, labels, networks=networks, seeds=seeds, spread=spread, freedom=freedom)
    return [
        make_sample(f"network {index}", "the same", [area_contributions(one, labels, ("a", "b", "c")) for one in own])
        for index, own in enumerate(drawn)
    ]


def scores_of(
    random: np.random.Generator,
    labels: NDArray[np.int64],
    *,
    networks: Sequence[float],
    seeds: int,
    spread: float,
    freedom: int = 0,
) -> Iterator[Iterator[Array]]:
    """Yield, for each network, the scores [N, 3] of each of its trainings.

    Half of the variance of a score comes from the image; a quarter each from the network and from its training.
    """
    from scipy import stats

    images, own = len(labels), (np.arange(len(labels)), labels)

    def noise() -> Array:
        values = random.normal(size=(images, 3))
        return np.asarray((values - values.mean(1, keepdims=True)) * np.sqrt(1.5))

    tail = np.sqrt(freedom / random.chisquare(freedom, size=(images, 1))) if freedom else 1.0

    def of_seeds(area: float) -> Iterator[Array]:
        network = noise()
        slope = stats.norm.pdf(stats.norm.ppf(area))  # of the area by the standardised shift
        for _ in range(seeds):
            scores = (np.sqrt(0.5) * shared + 0.5 * network + 0.5 * noise()) * tail
            luck = np.sqrt(2) * spread / slope * random.normal() if spread else 0.0
            scores[own] += shift_for(area, freedom) + luck
            yield scores

    shared = noise()
    for area in networks:
        yield of_seeds(area)


def macro(samples: Sequence[Sample]) -> list[Comparison]:
    """Return the comparisons of the macro areas."""
    return [one for one in compare_samples(samples) if one.score == "macro"]


def difference_coverage(images: int, *, areas: tuple[float, float], freedom: int, repetitions: int) -> float:
    """Return the share of intervals of a difference between two trainings that hold the true one."""
    random = np.random.default_rng([1, images, freedom, *(round(area * 10_000) for area in areas)])
    held = 0
    for _ in range(repetitions):
        [one] = macro(trainings(random, images, networks=areas, seeds=1, spread=0.0, freedom=freedom))
        true = (areas[0] - areas[1]) * (1 if one.first == "network 0" else -1)
        held += one.low <= true <= one.high
    return held / repetitions


def mean_coverage(images: int, *, area: float, seeds: int, spread: float, repetitions: int) -> float:
    """Return the share of intervals of a mean macro area over seeds that hold the expected area of a training.

    The expectation is over networks of one kind, images and trainings, so the network's own part counts as an error.
    """
    from scipy import stats

    random = np.random.default_rng([3, images, seeds, round(spread * 10_000), round(area * 10_000)])
    standard = stats.norm.ppf(area)
    expected = float(stats.norm.cdf(standard / np.hypot(1, spread / stats.norm.pdf(standard))))
    labels, held = np.arange(images) % 3, 0
    for _ in range(repetitions):
        [own] = scores_of(random, labels, networks=[area], seeds=seeds, spread=spread)
        values, ends = [], []
        for scores in own:
            values.append(float(np.mean([area_of(scores[:, k], labels == k) for k in range(3)])))
            ends.append(intervals(scores, labels)["auc_macro"])
        low, high = interval_of_mean(values, ends)
        held += low <= expected <= high
    return held / repetitions


def area_of(scores: Array, positive: NDArray[np.bool_]) -> float:
    """Return an area under the ROC curve; scores have no ties."""
    ranks = scores.argsort().argsort() + 1
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))


def false_findings(*, networks: int, seeds: int, spread: float, repetitions: int, area: float = 0.98) -> float:
    """Return the share of tables of networks of equal quality in which some network is called better."""
    random = np.random.default_rng([2, networks, seeds, round(spread * 10_000)])
    called = 0
    for _ in range(repetitions):
        drawn = trainings(random, 2048, networks=[area] * networks, seeds=seeds, spread=spread)
        called += any(one.verdict == "higher" for one in macro(drawn))
    return called / repetitions
