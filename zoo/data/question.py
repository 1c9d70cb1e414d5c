"""Questions to the images of a data set: their labels, and the images that may be trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.split import Split
from zoo.data.targets import target_values
from zoo.errors import DataError, UsageError, nearest
from zoo.plurals import counted
from zoo.specs import DatasetSpec

RESTRICTED = ("train", "val")
"""Splits that hold only images which may be trained on; the test split holds all, unless truths are estimated."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Labels of the images of a data set, and the images that a network may see before its test.

    Args:
        classes: Names of the labels.
        merged: Index in `classes` for each class of the data set.
        trained_on: Indices in `classes` whose images are in the training and validation splits; empty for all.
        targets: Stored truths that are estimated (`zoo.data.targets`); the test split, too, holds images of
            `trained_on` only then.
        auxiliary: Stored truths that a network estimates beside them while it trains; of the training split only.
    """

    classes: tuple[str, ...]
    merged: tuple[int, ...]
    trained_on: tuple[int, ...] = ()
    targets: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()

    @property
    def allowed(self) -> tuple[int, ...]:
        """Indices of the classes whose images may be trained on."""
        return self.trained_on or tuple(range(len(self.classes)))

    @property
    def trained_on_names(self) -> tuple[str, ...]:
        """Names of the classes that training is restricted to; empty without a restriction."""
        return tuple(self.classes[k] for k in self.trained_on)

    def of_split(self, name: str) -> tuple[int, ...]:
        """Return the indices of the classes whose images a split, such as "test", holds."""
        return self.allowed if name in RESTRICTED or self.targets else tuple(range(len(self.classes)))

    def labels(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Return the labels [N] for those of the data set."""
        of_question: NDArray[np.int64] = np.asarray(self.merged, dtype=np.int64)[labels]
        return of_question

    def apply(self, split: Split) -> Split:
        """Return a split of the data set with these labels and targets; of training and validation, the allowed images.

        Raises:
            UsageError: A target or an auxiliary truth is not stored beside the images.
            DataError: A target is undefined for an image.
        """
        asked = replace(split, classes=self.classes, labels=self.labels(split.labels))
        if len(kept := self.of_split(split.name)) < len(self.classes):
            asked = asked.select(np.flatnonzero(np.isin(asked.labels, kept)))
        if self.auxiliary and split.name == "train":
            beside = target_values(self.auxiliary, parameters=asked.parameters, truth=asked.truth)
            asked = replace(asked, auxiliary=beside)
        if not self.targets:
            return asked
        values = target_values(self.targets, parameters=asked.parameters, truth=asked.truth)
        if (undefined := ~np.isfinite(values)).any():
            row, k = (int(found[0]) for found in np.nonzero(undefined))
            bad = sorted({self.classes[label] for label in asked.labels[undefined.any(1)]})
            raise DataError(
                f"{self.targets[k]} is undefined for {int(undefined.any(1).sum())} of "
                f"{counted(len(asked), 'image')} of the split '{split.name}', of the class {' and '.join(bad)}; "
                f"the first is {asked.ids[row]}.",
                hint="Name the classes in which it is defined: --task regress:NAME,classes=A+B",
            )
        return replace(asked, targets=values)


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
