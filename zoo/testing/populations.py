"""Checks of populations: scenes that depend on their number only, and do not give the class away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo.data.drawn import check_scenes
from zoo.testing import leaks
from zoo.testing.datasets import DatasetSubject
from zoo.testing.outcome import ConformanceError, named, require
from zoo.testing.scenes import arrays_of, require_same

SCENES = 300
"""Number of scenes that are drawn to compare the classes."""
STEP = 150
LARGE = 1_000_000
"""Number of a scene as a large training set has it."""


def scenes(subject: DatasetSubject) -> None:
    """Scenes have the form of the contract, and finite numbers."""
    found = subject.content(simulated=True).sample(np.arange(20), "conformance")
    try:
        check_scenes(found, 20)
    except (TypeError, ValueError) as error:
        raise ConformanceError(f"{error}.") from error
    for name, values in arrays_of(found):
        # There, NaN states that there is none.
        allowed = name in ("exposure.snr", "exposure.peak") or name.startswith("parameters.")
        require(allowed or bool(np.isfinite(values).all()), f"{name} is not finite.")


def scene_independence(subject: DatasetSubject) -> None:
    """Scene i depends on (seed, i) only: not on the other images of its batch, nor on their order."""
    population = subject.content(simulated=True)
    together = population.sample(np.arange(30), "conformance")
    for order in (np.arange(10, 20), np.array([7]), np.array([9, 2, 28, 5])):
        alone = population.sample(order, "conformance")
        require_same(together[order], alone, f"A scene depends on its batch (images {order.tolist()} alone)")


def streams(subject: DatasetSubject) -> None:
    """Two streams, such as those of training and test images, share no scene, also not under other numbers."""
    population, numbers = subject.content(simulated=True), _far_numbers()
    first, second = (population.sample(numbers, name).source.x for name in ("conformance", "another stream"))
    require(
        not np.isin(first, second).any(),
        "Two streams share their scenes: test images would be training images.",
        hint="Draw with zoo.lensing.draws.Draws(seed, indices), which takes the seed of the stream.",
    )


def far_scenes(subject: DatasetSubject) -> None:
    """Each number has a scene of its own, as far as a large training set reaches."""
    numbers = np.append(_far_numbers(), LARGE)
    source = subject.content(simulated=True).sample(numbers, "conformance").source
    seen: dict[tuple[float, float], int] = {}
    for number, place in zip(numbers.tolist(), zip(source.x.tolist(), source.y.tolist(), strict=True), strict=True):
        other = seen.setdefault(place, number)
        require(
            other == number,
            f"Scenes {other} and {number} have the same source: test images may be training images.",
            hint="Draw each scene anew, not from a list that ends.",
        )


def _far_numbers() -> NDArray[np.int64]:
    """Return numbers of scenes: two of them differ by each period up to their largest."""
    return np.union1d(np.arange(STEP), STEP * np.arange(1, STEP + 1))


def exposure_leak(subject: DatasetSubject) -> None:
    """Source and exposure do not give the class away: they have the same distribution in each."""
    found = subject.content(simulated=True).sample(np.arange(SCENES), "conformance")
    for name, values in arrays_of(found):
        if name.startswith(("source.", "exposure.")) and values.ndim == 1:
            require(
                leaks.separating_column(values[:, None], np.asarray(found.label)) is None,
                f"{name} gives the class away.",
                hint="Draw it without regard to the class.",
            )


CHECKS = named(scenes, scene_independence, streams, far_scenes, exposure_leak)
