"""Checks of metrics: values for good, poor and extreme predictions, their direction, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo import registry
from zoo.isolation import contained
from zoo.plurals import counted
from zoo.specs import CLASSIFY, MetricSpec
from zoo.tasks.find import example_task, tasks_by_name
from zoo.testing.outcome import NotApplicable, case, named, require
from zoo.testing.surroundings import left_as_they_are
from zoo.testing.toys import class_names

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.tasks.task import Task

IMAGES = 120
Predictions = NDArray[np.float64]


@dataclass
class MetricSubject:
    """A metric with the tasks whose predictions it takes.

    Args:
        host: The plugins.
        spec: Spec of the metric.
        classes: Numbers of classes that it is tried with.
    """

    host: Host
    spec: MetricSpec
    classes: Sequence[int] = (2, 3, 5)
    cached: dict[str, Any] = field(default_factory=dict)

    def tasks(self) -> list[Task]:
        """Return the tasks, of each number of classes."""
        known = tasks_by_name(self.host)
        return [
            example_task(name, known, classes=class_names(count))
            for name in self.spec.tasks
            for count in (self.classes if name == CLASSIFY else self.classes[:1])
        ]

    def values(self, predictions: Predictions, labels: NDArray[np.int64]) -> dict[str, float]:
        """Return what the metric gives for predictions as metrics get them."""
        from zoo.run.metrics import metric_values

        return metric_values(registry.load_target(self.spec)(predictions, labels))

    def works(self) -> None:
        """Leave a check out where the metric fails.

        Raises:
            NotApplicable: It fails, which the check 'values' reports.
        """
        if "works" not in self.cached:
            try:
                with contained():
                    values(self)
                self.cached["works"] = True
            except Exception:
                self.cached["works"] = False
        if not self.cached["works"]:
            raise NotApplicable("it gives no values, see the check 'values'")


def _example(task: Task, *, skill: float, seed: int = 0) -> tuple[Predictions, NDArray[np.int64]]:
    """Return predictions [N, K] as metrics get them, and labels [N]; skill 0 is chance."""
    generator = np.random.default_rng(seed)
    count = len(task.question.classes)
    labels = np.arange(IMAGES) % count
    truth = np.eye(count)[labels] if task.outputs == count else (labels > 0)[:, None].astype(float)
    predictions = generator.normal(size=(IMAGES, task.outputs)) + skill * truth
    return np.asarray(task.for_metrics(predictions), dtype=np.float64), labels


def values(subject: MetricSubject) -> None:
    """It returns names with finite real numbers, for each number of classes."""
    for task in subject.tasks():
        with case(f"task {task.name}, {counted(len(task.question.classes), 'class')}"):
            found = subject.values(*_example(task, skill=1.5))
            require(bool(found), "It returns no value.")
            bad = [f"{name}={value}" for name, value in found.items() if not math.isfinite(value)]
            require(not bad, f"Values are not finite: {', '.join(bad)}.")


def extremes(subject: MetricSubject) -> None:
    """Predictions that are certain, and predictions that are all the same, have finite values."""
    subject.works()
    for task in subject.tasks():
        labels = _example(task, skill=0)[1]
        count = len(task.question.classes)
        truth = np.eye(count)[labels] if task.outputs == count else (labels > 0)[:, None].astype(float)
        of_classes = task.weights_outputs is None
        cases = {
            "certain and right": truth,
            "certain and wrong": np.roll(truth, 1, axis=1) if of_classes else 1 - truth,
            "all the same": np.full_like(truth, 1 / truth.shape[1]),
        }
        for name, predictions in cases.items():
            with case(f"{counted(count, 'class')}, predictions {name}"):
                bad = [key for key, one in subject.values(predictions, labels).items() if not math.isfinite(one)]
                require(not bad, f"{', '.join(bad)} is not finite.", hint="Clip probabilities before a logarithm.")


def directions(subject: MetricSubject) -> None:
    """Each value that `better` names is returned, and better for good predictions than for chance."""
    if not subject.spec.better:
        raise NotApplicable("its spec names no value in `better`, so networks are not compared by it")
    subject.works()
    for task in subject.tasks():
        good, chance = (subject.values(*_example(task, skill=skill)) for skill in (6.0, 0.0))
        with case(counted(len(task.question.classes), "class")):
            for name, direction in subject.spec.better.items():
                require(name in good, f"`better` names '{name}'; it returns {', '.join(good)}.")
                sign = 1 if direction == "higher" else -1
                require(
                    sign * good[name] > sign * chance[name],
                    f"'{name}' is declared better where {direction}, and is {good[name]:.3g} for good predictions, "
                    f"{chance[name]:.3g} for chance.",
                    hint="State the other direction in `better`.",
                )


def order_independence(subject: MetricSubject) -> None:
    """Its values do not depend on the order of the images."""
    subject.works()
    for task in subject.tasks():
        predictions, labels = _example(task, skill=1.0)
        order = np.random.default_rng(1).permutation(IMAGES)
        first, second = subject.values(predictions, labels), subject.values(predictions[order], labels[order])
        require(
            first.keys() == second.keys() and all(math.isclose(first[k], second[k], rel_tol=1e-9) for k in first),
            "Its values depend on the order of the images.",
        )


def repeatable(subject: MetricSubject) -> None:
    """The same predictions have the same values twice."""
    subject.works()
    for task in subject.tasks():
        example = _example(task, skill=1.0)
        require(subject.values(*example) == subject.values(*example), "The same predictions have other values twice.")


def arrays_kept(subject: MetricSubject) -> None:
    """It leaves the arrays that it gets as they are."""
    subject.works()
    for task in subject.tasks():
        predictions, labels = _example(task, skill=1.0)
        given = predictions.copy(), labels.copy()
        subject.values(*given)
        same = np.array_equal(given[0], predictions) and np.array_equal(given[1], labels)
        require(same, "It changes the arrays that it gets.", hint="Work on copies.")


def intervals(subject: MetricSubject) -> None:
    """The harness can compute intervals of the values that are compared: images drawn again have finite values."""
    from zoo.run.metrics import resampled

    if not subject.spec.better:
        raise NotApplicable("its spec names no value in `better`")
    subject.works()
    for task in subject.tasks():
        found = resampled(subject.spec, list(subject.spec.better), *_example(task, skill=1.0))
        missing = [name for name in subject.spec.better if name not in found]
        require(
            not missing,
            f"{', '.join(missing)} has no interval: it fails or is slow for some images drawn again.",
            hint="A metric is called 200 times in 30 s, also where images repeat.",
        )


def global_state(subject: MetricSubject) -> None:
    """Computing it leaves settings that all code shares and the working folder as they are."""
    with left_as_they_are():
        subject.works()
        subject.values(*_example(subject.tasks()[0], skill=1.0))


CHECKS = named(
    values, extremes, directions, order_independence, repeatable, arrays_kept, intervals, global_state,
)  # fmt: skip
