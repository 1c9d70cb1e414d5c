"""Finds tasks by name: the core's own, those of plugins, and the meaning of the option --task for a data set."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from zoo import registry
from zoo.errors import MissingError, UsageError, nearest
from zoo.specs import CLASSIFY, DatasetSpec, ModelSpec, TaskSpec

if TYPE_CHECKING:
    from zoo.data.question import Question
    from zoo.host import Host
    from zoo.lensing.scenes import Scenes
    from zoo.tasks.task import Task

CORE_TASKS = (
    TaskSpec(
        id=f"core/{CLASSIFY}",
        target="zoo.tasks.classify:Classify",
        summary="which class an image belongs to, or which group of classes",
        card="The default, without `--task`. `--task substructure`, or another grouping that a data set declares "
        "(`zoo show DATASET`, tasks), takes classes together. The headline score is the macro AUC.",
    ),
    TaskSpec(
        id="core/anomaly",
        target="zoo.tasks.anomaly:Anomaly",
        summary="a score for every image, from networks that have seen normal images only",
        card="`zoo bench --task anomaly --model 'anomaly/*' --data modelA`. Training and validation splits hold the "
        "normal classes of the data set only (`zoo show DATASET`, normal). The headline score is the AUROC.",
    ),
    TaskSpec(
        id="core/regress",
        target="zoo.tasks.regress:Regress",
        summary="a stored truth, such as the mass in substructure, with its uncertainty",
        card="`zoo bench --task regress:substructure_mass_fraction --model p4m --data modelA`. The option is NAME, or "
        "several names with commas; `classes=A+B` states the classes, `answer=quantiles` or `answer=flow` the form of "
        "the answer. A wrong name is answered with all truths of the data set. The headline score is the CRPS skill.",
        networks_of=(CLASSIFY,),
    ),
)
"""Tasks that the core's own plugin registers."""


@dataclass(frozen=True, kw_only=True)
class ChosenTask:
    """A task as an option or a cell states it.

    Args:
        spec: Spec of the task.
        option: Text behind the colon, or the name of a grouping of classes; "" without one.
    """

    spec: TaskSpec
    option: str = ""

    @property
    def name(self) -> str:
        """Name of the task: without a namespace for those of the core, as models state it in `ModelSpec.tasks`."""
        return task_name(self.spec)

    @property
    def text(self) -> str:
        """The shortest text that means this task, as a cell holds it; "" for classification of all classes."""
        if self.name == CLASSIFY:
            return self.option
        return f"{self.name}:{self.option}" if self.option else self.name

    @property
    def version(self) -> int | None:
        """Version of its spec, as a cell holds it: None for the first."""
        return None if self.spec.version == 1 else self.spec.version

    def task_class(self) -> type[Task]:
        """Return the class of the task.

        Raises:
            MissingError: It cannot be imported.
        """
        return cast("type[Task]", registry.load_target(self.spec))


def task_name(spec: TaskSpec) -> str:
    """Return the name by which options, cells and models state a task."""
    return spec.name if spec.namespace == "core" else spec.id


Tasks = Mapping[str, TaskSpec]
CORE: Tasks = {task_name(spec): spec for spec in CORE_TASKS}
"""Name -> spec of the core's tasks, for readers of results without plugins."""


def tasks_by_name(host: Host) -> Tasks:
    """Return name -> spec of every task that is installed."""
    return {task_name(spec): spec for spec in registry.listed(host, TaskSpec)} or CORE


def answers(model: ModelSpec, task: TaskSpec) -> bool:
    """Whether a model answers a task."""
    others = () if model.fits_itself else task.networks_of
    return not {task_name(task), *others}.isdisjoint(model.tasks)


