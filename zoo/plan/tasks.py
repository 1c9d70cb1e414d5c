"""Models that answer the task of a plan, and the rule that selects an epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from zoo import registry
from zoo.errors import UsageError, nearest
from zoo.plan.request import Request
from zoo.results.cell import Cell, Rule
from zoo.specs import CLASSIFY, DatasetSpec, ModelSpec
from zoo.tasks.find import ChosenTask, answers, task_of_cell
from zoo.tasks.task import Task

if TYPE_CHECKING:
    from zoo.host import Host

_MOST_NAMED = 8


def answering(
    host: Host, models: Sequence[ModelSpec], asked: ChosenTask, request: Request, *, note: Callable[[str], None]
) -> list[ModelSpec]:
    """Return the models that answer a task; those that only a wildcard names are left out with a note.

    Args:
        host: The plugins.
        models: Models of the request.
        asked: The task.
        request: Names and wildcards of the models.
        note: Function called with each note on the plan.

    Raises:
        UsageError: A model that is named answers other tasks only, or none of the models answers this one.
    """
    wrong = [model for model in models if not answers(model, asked.spec)]
    right = [model for model in models if model not in wrong]
    refused = [model for model in wrong if is_named(model, request)]
    if refused or not right:
        raise _refusal(host, (refused or wrong)[0], asked)
    if wrong:
        note(f"left out, because they answer other tasks than {asked.name}: {', '.join(model.id for model in wrong)}")
    return right


def is_named(model: ModelSpec, request: Request) -> bool:
    """Whether a request names a model, and not only by a wildcard."""
    patterns = [part.strip() for text in request.models for part in text.split(",")]
    named = [name.lower() for name in patterns if name and not registry.is_pattern(name)]
    return model.id.lower() in named or model.name.lower() in named


def _refusal(host: Host, model: ModelSpec, asked: ChosenTask) -> UsageError:
    valid = [spec.id for spec in registry.listed(host, ModelSpec) if answers(spec, asked.spec)]
    shown = ", ".join(valid[:_MOST_NAMED])
    if len(valid) > _MOST_NAMED:
        shown += f" and {len(valid) - _MOST_NAMED} more"
    other = model.tasks[0]
    instead = "without --task" if other == CLASSIFY else f"with --task {other}"
    return UsageError(
        f"{model.id} answers the task {' and '.join(model.tasks)}, not {asked.name}. Models that answer {asked.name}: "
        f"{shown or 'none is installed'}.{nearest(model.id, valid)}",
        hint=f"Choose one of these, or train it {instead}.",
    )


def rule_of(request: Request, task: Task) -> Rule:
    """Return the rule of a request, or the task's own.

    Raises:
        UsageError: The task does not have the rule.
    """
    rule = request.rule or task.rules[0]
    if rule not in task.rules:
        raise UsageError(
            f"rule '{rule}' is not one of {', '.join(task.rules)}, the rules of the task {task.name}."
            f"{nearest(rule, task.rules)}"
        )
    return cast(Rule, rule)


def require_area(host: Host, cell: Cell) -> None:
    """Refuse a cell without a validation AUC, by which a search compares its trials.

    Raises:
        UsageError: Its task selects by another number.
    """
    task = task_of_cell(host, registry.find(host, DatasetSpec, cell.data), cell.task)
    if "val_auc" not in task.rules:
        raise UsageError(
            f"zoo tune compares trials by their validation AUC, which the task {task.name} does not have.",
            hint="Compare settings with zoo bench: --set NAME=VALUE",
        )
