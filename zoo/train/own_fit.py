"""Fits a network that fits itself, in place of the training loop."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from zoo.data.about import all_params
from zoo.data.loader import Batches
from zoo.data.recipe import short_hash
from zoo.data.truth import common_truth
from zoo.devices import in_float32
from zoo.errors import TrainingError, ZooError
from zoo.isolation import plugin_code
from zoo.models.in_parts import forward_in_parts
from zoo.models.load import differences
from zoo.models.own_fit import FitsItself, ImagesToFit, SplitsToFit
from zoo.results.schema import Epoch
from zoo.train.random_states import seed_all
from zoo.train.validation import mean_loss, predict, validate

if TYPE_CHECKING:
    from zoo.results.cell import Cell
    from zoo.train.fit import Prepared

logger = logging.getLogger(__name__)

LOSS_IMAGES = 256
"""Number of training images of which the loss is stated: predictions of a fit may be slow."""


@dataclass(frozen=True, kw_only=True)
class OwnFit:
    """Outcome of a fit, beside the weights in its classifier. Predictions may be slow, so each is made once.

    Args:
        entry: The only entry of the history.
        resident: Whether the training images were held on the device.
        predictions: Logits [N, K] and labels [N] of the validation split.
        images_per_second: Rate of these predictions.
    """

    entry: Epoch
    resident: bool
    predictions: tuple[Tensor, Tensor]
    images_per_second: float


def fit_prepared(prepared: Prepared, cell: Cell, val_data: Batches) -> OwnFit:
    """Fit a classifier whose network fits itself.

    Args:
        prepared: Inputs; its classifier is in evaluation mode afterwards.
        cell: The cell that it was prepared from.
        val_data: The validation images.

    Raises:
        TrainingError: The fit failed, or a logit is not finite.
    """
    classifier, device = prepared.classifier, prepared.device
    splits = SplitsToFit(
        train=ImagesToFit(prepared.train_split, device=device),
        val=ImagesToFit(prepared.val_split, device=device),
        params=all_params(prepared.data.spec, cell.recipe.params),
        instrument=prepared.data.instrument,
        recipe_hash=images_key(cell),
        seed=cell.seed,
        common=common_truth(prepared.train_split.truth),
        progress=lambda done, total, what="fit": prepared.progress.report(what, done, total),
    )
    started = time.perf_counter()
    splits.progress(0, 1, "fit")
    fit_itself(classifier.network, splits, name=cell.model)
    fitted = time.perf_counter() - started
    splits.progress(0, 1, "validate")
    clock = time.perf_counter()
    when = "Validation images after the fit"
    report = partial(prepared.progress.report, "validate")
    logits, labels = predict(classifier, val_data, when=when, progress=report)
    predicted = time.perf_counter() - clock
    found = validate(classifier, val_data, prepared.task, logits, labels, when=when)
    images, truth = next(splits.train.batches(LOSS_IMAGES))
    with torch.inference_mode(), in_float32():
        answers = forward_in_parts(classifier, images).float().cpu()
    train_loss = mean_loss(
        classifier, [(images, truth)], prepared.task, answers, truth.cpu(), when="Training images after the fit"
    )
    entry = Epoch(
        epoch=1,
        train_loss=train_loss,
        lr=0.0,
        **found,
        train_seconds=fitted,
        waited_seconds=0.0,
        train_images_per_second=len(splits.train) / fitted,
        micro_batches=1,
        seconds=time.perf_counter() - started,
    )
    return OwnFit(
        entry=entry,
        resident=splits.train.resident,
        predictions=(logits, labels),
        images_per_second=len(labels) / max(predicted, 1e-9),
    )


def fit_notes(network: nn.Module, *, name: str) -> tuple[str, ...]:
    """Return the sentences of a network's `fit_notes`; none where it has no such method, or where that fails.

    Args:
        network: A `FitsItself` after its fit.
        name: Id of the network.
    """
    notes = getattr(network, "fit_notes", None)
    if notes is None:
        return ()
    try:
        with plugin_code(name, f"fit_notes of {name}"):
            return tuple(str(note) for note in notes())
    except Exception:
        logger.warning("fit_notes of %s failed", name, exc_info=True)
        return ()


def images_key(cell: Cell) -> str:
    """Return a hash of everything that decides the images, the seed of the training images included."""
    return cell.recipe.hash if cell.train_seed is None else short_hash([cell.recipe.hash, cell.train_seed])


def fit_itself(network: nn.Module, splits: SplitsToFit, *, name: str) -> None:
    """Call a network's `fit_splits`, with torch's random numbers seeded, and check the tensors that it leaves.

    Args:
        network: A `FitsItself`; in evaluation mode afterwards.
        splits: Training and validation images.
        name: Id of the network.

    Raises:
        TrainingError: The fit failed, changed the shape or type of a tensor, or left a value that is not finite.
    """
    expected = {key: torch.empty_like(tensor, device="meta") for key, tensor in network.state_dict().items()}
    try:
        with plugin_code(name, f"the fit of {name}", may_take_long=True):
            seed_all(splits.seed)
            cast(FitsItself, network.eval()).fit_splits(splits)
    except (ZooError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        raise TrainingError(f"{name} cannot be fitted: {type(error).__name__}: {error}") from error
    state = network.eval().state_dict()
    if problems := differences(state, expected):
        raise TrainingError(
            f"{name} has other tensors after its fit, so its weights cannot be loaded: {'; '.join(problems)}.",
            hint="Give every tensor its shape when the network is built, and fill it with tensor.copy_(values).",
        )
    for key, tensor in state.items():
        if tensor.dtype != expected[key].dtype:
            raise TrainingError(
                f"{name}: {key} is of type {tensor.dtype} after the fit, {expected[key].dtype} before.",
                hint="Fill it in place: tensor.copy_(values)",
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise TrainingError(f"{name}: the fit left values in {key} that are not finite.")
