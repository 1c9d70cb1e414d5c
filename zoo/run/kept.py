"""Files of a run for its readers: predictions, example images, and what a report shows of them."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.data.split import Split
from zoo.devices import in_float32
from zoo.isolation import contained, plugin_code
from zoo.models.classifier import Classifier
from zoo.models.residual import Reconstructs
from zoo.registry import datasets_by_id
from zoo.results import store
from zoo.results.digest import read_digest
from zoo.tasks.find import tasks_by_name
from zoo.tasks.task import Task

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.results.schema import Finished

logger = logging.getLogger(__name__)

EXAMPLES_PER_CLASS = 4


def write_predictions(path: Path, splits: dict[str, tuple[Split, Tensor, Tensor]]) -> None:
    """Write logits, labels, ids, scene parameters and groups of some splits: name -> images, logits, labels.

    Where a task estimates truths, these [N, T] take the place of the labels, which are called "classes" then.
    """
    arrays: dict[str, Any] = {}
    metadata = {}
    for name, (split, logits, labels) in splits.items():
        arrays[f"{name}.logits"] = logits.numpy()
        arrays[f"{name}.labels"] = labels.numpy()
        if split.targets is not None:
            arrays[f"{name}.classes"] = split.labels
        arrays |= {f"{name}.parameter.{key}": values for key, values in split.parameters.items()}
        metadata[f"{name}.ids"] = json.dumps(split.ids)
        if split.groups is not None:
            metadata[f"{name}.image_groups"] = split.groups.text
    store.write_arrays(path, arrays, metadata)


def write_examples(path: Path, split: Split) -> None:
    """Keep a few training images of each class, so that a report can show what the data look like."""
    first = np.concatenate([np.flatnonzero(split.labels == k)[:EXAMPLES_PER_CLASS] for k in range(len(split.classes))])
    store.write_arrays(
        path,
        {"images": split.images_at(first), "labels": split.labels[first]},
        {"classes": json.dumps(list(split.classes))},
    )


def write_mistakes(
    path: Path, split: Split, logits: Tensor, labels: Tensor, task: Task, *, classifier: Classifier | None = None
) -> None:
    """Keep the few test images that a report shows, with the predictions for them: the largest errors.

    Args:
        path: Path of the file.
        split: Test split.
        logits: Predictions [N, K].
        labels: [N].
        task: Task of the predictions.
        classifier: Classifier that made them; what a network that reconstructs images leaves of them is kept, too.
    """
    predictions, truth = logits.numpy(), labels.numpy()
    chosen = task.notable(predictions, truth)
    answers = task.for_metrics(predictions)[chosen]
    name = "probabilities" if task.weights_outputs is None else "predictions"
    images = split.images_at(chosen)
    arrays: dict[str, NDArray[Any]] = {"images": images, "labels": split.labels[chosen], name: answers}
    if split.targets is not None:
        arrays["truth"] = truth[chosen]
    store.write_arrays(
        path,
        arrays | ({} if classifier is None else residual_maps(classifier, images)),
        {"classes": json.dumps(list(split.classes)), "ids": json.dumps([split.ids[i] for i in chosen])},
    )


def residual_maps(classifier: Classifier, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return "reconstructions" in the unit of the images, and "residuals" over the noise, both [n, C, H, W].

    Nothing is returned of a network that does not reconstruct images, or whose maps fail or have another shape.
    """
    network = classifier.network
    if not isinstance(network, Reconstructs) or not len(images):
        return {}
    raw = torch.from_numpy(images).to(classifier.mean.device)
    try:
        with plugin_code(type(network).__name__, "residual_maps"), torch.inference_mode(), in_float32():
            rebuilt, over_noise = network.residual_maps((raw - classifier.mean) / classifier.std)
            found = {"reconstructions": rebuilt * classifier.std + classifier.mean, "residuals": over_noise}
        arrays = {name: tensor.float().cpu().numpy() for name, tensor in found.items()}
    except Exception:
        logger.warning("residual_maps of %s failed", type(network).__name__, exc_info=True)
        return {}
    if any(array.shape != images.shape or not np.isfinite(array).all() for array in arrays.values()):
        logger.warning("residual_maps of %s: not finite, or of another shape", type(network).__name__)
        return {}
    return arrays


def keep_curves(host: Host, result: Finished) -> None:
    """Keep what a report draws of a run, so that the first report of thousands of runs need not compute it."""
    dataset = datasets_by_id(host).get(result.cell.data)
    with contextlib.suppress(Exception), contained():  # a report tries again, and states what is wrong
        read_digest(result, labels={} if dataset is None else dataset.slices, tasks=tasks_by_name(host))
