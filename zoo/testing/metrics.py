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
from zoo.tasks.find import example_task, more_example_tasks, tasks_by_name
from zoo.testing.outcome import NotApplicable, case, named, require
from zoo.testing.surroundings import left_as_they_are
from zoo.testing.toys import class_names

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.tasks.task import Task

IMAGES = 120
TOLERANCE = 0.1
"""Largest relative difference of values between forms of the same predictions, since quantiles are few, and between
numbers of images."""
Predictions = NDArray[np.float64]
Labels = NDArray[Any]
"""[N] labels, or [N, T] truths of a regression."""


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

    def values(self, predictions: Predictions, labels: Labels) -> dict[str, float]:
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


def _example(task: Task, *, skill: float, seed: int = 0) -> tuple[Predictions, Labels]:
    """Return predictions [N, K] as metrics get them, and labels; skill 0 is chance."""
    generator = np.random.default_rng(seed)
    if task.question.targets:
        truth, other = generator.uniform(1, 3, (2, IMAGES, len(task.question.targets)))
        error = 1 / (1 + skill)
        estimates = truth + error * (other - truth)
        return _gaussians(task, estimates, width=error * float((other - truth).std())), truth
    count = len(task.question.classes)
    labels = np.arange(IMAGES) % count
    truth = np.eye(count)[labels] if task.outputs == count else (labels > 0)[:, None].astype(float)
    predictions = generator.normal(size=(IMAGES, task.outputs)) + skill * truth
    return np.asarray(task.for_metrics(predictions), dtype=np.float64), labels


def _asked(task: Task) -> str:
    """Return what predictions answer, for the words of a failure."""
    return f"task {task.text}, {counted(len(task.question.classes), 'class')}"


def _gaussians(task: Task, middle: Predictions, *, width: float) -> Predictions:
    """Return predictions of normal distributions, with these means [N, T], as metrics get them."""
    import torch

    both = np.stack([middle, np.full_like(middle, math.log(width))], -1)
    answers = task.of_gaussians(torch.from_numpy(both.reshape(len(middle), -1)))
    return np.asarray(task.for_metrics(answers.numpy()), dtype=np.float64)


def _extremes(task: Task) -> tuple[dict[str, Predictions], Labels]:
    """Return predictions at the ends of what there is, by their names, and labels."""
    labels = _example(task, skill=0)[1]
    if task.question.targets:
        return {
            "certain and right": _gaussians(task, labels, width=1e-6),
            "certain and wrong": _gaussians(task, labels[::-1], width=1e-6),
            "all the same": _gaussians(task, np.full_like(labels, labels.mean()), width=1.0),
        }, labels
    count = len(task.question.classes)
    truth = np.eye(count)[labels] if task.outputs == count else (labels > 0)[:, None].astype(float)
    of_classes = task.weights_outputs is None
    return {
        "certain and right": truth,
        "certain and wrong": np.roll(truth, 1, axis=1) if of_classes else 1 - truth,
        "all the same": np.full_like(truth, 1 / truth.shape[1]),
    }, labels


def values(subject: MetricSubject) -> None:
    """It returns names with finite real numbers, for each number of classes."""
    for task in subject.tasks():
        with case(_asked(task)):
            found = subject.values(*_example(task, skill=1.5))
            require(bool(found), "It returns no value.")
            bad = [f"{name}={value}" for name, value in found.items() if not math.isfinite(value)]
            require(not bad, f"Values are not finite: {', '.join(bad)}.")


def extremes(subject: MetricSubject) -> None:
    """Predictions that are certain, and predictions that are all the same, have finite values."""
    subject.works()
    for task in subject.tasks():
        cases, labels = _extremes(task)
        for name, predictions in cases.items():
            with case(f"{_asked(task)}, predictions {name}"):
                bad = [key for key, one in subject.values(predictions, labels).items() if not math.isfinite(one)]
                require(not bad, f"{', '.join(bad)} is not finite.", hint="Clip probabilities before a logarithm.")


def directions(subject: MetricSubject) -> None:
    """Each value that `better` names is returned, and better for good predictions than for chance."""
    if not subject.spec.better:
        raise NotApplicable("its spec names no value in `better`, so networks are not compared by it")
    subject.works()
    for task in subject.tasks():
        good, chance = (subject.values(*_example(task, skill=skill)) for skill in (6.0, 0.0))
        with case(_asked(task)):
            for name, direction in subject.spec.better.items():
                require(name in good, f"`better` names '{name}'; it returns {', '.join(good)}.")
                sign = 1 if direction == "higher" else -1
                require(
                    sign * good[name] > sign * chance[name],
                    f"'{name}' is declared better where {direction}, and is {good[name]:.3g} for good predictions, "
                    f"{chance[name]:.3g} for chance.",
                    hint="State the other direction in `better`.",
                )


def forms(subject: MetricSubject) -> None:
    """The same predictions in another form, such as quantiles, have about the same values, or it refuses the form."""
    subject.works()
    known, names = tasks_by_name(subject.host), class_names(subject.classes[0])
    pairs = [(task, other) for task in subject.tasks() for other in more_example_tasks(task.name, known, classes=names)]
    if not pairs:
        raise NotApplicable("its tasks have predictions of one form")
    for task, other in pairs:
        expected = subject.values(*_example(task, skill=1.0))
        try:
            found = subject.values(*_example(other, skill=1.0))
        except Exception:
            continue  # it refuses the form
        with case(_asked(other)):
            for name, value in expected.items():
                require(
                    name in found and math.isclose(found[name], value, rel_tol=TOLERANCE, abs_tol=1e-6),
                    f"'{name}' is {value:.3g} for predictions of task {task.text}, and {found.get(name, math.nan):.3g} "
                    "for the same ones in this form.",
                    hint="Read them by zoo.scores.distributions.form_of(columns for each truth), or raise a ValueError "
                    "for a form that it does not take.",
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


def number_of_images(subject: MetricSubject) -> None:
    """Its values do not grow with the number of images: with each image twice, they are about the same."""
    subject.works()
    for task in subject.tasks():
        once = _example(task, skill=1.0)
        first, second = subject.values(*once), subject.values(*(np.concatenate([one, one]) for one in once))
        for name, value in first.items():
            require(
                math.isclose(second.get(name, math.nan), value, rel_tol=TOLERANCE, abs_tol=1e-6),
                f"'{name}' is {value:.3g} for {counted(IMAGES, 'image')}, and {second.get(name, math.nan):.3g} for "
                "each of them twice.",
                hint="Return a mean and not a sum: budgets and zoo evaluate have other numbers of images.",
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
    values, extremes, directions, forms, order_independence, number_of_images, repeatable, arrays_kept, intervals,
    global_state,
)  # fmt: skip
