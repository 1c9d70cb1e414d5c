"""Calibrates the chosen weights on the validation split, and writes them with all that their use needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.data.split import Split
from zoo.models.about import About
from zoo.models.load import golden_predictions
from zoo.models.pixels import SAMPLE, summary
from zoo.models.weights_file import write_weights
from zoo.results import store
from zoo.results.cell import Cell
from zoo.scores.calibration import fit_temperature
from zoo.scores.finite import require_finite
from zoo.scores.unlike import fit_detector
from zoo.tasks.task import Task
from zoo.train.fit import Fitted, Prepared
from zoo.train.validation import predict

GOLDEN_IMAGES = 3


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What the validation split states of the chosen weights.

    Args:
        task: The task, with widths that are calibrated where it estimates truths.
        predictions: [N, K] predictions of the validation images, calibrated likewise.
        labels: [N] labels, or [N, T] truths.
        temperature: Temperature of the probabilities; None where there are none.
    """

    task: Task
    predictions: Tensor
    labels: Tensor
    temperature: float | None


def write_fixed_weights(prepared: Prepared, fitted: Fitted, cell: Cell, run_dir: Path) -> Validated:
    """Calibrate the network on the validation split and write its weights; no test image is opened.

    Args:
        prepared: Network and images of the cell.
        fitted: The training, whose weights the network has.
        cell: The cell.
        run_dir: Folder of the run.

    Raises:
        TrainingError: A prediction is not finite; the error names the image.
    """
    task, own, classifier = prepared.task, fitted.own, prepared.classifier
    train_split, val_split = prepared.train_split, prepared.val_split
    when = "Validation images after the training"
    predictions, labels = own.predictions if own else predict(classifier, fitted.val_data, when=when)
    temperature = fit_temperature(predictions, labels) if task.weights_outputs is None else None
    if task.targets:
        task, predictions = task.calibrated(predictions, labels)
        classifier.estimate(task.targets, standardised=not cell.fits_itself)
    validated = Validated(task=task, predictions=predictions, labels=labels, temperature=temperature)
    chosen = _some_of_classes(val_split, most=GOLDEN_IMAGES)
    golden = golden_predictions(classifier, torch.from_numpy(val_split.images_at(chosen)))
    require_finite(
        golden["logits"],
        lambda row: val_split.ids[chosen[row]],
        when="Golden predictions (validation images on the CPU in float32)",
    )
    detector = {}
    if task.weights_outputs is None:
        stored_channels = train_split.image_shape[0] - len(cell.recipe.channels)
        detector = fit_detector(train_split, val_split, channels=stored_channels, device=prepared.device).tensors()
    write_weights(
        run_dir / store.WEIGHTS,
        classifier.state_dict(),
        about=_about(cell, prepared, validated),
        golden=golden,
        detector=detector,
    )
    return validated


def _about(cell: Cell, prepared: Prepared, validated: Validated) -> About:
    """Return what the weights must carry to be used without this run's folder."""
    split, data, task = prepared.train_split, prepared.data, validated.task
    sample = np.unique(np.linspace(0, len(split) - 1, SAMPLE).astype(np.int64))
    pixel_scale = data.instrument.pixel_scale if data.instrument else cell.recipe.params.get("pixel_scale")
    return About(
        model=cell.model,
        model_version=cell.model_version,
        group=prepared.spec.group,
        hparams=dict(cell.hparams),
        classes=tuple(split.classes),
        image_shape=split.image_shape,
        pixel_scale=float(pixel_scale) if isinstance(pixel_scale, (int, float)) else None,
        pixels=summary(split.images_at(sample)[:, : split.image_shape[0] - len(cell.recipe.channels)]),
        recipe=cell.recipe,
        run_id=cell.run_id,
        versions=dict(cell.versions),
        init=prepared.init,
        phases=cell.phases,
        temperature=validated.temperature,
        # A grouping of classes is known by its classes, as it was before there were other tasks.
        task="" if task.weights_outputs is None else cell.task,
        trained_on=task.question.trained_on_names,
        outputs=task.weights_outputs,
        reference=task.reference(validated.predictions.double().numpy()),
        targets=task.targets,
        camera=data.camera,
    )


def _some_of_classes(split: Split, *, most: int) -> NDArray[np.int64]:
    """Return the position of the first image of each class, for at most `most` classes; of one class, the first few."""
    present = np.unique(split.labels)[:most]
    if len(present) == 1:
        return np.arange(min(most, len(split)))
    return np.array([np.argmax(split.labels == k) for k in present])
