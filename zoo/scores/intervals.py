"""Intervals of areas and shares, over images or over groups of images that are not independent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo.scores.stats import Array, auc_components, critical_value, largest_effects, macro_components

T = TypeVar("T", float, Array)

if TYPE_CHECKING:
    from zoo.data.image_groups import ImageGroups


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouping:
    """Several groups of N images, as intervals need them.

    Args:
        numbers: [N] number of the group of each image, from 0 to count - 1.
        count: Number of groups, two or more.
        effective: Number of groups of equal size that show as much of how groups differ as these (Kish 1965, Survey
            Sampling): the squared sum of their sizes over the sum of squares. Of the class that fewest groups show.
    """

    numbers: NDArray[np.int64]
    count: int
    effective: float

    @classmethod
    def of(cls, groups: NDArray[np.int64] | None, labels: NDArray[Any] | None = None) -> Grouping | None:
        """Return the grouping of some images.

        Args:
            groups: [N] number of the group of each image; None where all are independent.
            labels: [N] classes that a score separates; None where it is a mean over all images.

        Returns:
            The grouping; None where all are independent, and where all, or nearly all, are one group, which does not
            show how groups differ: intervals are over images then.
        """
        if groups is None:
            return None
        present, numbers = np.unique(groups, return_inverse=True)
        if len(present) < 2:
            return None
        numbers, count = numbers.reshape(-1), len(present)
        kinds = [np.ones(len(groups), bool)] if labels is None else [labels == label for label in np.unique(labels)]
        sizes = [np.bincount(numbers[kind], minlength=count).astype(float) for kind in kinds]
        found = cls(numbers=numbers, count=count, effective=min(float(n.sum() ** 2 / (n**2).sum()) for n in sizes))
        return None if labels is None and not found.known else found

    @property
    def known(self) -> bool:
        """Whether they show how groups differ: no class is in one group only, or nearly so."""
        return self.effective > 1.01

    @property
    def freedom(self) -> float:
        """Degrees of freedom of Student's t."""
        return self.effective - 1

    def stretch(self, level: float = 0.95) -> float:
        """Return the ratio of Student's quantile and the normal one at the ends of an interval of this level."""
        if not self.known:
            return math.inf
        return critical_value(level, degrees_of_freedom=self.freedom) / critical_value(level)

    def sums(self, components: Array) -> Array:
        """Return what each group adds to the errors of scores, [..., G] for [..., N] of the images.

        The components of a group are added before they are squared (Obuchowski 1997, Biometrics 53, 567). Infinite
        where groups do not show how they differ.
        """
        if not self.known:
            return np.full((*components.shape[:-1], self.count), math.inf)
        order = np.argsort(self.numbers, kind="stable")
        starts = np.searchsorted(self.numbers[order], np.arange(self.count))
        factor = math.sqrt((1 - 1 / len(self.numbers)) / (1 - 1 / self.effective))
        return np.asarray(factor * np.add.reduceat(components[..., order], starts, axis=-1))

    def times(self, random: np.random.Generator, draws: int) -> NDArray[np.int64]:
        """Return how often each group is drawn, [draws, count], as many groups as there are in each draw."""
        return random.multinomial(self.count, np.full(self.count, 1 / self.count), size=draws)

    def widened(self, value: T, ends: tuple[T, T], *, level: float = 0.95) -> tuple[T, T]:
        """Return quantiles of a bootstrap over groups, which are too close together for few groups, about a value."""
        low, high = ends
        if not self.known:
            return low - math.inf, high + math.inf
        factor = self.stretch(level) / math.sqrt(1 - 1 / self.effective)
        return value + factor * (low - value), value + factor * (high - value)


def by_group(components: Array, groups: ImageGroups | None, labels: NDArray[Any] | None = None) -> Array:
    """Return what each group of images adds to the errors of scores, [..., G] for [..., N] of the images.

    The root of the sum of squares times 1.96 reaches from a score to an end of its 95 % interval: the values are scaled
    by the ratio of Student's quantile for the number of groups and the normal one. See `Grouping`.

    Args:
        components: What each image adds; see `zoo.scores.stats.auc_components`. They are returned as they are without
            groups.
        groups: Groups of images; None where all are independent.
        labels: [N] classes that the score separates; None where it is a mean over all images.
    """
    grouping = Grouping.of(None if groups is None else groups.numbers, labels)
    return components if grouping is None else grouping.sums(components) * grouping.stretch()