def read_task(text: str, *, tasks: Tasks = CORE, groupings: Sequence[str] = ()) -> ChosenTask:
    """Return the task that a text means: NAME, NAME:OPTION, or a grouping of the data set's classes.

    Args:
        text: Value of --task, or the task of a cell; "" is classification of all classes.
        tasks: Tasks that are installed.
        groupings: Groupings of the data set (`DatasetSpec.tasks`).

    Raises:
        UsageError: Neither a task nor a grouping has this name.
    """
    name, _, option = text.strip().partition(":")
    bare = {name.rpartition("/")[2]: name for name in tasks}
    found = tasks.get(name) or tasks.get(bare.get(name, ""))
    if name.startswith("core/"):
        found = tasks.get(name.removeprefix("core/"))
    if text in groupings or not text:  # a data set's own word comes first: stored cells keep their meaning
        found, option = tasks[CLASSIFY], text
    if found is None:
        known = [*tasks, *groupings]
        raise UsageError(f"Unknown task '{text}'; known are {', '.join(known)}.{nearest(name, known)}")
    return ChosenTask(spec=found, option=option)


def task_of_option(host: Host, dataset: DatasetSpec, text: str) -> tuple[ChosenTask, Task]:
    """Return the task that `--task` means for a data set, and open it.

    Raises:
        UsageError: The name is unknown, or the data set cannot answer the task.
        MissingError: The task's plugin is absent.
    """
    asked = read_task(text, tasks=tasks_by_name(host), groupings=tuple(dataset.tasks))
    kind = asked.task_class()
    return asked, kind(kind.ask(dataset, asked.option), name=asked.name, option=asked.option)


def completed(asked: ChosenTask, dataset: DatasetSpec, scenes: Scenes | None) -> tuple[ChosenTask, Task, str]:
    """Return a task as a cell states it, the task opened for a data set, and a note for readers of the plan.

    Args:
        asked: Task of the request.
        dataset: Spec of the data set.
        scenes: A few scenes of its training split; None of images that exist already.

    Raises:
        UsageError: The scenes cannot answer it.
    """
    kind = asked.task_class()
    note = ""
    if scenes is not None:
        option, note = kind.complete(dataset, asked.option, scenes)
        asked = replace(asked, option=option)
    return asked, kind(kind.ask(dataset, asked.option), name=asked.name, option=asked.option), note


def task_of_cell(host: Host, dataset: DatasetSpec, text: str) -> Task:
    """Return the task of a cell, opened for its data set; see `task_of_option`."""
    return task_of_option(host, dataset, text)[1]


def task_of_question(text: str, question: Question, *, tasks: Tasks = CORE) -> Task:
    """Return the task of a stored result or weights file, whose data set need not be installed.

    Args:
        text: Task of the cell.
        question: Classes of the result, and those that it was trained on.
        tasks: Tasks that are installed.

    Raises:
        MissingError: The task's plugin is absent.
    """
    name = text.partition(":")[0]
    # What is not a task is a grouping of classes.
    asked = read_task(text if name in tasks else "", tasks=tasks)
    if "/" in name and name not in tasks:
        raise MissingError(f"The task {name} is not provided by an installed plugin.", hint="See: zoo plugins")
    return asked.task_class()(question, name=asked.name, option=asked.option)


def example_task(
    name: str, tasks: Tasks = CORE, *, classes: Sequence[str] = ("a", "b", "c"), option: str | None = None
) -> Task:
    """Return a task of images of some classes, the first of them normal, for networks without a data set.

    Args:
        name: Name of the task, as `ModelSpec.tasks` states it.
        tasks: Tasks that are installed.
        classes: Names of the classes.
        option: Text behind the colon; None for the first example of the task.

    Raises:
        UsageError: The task is unknown, or needs a data set of its own.
        MissingError: It needs a library that is absent.
    """
    kind = read_task(name, tasks=tasks).task_class()
    chosen = kind.example_option if option is None else option
    names = tuple(classes)
    dataset = DatasetSpec(id="example/images", target="example:images", classes=names, normal=names[:1])
    return kind(kind.ask(dataset, chosen), name=name, option=chosen)


def more_example_tasks(name: str, tasks: Tasks = CORE, *, classes: Sequence[str]) -> list[Task]:
    """Return a task with its further examples (`Task.more_examples`), without those whose library is absent."""
    found = []
    for option in read_task(name, tasks=tasks).task_class().more_examples:
        with contextlib.suppress(MissingError):
            found.append(example_task(name, tasks, classes=classes, option=option))
    return found
