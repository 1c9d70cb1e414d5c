"""Scores as typed values, as result.json holds them: those of a classifier, and the general form of other tasks."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from zoo.schema import Count, Record

if TYPE_CHECKING:
    from zoo.data.image_groups import ImageGroups

Interval = tuple[float, float]
"""Low and high end of a 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The score that ranks networks.

    Args:
        label: Name for readers, such as "macro AUC".
        value: Its value.
        interval: 95 % interval over images, or groups of them.
        higher_is_better: Its direction.
    """

    label: str
    value: float
    interval: Interval
    higher_is_better: bool = True

    @property
    def rank(self) -> float:
        """The value with the sign by which higher is better."""
        return self.value if self.higher_is_better else -self.value


class SharedBy(Record):
    """What images that are not independent share; intervals of scores are over its values.

    Args:
        name: Name of the stored parameter, such as "galaxy".
        values: Number of values, which is that of the groups of images.
    """

    name: str
    values: Count

    @property
    def sentence(self) -> str:
        """What intervals are over."""
        if self.values == 1:
            return (
                f"The 95 % intervals are over test images that all have the same {self.name}: they leave out how its "
                "values differ."
            )
        return (
            f"The 95 % intervals are over {self.values:,} groups of test images with the same {self.name}: images of "
            "one group are not independent."
        )


def shared_by(groups: ImageGroups | None) -> SharedBy | None:
    """Return what scores state of the groups of their images."""
    return None if groups is None else SharedBy(name=groups.name, values=groups.count)


class Scores(Record):
    """Scores of one split, as `zoo.scores.score.score` computes them.

    Args:
        auc: Class -> area under its one-vs-rest ROC curve; also "macro" (their mean) and "micro".
        intervals: "auc.CLASS", "auc.macro", "auc.micro", "accuracy" -> 95 % interval over images, or groups of them.
        accuracy: Share of images whose most probable class is the true one.
        log_loss: Mean cross entropy.
        ece: Expected calibration error over 15 bins.
        confusion: [true][predicted] images.
        images: Size of the split.
        brier: Brier score: squared difference of probability and truth, summed over the classes, mean over the images;
            0 is perfect, 2 the worst. None in results of earlier versions.
        extra: Id of a plugin's metric -> its values.
        extra_intervals: Id of a plugin's metric -> 95 % intervals over images of the values with a direction.
        image_groups: Groups of images that the intervals are over; None where all images are independent.
    """

    auc: Mapping[str, float]
    intervals: Mapping[str, Interval]
    accuracy: float
    log_loss: float
    ece: float
    confusion: tuple[tuple[Count, ...], ...]
    images: Count
    brier: float | None = None
    extra: Mapping[str, Mapping[str, float]] = {}
    extra_intervals: Mapping[str, Mapping[str, Interval]] = {}
    image_groups: SharedBy | None = None

    @property
    def macro(self) -> float:
        """Mean of the classes' one-vs-rest areas."""
        return self.auc["macro"]

    @property
    def headline(self) -> Headline:
        """The macro AUC."""
        return Headline(label="macro AUC", value=self.macro, interval=self.intervals["auc.macro"])


class Measure(Record, omit_defaults=True):
    """One score of a task.

    Args:
        label: Name for readers, such as "TPR at 1 % FPR".
        value: Its value.
        interval: 95 % interval over images, or groups of them; None where it is unknown.
        higher_is_better: Its direction; None for a number that is neither, such as one that should be 0.5.
    """

    label: str
    value: float
    interval: Interval | None = None
    higher_is_better: bool | None = True


class Measures(Record):
    """Scores of one split in any task but classification.

    Args:
        order: Names of the scores in the order of a table; the first one ranks networks, and has an interval and a
            direction.
        measures: Name -> score.
        images: Size of the split.
        extra: Id of a plugin's metric -> its values.
        extra_intervals: Id of a plugin's metric -> 95 % intervals over images of the values with a direction.
        image_groups: Groups of images that the intervals are over; None where all images are independent.
    """

    order: tuple[str, ...]
    measures: Mapping[str, Measure]
    images: Count
    extra: Mapping[str, Mapping[str, float]] = {}
    extra_intervals: Mapping[str, Mapping[str, Interval]] = {}
    image_groups: SharedBy | None = None

    def __post_init__(self) -> None:
        if sorted(self.order) != sorted(self.measures) or not self.order:
            raise ValueError("order does not name each of measures once")
        ranking = self.measures[self.order[0]]
        if ranking.interval is None or ranking.higher_is_better is None:
            raise ValueError(f"the first score, {self.order[0]}, lacks an interval or a direction")

    @property
    def in_order(self) -> dict[str, Measure]:
        """Name -> score, in the order of a table; a file holds them sorted by name."""
        return {name: self.measures[name] for name in self.order}

    @property
    def headline(self) -> Headline:
        """The score that ranks networks."""
        one = self.measures[self.order[0]]
        assert one.interval is not None
        return Headline(
            label=one.label, value=one.value, interval=one.interval, higher_is_better=one.higher_is_better is True
        )


if TYPE_CHECKING:
    AnyScores: TypeAlias = Scores | Measures
