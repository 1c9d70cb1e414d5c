"""Scores of a trained classifier: from logits and labels to numbers with intervals, and the speed of inference."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.data.image_groups import ImageGroups
from zoo.models.in_parts import forward_in_parts
from zoo.scores.intervals import intervals
from zoo.scores.schema import Scores, shared_by


def score(logits: Tensor, labels: Tensor, classes: Sequence[str], *, groups: ImageGroups | None = None) -> Scores:
    """Return the scores of one split.

    Areas under the ROC curve come from softmax probabilities, never from raw logits, whose one-vs-rest order
    differs from image to image.

    Args:
        logits: [N, K] on the CPU.
        labels: [N].
        classes: K names.
        groups: Groups of images that are not independent; None where all are.
    """
    from torchmetrics.functional.classification import (
        binary_auroc,
        multiclass_calibration_error,
        multiclass_confusion_matrix,
    )

    count = len(classes)
    probabilities = logits.double().softmax(1)
    per_class = one_vs_rest_auc(probabilities, labels)
    one_hot = nn.functional.one_hot(labels, count)
    ends = intervals(probabilities.numpy(), labels.numpy(), groups=None if groups is None else groups.numbers)
    names = {f"auc_{k}": f"auc.{name}" for k, name in enumerate(classes)}
    names |= {"auc_macro": "auc.macro", "auc_micro": "auc.micro"}
    confusion = multiclass_confusion_matrix(probabilities.argmax(1), labels, num_classes=count)
    return Scores(
        auc={
            **{name: float(per_class[k]) for k, name in enumerate(classes)},
            "macro": float(per_class.mean()),
            "micro": float(binary_auroc(probabilities.flatten(), one_hot.flatten(), thresholds=None)),
        },
        accuracy=float((probabilities.argmax(1) == labels).double().mean()),
        log_loss=float(nn.functional.cross_entropy(logits.double(), labels)),
        ece=float(multiclass_calibration_error(probabilities, labels, num_classes=count, n_bins=15)),
        confusion=tuple(map(tuple, confusion.tolist())),
        brier=float((probabilities - one_hot).square().sum(1).mean()),
        intervals={names.get(name, name): interval for name, interval in ends.items()},
        images=len(labels),
        image_groups=shared_by(groups),
    )


def one_vs_rest_auc(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the area under each class's ROC curve, [K]; NaN where the class, or all the rest, has no image.

    Args:
        probabilities: [N, K].
        labels: [N].
    """
    from torchmetrics.functional.classification import multiclass_auroc

    classes = probabilities.shape[1]
    areas = multiclass_auroc(probabilities, labels, num_classes=classes, average="none", thresholds=None)
    counts = labels.bincount(minlength=classes)
    # torchmetrics returns 0 there, which would mean that every pair is ranked the wrong way round.
    return areas.where((counts > 0) & (counts < len(labels)), torch.nan)


@torch.inference_mode()
def inference_rate(classifier: nn.Module, images: Tensor, *, seconds: float = 1.0) -> float:
    """Return images per second of forward passes over one batch [n, C, H, W], measured for about `seconds`."""
    classifier.eval()
    forward_in_parts(classifier, images)
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or not done:
        forward_in_parts(classifier, images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        done += len(images)
    return done / max(elapsed, 1e-9)
