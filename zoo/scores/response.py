"""Response of a network that estimates a truth: how its answers are distributed for images of one and the same truth.

A network that is trained on images answers with an estimate that is drawn towards the mean of its training images, the
more so the less an image says. What follows from an answer d for a truth t is in p(d | t), which is measured on images
whose truths are known: it holds for any network, calibrated or not, and does not contain the distribution of the
training images. Here it is a normal distribution whose mean and standard deviation depend on the truth, each by a local
regression (Cleveland 1979, J. Am. Stat. Assoc. 74, 829).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from zoo.models.target import Target

Array = NDArray[np.float64]
NEIGHBOURS = 0.25
"""Share of the images that a local regression takes part of."""
LEAST_DEVIATION = 1e-3
"""Smallest standard deviation of the answers for one truth, as a share of that of all answers."""
COPIES = 24
"""Responses of images drawn again (bootstrap), which weights state beside that of all images."""
POINTS, MOST_POINTS = 400, 4000
"""Points of a grid of truths; more where answers are more exact."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """Distribution of answers for each truth, linear between some truths.

    Args:
        truths: [P] truths, in ascending order.
        means: [P] mean answers for images of these truths.
        deviations: [P] standard deviations of the answers.
    """

    truths: Array
    means: Array
    deviations: Array

    @classmethod
    def measured(cls, answers: Array, truth: Array, at: Array) -> Response:
        """Return the response at some truths, by a straight line through the nearest images of each.

        Args:
            answers: [N] answers of a network: of a distribution, its mean or its median.
            truth: [N] truths of the same images.
            at: [P] truths, in ascending order.
        """
        count = min(len(truth), max(int(NEIGHBOURS * len(truth)), 10))
        least = LEAST_DEVIATION * float(answers.std()) or 1e-12
        means, deviations = np.empty(len(at)), np.empty(len(at))
        for k, place in enumerate(at):
            distance = np.abs(truth - place)
            reach = np.partition(distance, count - 1)[count - 1]
            weights = np.clip(1 - (distance / (1.001 * reach)) ** 3, 0, 1) ** 3 if reach > 0 else 1.0 * (distance == 0)
            weights /= weights.sum()
            centre, middle = weights @ truth, weights @ answers
            variance = weights @ (truth - centre) ** 2
            slope = weights @ ((truth - centre) * answers) / variance if variance > 0 else 0.0
            means[k] = middle + slope * (place - centre)
            errors = answers - middle - slope * (truth - centre)
            deviations[k] = max(float(np.sqrt(weights @ errors**2)), least)
        return cls(truths=at, means=means, deviations=deviations)

    @classmethod
    def of(cls, target: Target) -> Response:
        """Return the response that weights state for a target."""
        return cls(
            truths=np.array(target.quantiles),
            means=np.array(target.mean_answers),
            deviations=np.array(target.deviations),
        )

    @classmethod
    def copies_of(cls, target: Target) -> list[Response]:
        """Return the responses that other validation images would have given; their spread is its uncertainty."""
        pairs = zip(target.mean_copies, target.deviation_copies, strict=True)
        truths = np.array(target.quantiles)
        return [cls(truths=truths, means=np.array(means), deviations=np.array(widths)) for means, widths in pairs]

    def grid(self) -> Array:
        """Return equally spaced truths between the lowest and the highest, fine enough for these answers."""
        low, high = self.truths[0], self.truths[-1]
        exactness = np.ptp(self.means) / max(float(self.deviations.min()), 1e-300)
        points = int(np.clip(4 * exactness, POINTS, MOST_POINTS))
        return np.asarray(low + (high - low) * (np.arange(points) + 0.5) / points)

    def likelihoods(self, answers: Array, truths: Array) -> Array:
        """Return p(answer | truth) [N, G] for answers [N] and truths [G], each row divided by its largest value."""
        means = np.interp(truths, self.truths, self.means)
        deviations = np.interp(truths, self.truths, self.deviations)
        logs = -0.5 * ((answers[:, None] - means) / deviations) ** 2 - np.log(deviations)
        return np.asarray(np.exp(logs - logs.max(1, keepdims=True)))


def with_response(target: Target, answers: Array, truth: Array, *, spread: float) -> Target:
    """Return a target with the response of a network at the quantiles of the target.

    Args:
        target: Target whose quantiles are known.
        answers: [N] means or medians that the network answers for validation images.
        truth: [N] truths of these images.
        spread: Factor of the widths, in addition to that of the target.
    """
    at, random = np.array(target.quantiles), np.random.default_rng(0)
    response = Response.measured(answers, truth, at)
    draws = [random.integers(len(truth), size=len(truth)) for _ in range(COPIES)]
    copies = [Response.measured(answers[drawn], truth[drawn], at) for drawn in draws]
    return structs.replace(
        target,
        spread=target.spread * spread,
        mean_answers=tuple(response.means.tolist()),
        deviations=tuple(response.deviations.tolist()),
        mean_copies=tuple(tuple(_rounded(one.means)) for one in copies),
        deviation_copies=tuple(tuple(_rounded(one.deviations)) for one in copies),
    )


def _rounded(values: Array) -> list[float]:
    """Return values with as many digits as their uncertainty needs."""
    return [float(f"{value:.6g}") for value in values]
