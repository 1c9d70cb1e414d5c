"""The task of a network: separate all classes of a data set, or groups of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.split import Split
from zoo.errors import UsageError, nearest
from zoo.specs import DatasetSpec


@dataclass(frozen=True, kw_only=True)
class Task:
    """Classes of a data set, some of them merged.

    Args:
        classes: Names of the classes that a network distinguishes.
        merged: Index in `classes` for each class of the data set.
    """

    classes: tuple[str, ...]
    merged: tuple[int, ...]

    def labels(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Return the labels [N] of the task for those of the data set."""
        of_task: NDArray[np.int64] = np.asarray(self.merged, dtype=np.int64)[labels]
        return of_task

    def apply(self, split: Split) -> Split:
        """Return a split of the data set with the classes and labels of the task."""
        return replace(split, classes=self.classes, labels=self.labels(split.labels))


def open_task(spec: DatasetSpec, name: str) -> Task:
    """Return a task of a data set; "" keeps all its classes apart.

    Raises:
        UsageError: The data set does not have a task of this name.
    """
    if not name:
        return Task(classes=spec.classes, merged=tuple(range(len(spec.classes))))
    if name not in spec.tasks:
        allowed = ", ".join(spec.tasks) or "none beside telling its classes apart"
        raise UsageError(f"{spec.id} has no task '{name}'; it has: {allowed}.{nearest(name, spec.tasks)}")
    groups = spec.tasks[name]
    place = {old: index for index, group in enumerate(groups.values()) for old in group}
    return Task(classes=tuple(groups), merged=tuple(place[old] for old in spec.classes))
