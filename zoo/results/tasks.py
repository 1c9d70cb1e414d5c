"""The task of a stored result, opened from what the result states: its data set need not be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.data.question import Question
from zoo.tasks.find import CORE, Tasks, task_of_question

if TYPE_CHECKING:
    from zoo.results.schema import Finished
    from zoo.tasks.task import Task


def task_of_result(result: Finished, *, tasks: Tasks = CORE) -> Task:
    """Return the task of a result.

    Args:
        result: Result that ended well.
        tasks: Tasks that are installed.

    Raises:
        MissingError: The task's plugin is absent.
    """
    trained_on = tuple(result.classes.index(name) for name in result.data.trained_on)
    return task_of_question(result.cell.task, stored_question(result.classes, trained_on=trained_on), tasks=tasks)


def stored_question(classes: tuple[str, ...], *, trained_on: tuple[int, ...] = ()) -> Question:
    """Return the question of a result or a weights file, whose labels are those of its classes already."""
    return Question(classes=classes, merged=tuple(range(len(classes))), trained_on=trained_on)