def intervals(
    probabilities: Array,
    labels: NDArray[np.int64],
    *,
    groups: NDArray[np.int64] | None = None,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Return intervals of the areas under the ROC curves and of the accuracy, over test images.

    Args:
        probabilities: [N, K].
        labels: [N].
        groups: [N] number of the group of each image; None where all are independent.
        level: Confidence level.

    Returns:
        "auc_0" ... "auc_{K-1}", "auc_macro", "auc_micro", "accuracy" -> (low, high); see `interval_of_area` and
        `interval_of_share`.
    """
    count, classes = probabilities.shape
    one_hot = labels[:, None] == np.arange(classes)
    names = [*(f"auc_{k}" for k in range(classes)), "auc_macro"]
    rows = list(zip(names, *macro_components(probabilities, labels), largest_effects(labels, classes), strict=True))
    # The decisions about one image are not independent, so their components are added before they are squared.
    micro, each = auc_components(probabilities.ravel(), one_hot.ravel())
    rows.append(("auc_micro", micro, each.reshape(count, classes).sum(1), 2 / count))
    grouping = Grouping.of(groups, labels)
    found = {
        name: interval_of_area(float(area), component, largest_effect=float(effect), grouping=grouping, level=level)
        for name, area, component, effect in rows
    }
    return found | {"accuracy": interval_of_share(probabilities.argmax(1) == labels, groups=groups, level=level)}


def interval_of_area(
    area: float, components: Array, *, largest_effect: float, grouping: Grouping | None = None, level: float = 0.95
) -> tuple[float, float]:
    """Return an interval of an area under a ROC curve, over images or groups of images; see `area_interval`.

    Where groups differ more than their images show, a misplaced image comes with others of its group: the largest
    effect grows as the variance does. Where no image is misplaced, nothing shows how alike those of a group are, and
    they count as one.

    Args:
        area, largest_effect, level: Arguments of `area_interval`.
        components: [N] parts of the error; see `zoo.scores.stats.auc_components`.
        grouping: Groups of the images; None where all are independent.
    """
    variance, carriers = moments(components)
    if grouping is not None:
        of_images, (of_groups, carriers) = variance, moments(grouping.sums(components))
        variance = of_groups * grouping.stretch(level) ** 2
        known = 0 < area < 1 and 0 < of_images < math.inf
        alike = variance / of_images if known else len(components) / grouping.count
        largest_effect = min(1.0, largest_effect * max(1.0, alike))
    return area_interval(area, variance, carriers, largest_effect=largest_effect, level=level)


def interval_of_share(
    hits: NDArray[np.bool_], *, groups: NDArray[np.int64] | None = None, level: float = 0.95
) -> tuple[float, float]:
    """Return an interval of a share of images, such as the accuracy, over images or groups of images.

    Wilson's, for groups with the number of independent images that would give the share its variance (Korn & Graubard
    1998, Survey Methodology 24, 193), at most that of all images; the number of groups where all images or none hit.

    Args:
        hits: [N].
        groups: [N] number of the group of each image; None where all are independent.
        level: Confidence level.
    """
    count, grouping = len(hits), Grouping.of(groups)
    if grouping is None:
        return share_interval(int(hits.sum()), count, level=level)
    share = float(hits.mean())
    if share in (0, 1):
        independent = grouping.effective
    else:
        error = float((grouping.sums(np.asarray((hits - share) / count)) ** 2).sum()) ** 0.5 * grouping.stretch(level)
        independent = min(count, share * (1 - share) / error**2) if error > 1e-10 else count
    return share_interval(share * independent, independent, level=level)


def moments(components: Array) -> tuple[float, float]:
    """Return the variance of an area, and how many images it rests on; see `area_interval`."""
    with np.errstate(invalid="ignore"):
        squares = components**2
        variance, fourth = float(squares.sum()), float((squares**2).sum())
    return variance, variance**2 / fourth if fourth > 0 else 0.0


def area_interval(
    area: float, variance: float, carriers: float, *, largest_effect: float, level: float = 0.95
) -> tuple[float, float]:
    """Return an interval of an area under a ROC curve; also where few images, or none, are misplaced.

    Jeffreys' interval of a share (Brown, Cai & DasGupta 2001, Statist. Sci. 16, 101), with the number of images that
    would give a share this variance, area (1 - area) / variance, as for shares from surveys (Korn & Graubard 1998,
    Survey Methodology 24, 193). For many errors it is the interval on the logit scale. For few, DeLong's variance
    misses the errors that this sample does not show. At the end towards 1/2 (the lower one of a good network), the
    mean effect of a misplaced image therefore includes one more image, placed below, or above, all of the other class.
    Without any error, that image alone decides. `benchmarks/interval_coverage.py` measures how often the interval holds
    the truth.

    Args:
        area: The area.
        variance: DeLong's variance of it.
        carriers: Number of images that the variance rests on: the squared sum of its terms over the sum of squares.
        largest_effect: Largest change of the area by a single image.
        level: Confidence level.

    Returns:
        Low and high end; (0, 1) where the area or its variance is unknown.
    """
    from scipy.special import betaincinv

    if not (math.isfinite(area) and math.isfinite(variance)):
        return 0.0, 1.0
    edge = min(area, 1 - area)
    # Rounding leaves a variance of 1e-34 where all pairs are in order.
    images = area * (1 - area) / variance if edge > 0 and variance > 0 else 1 / largest_effect
    cautious = (carriers + 1) / (carriers / images + largest_effect)
    inner = min(images, cautious)
    tail = (1 - level) / 2

    def end(size: float, at: float) -> float:
        return float(betaincinv(size * area + 0.5, size * (1 - area) + 0.5, at))

    low = end(inner if area >= 0.5 else images, tail) if area > 0 else 0.0
    high = end(inner if area <= 0.5 else images, 1 - tail) if area < 1 else 1.0
    return min(low, area), max(high, area)


def share_interval(hits: float, count: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share, such as the accuracy (Wilson 1927, J. Am. Stat. Assoc. 22, 209)."""
    squared, share = critical_value(level) ** 2, hits / count
    middle = (share + squared / (2 * count)) / (1 + squared / count)
    reach = math.sqrt(squared * (share * (1 - share) / count + squared / (4 * count**2))) / (1 + squared / count)
    return max(0.0, middle - reach) if hits > 0 else 0.0, min(1.0, middle + reach) if hits < count else 1.0
