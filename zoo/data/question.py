"""Questions to the images of a data set: their labels, and the images that may be trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.split import Split
from zoo.errors import UsageError, nearest
from zoo.specs import DatasetSpec

RESTRICTED = ("train", "val")
"""Splits that hold only images which may be trained on; the test split holds all."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Labels of the images of a data set, and the images that a network may see before its test.

    Args:
        classes: Names of the labels.
        merged: Index in `classes` for each class of the data set.
        trained_on: Indices in `classes` whose images are in the training and validation splits; empty for all.
    """

    classes: tuple[str, ...]
    merged: tuple[int, ...]
    trained_on: tuple[int, ...] = ()

    @property
    def allowed(self) -> tuple[int, ...]:
        """Indices of the classes whose images may be trained on."""
        return self.trained_on or tuple(range(len(self.classes)))

    @property
    def trained_on_names(self) -> tuple[str, ...]:
        """Names of the classes that training is restricted to; empty without a restriction."""
        return tuple(self.classes[k] for k in self.trained_on)

    def labels(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Return the labels [N] for those of the data set."""
        of_question: NDArray[np.int64] = np.asarray(self.merged, dtype=np.int64)[labels]
        return of_question

    def apply(self, split: Split) -> Split:
        """Return a split of the data set with these labels; of training and validation, the allowed images only."""
        asked = replace(split, classes=self.classes, labels=self.labels(split.labels))
        if not self.trained_on or split.name not in RESTRICTED:
            return asked
        return asked.select(np.flatnonzero(np.isin(asked.labels, self.trained_on)))


def all_classes(spec: DatasetSpec) -> Question:
    """Return the question that keeps all classes of a data set apart."""
    return Question(classes=spec.classes, merged=tuple(range(len(spec.classes))))


def grouped_classes(spec: DatasetSpec, name: str) -> Question:
    """Return a grouping of a data set's classes, one of `DatasetSpec.tasks`; "" keeps all classes apart.

    Raises:
        UsageError: The data set does not have a grouping of this name.
    """
    if not name:
        return all_classes(spec)
    if name not in spec.tasks:
        allowed = ", ".join(spec.tasks) or "none beside telling its classes apart"
        raise UsageError(f"{spec.id} has no task '{name}'; it has: {allowed}.{nearest(name, spec.tasks)}")
    groups = spec.tasks[name]
    place = {old: index for index, group in enumerate(groups.values()) for old in group}
    return Question(classes=tuple(groups), merged=tuple(place[old] for old in spec.classes))
