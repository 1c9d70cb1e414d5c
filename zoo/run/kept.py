"""Files of a run that hold arrays: predictions, example images, and the images that a report shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoo.data.split import Split
from zoo.results import store
from zoo.tasks.task import Task

EXAMPLES_PER_CLASS = 4


def write_predictions(path: Path, splits: dict[str, tuple[Split, Tensor, Tensor]]) -> None:
    """Write logits, labels, ids and scene parameters of some splits: name -> images, logits [N, K], labels [N].

    Where a task estimates truths, these [N, T] take the place of the labels, which are called "classes" then.
    """
    arrays: dict[str, Any] = {}
    ids = {}
    for name, (split, logits, labels) in splits.items():
        arrays[f"{name}.logits"] = logits.numpy()
        arrays[f"{name}.labels"] = labels.numpy()
        if split.targets is not None:
            arrays[f"{name}.classes"] = split.labels
        arrays |= {f"{name}.parameter.{key}": values for key, values in split.parameters.items()}
        ids[f"{name}.ids"] = json.dumps(split.ids)
    store.write_arrays(path, arrays, ids)


def write_examples(path: Path, split: Split) -> None:
    """Keep a few training images of each class, so that a report can show what the data look like."""
    first = np.concatenate([np.flatnonzero(split.labels == k)[:EXAMPLES_PER_CLASS] for k in range(len(split.classes))])
    store.write_arrays(
        path,
        {"images": split.images_at(first), "labels": split.labels[first]},
        {"classes": json.dumps(list(split.classes))},
    )


def write_mistakes(path: Path, split: Split, logits: Tensor, labels: Tensor, task: Task) -> None:
    """Keep the few test images that a report shows, with the predictions for them: the largest errors."""
    predictions, truth = logits.numpy(), labels.numpy()
    chosen = task.notable(predictions, truth)
    answers = task.for_metrics(predictions)[chosen]
    name = "probabilities" if task.weights_outputs is None else "predictions"
    arrays: dict[str, NDArray[Any]] = {"images": split.images_at(chosen), "labels": split.labels[chosen], name: answers}
    if split.targets is not None:
        arrays["truth"] = truth[chosen]
    store.write_arrays(
        path,
        arrays,
        {"classes": json.dumps(list(split.classes)), "ids": json.dumps([split.ids[i] for i in chosen])},
    )
