"""Checks of tasks: question, loss, scores and comparison, for predictions of every quality."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo import registry
from zoo.data.image_groups import ImageGroups
from zoo.isolation import contained
from zoo.plurals import counted
from zoo.results.schema import Epoch
from zoo.schema import plain, read_record
from zoo.scores.schema import AnyScores
from zoo.specs import TaskSpec
from zoo.tasks.find import example_task, task_name, tasks_by_name
from zoo.tasks.task import PICTURES, Task
from zoo.testing.outcome import NotApplicable, named, require
from zoo.testing.surroundings import left_as_they_are
from zoo.testing.toys import IMAGES as IMAGES_OF_KIT
from zoo.testing.toys import LINEAR, TRUTH, linear_model, with_toys
from zoo.testing.trainings import own_cache, run_small

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.host import Host

IMAGES = 90
MOST_NOTABLE = 32
"""Most images that a task may keep of a run."""
RULES = ("val_auc", "val_score", "val_loss", "last")


@dataclass
class TaskSubject:
    """A task.

    Args:
        host: The plugins.
        spec: Spec of the task.
    """

    host: Host
    spec: TaskSpec
    cached: dict[str, Any] = field(default_factory=dict)

    def task(self) -> Task:
        """Return the task, opened for images of three classes.

        Raises:
            NotApplicable: It cannot be opened, which the check 'opens' reports.
        """
        try:
            task = example_task(task_name(self.spec), tasks_by_name(self.host))
            if task.question.targets:
                task = task.measured(self.example(task, skill=0.0)[1].numpy())
            return task
        except Exception:
            raise NotApplicable("it cannot be opened, see the check 'opens'") from None

    def example(self, task: Task, *, skill: float) -> tuple[Tensor, Tensor]:
        """Return predictions [N, outputs] and labels [N]; skill 0 is chance."""
        import torch

        generator = torch.Generator().manual_seed(0)
        if task.question.targets:  # stored truths in place of labels; answers of any quality
            truth = torch.randn(IMAGES, len(task.question.targets), generator=generator).double()
            return torch.randn(IMAGES, task.outputs, generator=generator), truth
        count = len(task.question.classes)
        labels = torch.arange(IMAGES) % count
        truth = torch.eye(count)[labels] if task.outputs == count else (labels > 0)[:, None].float()
        if truth.shape[1] != task.outputs:
            truth = truth[:, :1].expand(-1, task.outputs)
        return torch.randn(IMAGES, task.outputs, generator=generator) + skill * truth, labels


def opens(subject: TaskSubject) -> None:
    """It is a `Task` and opens a question to a data set."""
    kind = registry.load_target(subject.spec)
    require(
        isinstance(kind, type) and issubclass(kind, Task),
        f"{subject.spec.target} is not a subclass of zoo.tasks.task.Task.",
    )
    task = example_task(task_name(subject.spec), tasks_by_name(subject.host))
    require(task.outputs >= 1, f"outputs is {task.outputs}, and must be 1 or more.")


def declarations(subject: TaskSubject) -> None:
    """Rules and pictures are those that zoo has."""
    task = subject.task()
    require(bool(task.rules), "It names no rule that selects an epoch.")
    for what, names, known in (("rule", task.rules, RULES), ("picture", task.pictures, PICTURES)):
        for name in names:
            require(name in known, f"'{name}' is not a {what}; those are {', '.join(known)}.")


def loss(subject: TaskSubject) -> None:
    """Its loss is a finite scalar, a mean over the images, whose gradient reaches the predictions."""
    import torch

    task = subject.task()
    if not task.has_loss:
        raise NotApplicable("it has no loss: networks bring theirs")
    predictions, labels = subject.example(task, skill=1.0)
    if not task.question.targets:
        allowed = task.question.allowed
        labels = labels.apply_(lambda label: label if label in allowed else allowed[0])
    found = task.loss(predictions.requires_grad_(), labels)
    require(found.numel() == 1 and bool(found.isfinite()), f"The loss is {found}, not a finite scalar.")
    twice = task.loss(torch.cat([predictions, predictions]), torch.cat([labels, labels]))
    require(
        math.isclose(twice.item(), found.item(), rel_tol=1e-3, abs_tol=1e-6),
        f"The loss is {found.item():.3g} for {counted(IMAGES, 'image')}, and {twice.item():.3g} for each twice.",
        hint="Return the mean over the images: batches have several sizes.",
    )
    sure = task.loss(100 * predictions, labels)
    require(
        bool(task.question.targets) or bool(sure.isfinite()),
        f"The loss of predictions that are certain is {sure.item()}.",
        hint="Use log_softmax, logsigmoid or logsumexp.",
    )
    found.backward()
    require(predictions.grad is not None and bool(predictions.grad.any()), "No gradient reaches the predictions.")


def validation(subject: TaskSubject) -> None:
    """Validation gives finite fields of an epoch, among them that of each rule, higher for good predictions."""
    task = subject.task()
    found, chance = (task.validate(*subject.example(task, skill=skill)) for skill in (6.0, 0.0))
    known = set(Epoch.__struct_fields__)
    for name, value in found.items():
        require(name in known, f"validate() returns '{name}', which is not a field of zoo.results.schema.Epoch.")
        require(math.isfinite(value), f"validate() returns {name}={value}.")
    for rule in task.rules:
        if rule in ("val_auc", "val_score"):
            require(rule in found, f"The rule {rule} needs the field {rule} of validate().")
            require(
                bool(task.question.targets) or found[rule] > chance[rule],
                f"{rule}, by which the best epoch is chosen, is {found[rule]:.3g} for good predictions, "
                f"{chance[rule]:.3g} for chance.",
                hint="Return a value that is higher for better predictions.",
            )


def scores(subject: TaskSubject) -> None:
    """Scores are finite, can be stored and read again, and are better for good predictions than for chance."""
    task = subject.task()
    good, chance = (task.score(*subject.example(task, skill=skill)) for skill in (6.0, 0.0))
    again: AnyScores = read_record(plain(good), type(good), what="the scores")
    require(again == good, "Scores differ after they were stored and read again.")
    require(
        task.score(*subject.example(task, skill=6.0)) == good,
        "The same predictions have other scores twice.",
        hint="Draw from np.random.default_rng(SEED).",
    )
    require(math.isfinite(good.headline.value), f"The score that ranks networks is {good.headline.value}.")
    require(
        bool(task.question.targets) or good.headline.rank > chance.headline.rank,
        f"{good.headline.label} is {good.headline.value:.3g} for good predictions, {chance.headline.value:.3g} for "
        "chance.",
        hint="State its direction: Measure(higher_is_better=...).",
    )


def order_independence(subject: TaskSubject) -> None:
    """The score that ranks networks does not depend on the order of the images."""
    import torch

    task = subject.task()
    predictions, labels = subject.example(task, skill=1.0)
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(1))
    first, second = (task.score(predictions, labels), task.score(predictions[order], labels[order]))
    require(
        math.isclose(first.headline.value, second.headline.value, rel_tol=1e-6),
        "The score that ranks networks depends on the order of the images.",
    )


def comparison(subject: TaskSubject) -> None:
    """Contributions to its scores have the shapes by which networks are compared, and belong to its scores."""
    task = subject.task()
    predictions, labels = subject.example(task, skill=1.0)
    found = task.contributions(predictions.double().numpy(), labels.numpy())
    rows = len(found.names)
    require(np.shape(found.values) == (rows,), f"values of shape {np.shape(found.values)}, not ({rows},).")
    require(
        np.shape(found.components) == (rows, IMAGES),
        f"components of shape {np.shape(found.components)}, not ({rows}, {IMAGES}).",
    )
    require(len(found.labels) == rows, f"{len(found.labels)} labels for {rows} scores.")
    ranks, last = task.score(predictions, labels).headline.rank, float(found.values[-1])
    require(
        math.isclose(last, ranks, rel_tol=1e-3, abs_tol=1e-6),
        f"The last score by which networks are compared is {last:.3g}, and the one that ranks them {ranks:.3g}.",
        hint="Name the score that ranks networks last, in units in which higher is better.",
    )
    sums, sizes = np.abs(found.components.sum(1)), np.abs(found.components).sum(1)
    require(
        bool((sums <= 1e-3 * sizes).all()),
        f"The components of {found.labels[int(np.argmax(sums - 1e-3 * sizes))]} do not add up to 0.",
        hint="Each is what the image adds to the error: its part of the score less the mean part.",
    )


def image_groups(subject: TaskSubject) -> None:
    """Intervals are over groups of images that are not independent: an image that counts twice makes none narrower."""
    import torch

    task = subject.task()
    predictions, labels = subject.example(task, skill=1.0)
    alone = task.score(predictions, labels).headline.interval
    groups = ImageGroups(name="lens", numbers=np.tile(np.arange(IMAGES), 2))
    found = task.score(torch.cat([predictions, predictions]), torch.cat([labels, labels]), groups)
    low, high = found.headline.interval
    require(
        found.image_groups is not None and found.image_groups.values == IMAGES,
        "Its scores of groups of images do not state them: set image_groups=zoo.tasks.task.shared_by(groups).",
    )
    require(
        high - low > 0.8 * (alone[1] - alone[0]),
        f"With each image twice, in one group, the interval of {found.headline.label} shrinks from "
        f"{alone[1] - alone[0]:.3g} to {high - low:.3g}.",
        hint="Add what the images of a group contribute before it is squared: zoo.tasks.task.by_group",
    )


def notable(subject: TaskSubject) -> None:
    """Notable images are a few places of the split."""
    task = subject.task()
    predictions, labels = subject.example(task, skill=1.0)
    places = np.asarray(task.notable(predictions.double().numpy(), labels.numpy()))
    require(bool(((places >= 0) & (places < IMAGES)).all()), "notable() returns places outside of the split.")
    few = len(set(places.tolist())) == len(places) <= MOST_NOTABLE
    require(few, f"notable() returns {counted(len(places), 'place')}: images are stored with each run.")


def curves(subject: TaskSubject) -> None:
    """ROC curves have a score and a kind for every image; the score of one that a curve leaves out is NaN."""
    task = subject.task()
    if not task.draws_rocs:
        raise NotApplicable("it draws no ROC curves")
    predictions, labels = subject.example(task, skill=1.0)
    for title, (scores, positive) in task.rocs(predictions.double().numpy(), labels.numpy()).items():
        shapes = np.shape(scores), np.shape(positive)
        require(
            shapes == ((IMAGES,), (IMAGES,)), f"The curve '{title}' has arrays of shapes {shapes}, not ({IMAGES},)."
        )


def for_metrics(subject: TaskSubject) -> None:
    """Metrics get a finite number of each output for each image."""
    task = subject.task()
    found = np.asarray(task.for_metrics(subject.example(task, skill=1.0)[0].double().numpy()))
    require(len(found) == IMAGES and bool(np.isfinite(found).all()), "for_metrics() returns other than finite numbers.")


def global_state(subject: TaskSubject) -> None:
    """Opening and scoring leaves settings that all code shares and the working folder as they are."""
    with left_as_they_are():
        task = subject.task()
        predictions, labels = subject.example(task, skill=1.0)
        with contextlib.suppress(Exception), contained():  # other checks report it
            task.validate(predictions, labels)
            task.score(predictions, labels)
            if task.has_loss:
                task.loss(predictions, labels)


def training(subject: TaskSubject) -> None:
    """A small run of the harness answers it with a linear network: training, validation, scores, weights file."""
    task = subject.task()
    if not task.has_loss:
        raise NotApplicable("it has no loss: networks bring theirs")
    if lacking := [name for name in task.question.targets if name != TRUTH]:
        raise NotApplicable(f"it estimates {lacking[0]}; the only truth beside the images of the kit is '{TRUTH}'")
    with own_cache() as folder:
        host = with_toys(subject.host, linear_model((task.name,)))
        result = run_small(host, folder, model=LINEAR, data=IMAGES_OF_KIT, task=task.text)
    require(result.status == "ok", f"A run failed: {getattr(result, 'cause', '')}")


CHECKS = named(
    opens, declarations, loss, validation, scores, order_independence, comparison, image_groups, notable, curves,
    for_metrics, global_state, training,
)  # fmt: skip
