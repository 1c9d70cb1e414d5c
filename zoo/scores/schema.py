"""Scores of a classifier as typed values, as result.json holds them."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.schema import Count, Record

Interval = tuple[float, float]
"""Low and high end of a 95 % interval."""


class Scores(Record):
    """Scores of one split, as `zoo.scores.score.score` computes them.

    Args:
        auc: Class -> area under its one-vs-rest ROC curve; also "macro" (their mean) and "micro".
        intervals: "auc.CLASS", "auc.macro", "accuracy" -> 95 % interval, bootstrap over images.
        accuracy: Share of images whose most probable class is the true one.
        log_loss: Mean cross entropy.
        ece: Expected calibration error over 15 bins.
        confusion: [true][predicted] images.
        images: Size of the split.
        extra: Id of a plugin's metric -> its values.
    """

    auc: Mapping[str, float]
    intervals: Mapping[str, Interval]
    accuracy: float
    log_loss: float
    ece: float
    confusion: tuple[tuple[Count, ...], ...]
    images: Count
    extra: Mapping[str, Mapping[str, float]] = {}

    @property
    def macro(self) -> float:
        """Mean of the classes' one-vs-rest areas."""
        return self.auc["macro"]


class Probe(Record, omit_defaults=True):
    """Result of `zoo.scores.probe.probe`: separation of the classes by simple numbers of an image.

    Args:
        auc: Class -> one-vs-rest area of a linear classifier; also "macro".
        interval: 95 % interval of the macro area, bootstrap over test images.
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


class Rotations(Record):
    """Equivariance error at angles that need interpolation.

    Args:
        error: Root mean square change of the logits over their standard deviation over the images; None if the logits
            are the same for all images.
        floor: Difference between rotating in one step and in two: the error of interpolation; None as for `error`.
        flips: Share of (image, element) whose predicted class changes.
        angles_degrees: Angles that were tried.
        mirrors: Whether they were also tried after a mirror.
    """

    error: float | None
    floor: float | None
    flips: float
    angles_degrees: tuple[float, ...]
    mirrors: bool


class Invariance(Record, omit_defaults=True):
    """Equivariance error of the logits under a group; see `zoo.scores.equivariance.measure_equivariance`.

    Args:
        error: Largest change of a logit under the pixel symmetries of the group, over the largest logit; None if all
            logits are 0.
        flips: Share of images whose predicted class changes under some of them.
        elements: Number of symmetries that were tried.
        rotations: Equivariance error at other angles; None for groups without any.
    """

    error: float | None
    flips: float
    elements: Count
    rotations: Rotations | None = None


class Equivariance(Record):
    """Declared symmetry of a network, and what was measured of it.

    Args:
        group: Symmetry group that the network declares, such as "p4m", or None.
        declared: Declared quality of the equivariance: "exact", "approximate" or None.
        initial: Measured before training.
        trained: Measured after training.
    """

    group: str | None
    declared: str | None
    initial: Invariance
    trained: Invariance