else:

    class AnyScores(metaclass=ABCMeta):  # noqa: B024 - the two forms are registered with it below
        """Scores of any task. Results of classification have no tag, so the content decides which form is read."""

        @staticmethod
        def from_plain(content: Any) -> Scores | Measures:
            """Return plain values as scores; `zoo.schema.read_record` calls it."""
            try:
                return msgspec.convert(content, Measures if "measures" in content else Scores)
            except (msgspec.ValidationError, TypeError) as error:
                raise ValueError(str(error)) from error  # msgspec adds the place of the scores

    AnyScores.register(Scores)
    AnyScores.register(Measures)


class Calibration(Record):
    """Scores of the test split with probabilities that a temperature has calibrated; see `zoo.scores.calibration`.

    Args:
        temperature: Number that the logits are divided by, fitted on the validation split.
        log_loss, ece, brier: Scores as in `Scores`, of the calibrated probabilities.
        macro_auc: Macro AUC of the calibrated probabilities; that of two classes is the uncalibrated one.
    """

    temperature: float
    log_loss: float
    ece: float
    brier: float | None
    macro_auc: float


class Probe(Record, omit_defaults=True):
    """Result of `zoo.scores.probe.probe`: separation of the classes by simple numbers of an image.

    Args:
        auc: Class -> one-vs-rest area of a linear classifier; also "macro".
        interval: 95 % interval of the macro area, over test images.
        shuffled: Macro area where all labels are shuffled first: 0.5 but for chance.
        single: Feature -> macro area of a fit to it alone.
        images: "train", "test" -> images that were looked at.
        boosted: The areas of gradient-boosted trees; this and the following are empty in records of four numbers.
        boosted_interval: 95 % interval of their macro area.
        boosted_shuffled: Their macro area where all labels are shuffled first.
    """

    auc: Mapping[str, float]
    interval: Interval
    shuffled: float
    single: Mapping[str, float]
    images: Mapping[str, Count]
    boosted: Mapping[str, float] = {}
    boosted_interval: Interval | None = None
    boosted_shuffled: float | None = None

    def __post_init__(self) -> None:
        if "macro" not in self.auc or not self.single:
            raise ValueError("the probe lacks auc.macro or the areas of single features")


class Change(Record):
    """Equivariance error under symmetries of the pixel grid; see `zoo.scores.equivariance.measure_equivariance`.

    Args:
        error: Root mean square change of the centred logits over their standard deviation over the images; None if the
            logits are the same for all images.
        flips: Share of images whose predicted class changes under one of the symmetries; None as for `error`, and
            where a network answers one number.
        elements: Number of symmetries, the identity included.
    """

    error: float | None
    flips: float | None
    elements: Count


class Rotation(Record):
    """Equivariance error at one angle that needs interpolation.

    Args:
        error: Error as in `Change`.
        floor: Difference between rotating in one step and in two: the error of interpolation.
        flips: Share of images whose predicted class changes.
    """

    error: float | None
    floor: float | None
    flips: float | None


class Rotations(Record):
    """Equivariance error at the angles of a group that need interpolation.

    Args:
        error: Error as in `Change`.
        floor: Difference between rotating in one step and in two: the error of interpolation.
        flips: Share of (image, element) whose predicted class changes.
        angles_degrees: Angles that were tried.
        mirrors: Whether they were also tried after a mirror.
    """

    error: float | None
    floor: float | None
    flips: float | None
    angles_degrees: tuple[float, ...]
    mirrors: bool


class Invariance(Record, omit_defaults=True):
    """Equivariance error of a network; see `zoo.scores.equivariance.measure_equivariance`.

    Args:
        square: Under the eight symmetries of the square (d4), the same for every network.
        angles: "17", "45" (degrees) -> error there, the same for every network.
        declared: Under those symmetries of the square that the network's own group has; None without such a group.
        rotations: At the other angles of its own group; None for groups without any.
    """

    square: Change
    angles: Mapping[str, Rotation]
    declared: Change | None = None
    rotations: Rotations | None = None


class LargestChange(Record, omit_defaults=True):
    """Measure of earlier versions, in results that they wrote: a constant that is added to all logits changes it.

    Args:
        error: Largest change of a logit under the declared symmetries, over the largest logit.
        flips: Share of images whose predicted class changes.
        elements: Number of symmetries.
        rotations: Error at other angles.
    """

    error: float | None
    flips: float
    elements: Count
    rotations: Rotations | None = None


class Equivariance(Record, omit_defaults=True):
    """Declared symmetry of a network, and what was measured of it.

    Args:
        group: Symmetry group that the network declares, such as "p4m", or None.
        declared: Declared quality of the equivariance: "exact", "approximate" or None.
        before: Measured before training; None in results of earlier versions.
        after: Measured after training; None in results of earlier versions.
        initial, trained: Measure of earlier versions, before and after training; None in all other results.
    """

    group: str | None
    declared: str | None
    before: Invariance | None = None
    after: Invariance | None = None
    initial: LargestChange | None = None
    trained: LargestChange | None = None


class LayerError(Record):
    """Equivariance error of one layer.

    Args:
        name: Name of the module.
        kind: Class of the module.
        shape: Shape of the output without the batch.
        exact: Error under the pixel symmetries of the group; None if the output is 0 everywhere or not finite.
        rotations: Error at its other angles; None as for `exact`, or if the group has no such angles.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    exact: float | None
    rotations: float | None
