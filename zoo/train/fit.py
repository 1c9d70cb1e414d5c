"""Prepares and trains a cell, up to fixed weights; scoring is a separate step.

The test split is not opened here, so that a search over hyper-parameters can use the very training that a benchmark
uses without ever seeing what it will be judged by.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning_fabric import Fabric

from zoo import registry
from zoo.data.image_cache import reading_reported
from zoo.data.loader import Batches
from zoo.data.new_noise import Exposed
from zoo.data.open import Dataset
from zoo.data.split import Split
from zoo.data.stream import Stream
from zoo.errors import TrainingError
from zoo.models.about import Init
from zoo.models.classifier import Classifier, build_classifier
from zoo.models.pixels import normalisation
from zoo.models.trial import Trial, try_classifier
from zoo.plan.settings import TrainingSettings
from zoo.plan.unchanged import check_unchanged
from zoo.progress import ProgressFile
from zoo.results import store
from zoo.results.cell import Cell
from zoo.results.convergence import describe_plateau, epochs_at_chance
from zoo.results.schema import Epoch
from zoo.specs import DatasetSpec, ModelSpec
from zoo.tasks.find import task_of_cell
from zoo.tasks.task import Task
from zoo.train.answers import check_trainable, forget_auxiliary, in_units, learn_auxiliary, taught
from zoo.train.fabric import make_fabric
from zoo.train.loop import EpochReport, Training, waited_share
from zoo.train.own_fit import OwnFit, fit_prepared
from zoo.train.parts import CORE_PARTS, TrainingParts, open_parts
from zoo.train.phases import faults_of, images_of, open_phases, open_stream, training_batches
from zoo.train.random_states import seed_all
from zoo.train.team import ALONE, Team
from zoo.weights.start import start_from

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Simulated:
    """Cost of rendering so far.

    Args:
        images: Images that were rendered.
        seconds: Time of opening the splits, rendering included.
    """

    images: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Inputs of a training.

    Args:
        spec: Spec of the model.
        task: Task of the cell, opened for its data set.
        settings: Settings of the training.
        data: The data set, with its validation split open.
        train_splits: Training split of each phase, one without phases; of a stream, its first images.
        val_split: Chooses the epoch.
        stream: Stream of new training images, where the settings ask for one.
        classifier: Classifier on its device, normalised, with its initial weights.
        trial: Result of its trial on two training images.
        fabric: Device and precision.
        device: Device of the training.
        init: Source of the initial weights (`zoo.weights.start`), or None.
        progress: Progress file of the cell.
        simulated: Images that were rendered, and the time that this took.
        parts: Augmentation, loss and optimiser of plugins.
    """

    spec: ModelSpec
    task: Task
    settings: TrainingSettings
    data: Dataset
    train_splits: Sequence[Split]
    val_split: Split
    stream: Stream | None
    classifier: Classifier
    trial: Trial
    fabric: Fabric
    device: torch.device
    init: Init | None
    progress: ProgressFile
    simulated: Simulated
    parts: TrainingParts = CORE_PARTS

    @property
    def chance_loss(self) -> float | None:
        """Training loss of a network that has learned nothing; None where it is not known, as of a plugin's loss."""
        return None if self.settings.loss else self.task.chance_loss(self.train_split.class_counts)

    @property
    def train_split(self) -> Split:
        """Training split of the last phase, whose images are closest to those of the test, with noise."""
        split = self.train_splits[-1]
        return Exposed.of(split) if self.settings.new_noise else split


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Outcome of a training, beside the weights in its classifier.

    Args:
        history: An entry for each epoch, also of earlier sessions.
        epoch: Whose weights were chosen, counted from 1.
        val_data: The validation images on the device.
        resident: Whether the training images were held on the device.
        own: Outcome of the fit of a network that fits itself.
    """

    history: list[Epoch]
    epoch: int
    val_data: Batches
    resident: bool
    own: OwnFit | None = None

    @property
    def kept(self) -> Epoch:
        """The chosen epoch."""
        return self.history[self.epoch - 1]

    @property
    def val_auc(self) -> float:
        """Macro validation AUC of the chosen epoch; NaN in tasks that have none."""
        return self.kept.selects("val_auc")


def prepare(
    host: Host,
    cell: Cell,
    run_dir: Path,
    *,
    device: torch.device,
    images: Path | None = None,
    team: Team = ALONE,
) -> Prepared:
    """Build a cell's network and open its training and validation images, which are simulated if need be.

    Args:
        host: The plugins.
        cell: Cell to train.
        run_dir: A folder of the cell's own, three levels below a store; progress is written there.
        device: Device of the training; in a team, its type.
        images: Folder of simulated images; default: the cache, which is filled.
        team: The processes that train together, of which this is the first.

    Raises:
        ZooError: The network cannot be built, or the images cannot be obtained or used.
    """
    progress = ProgressFile(run_dir / store.PROGRESS)
    simulated = Simulated()

    def simulating(split: str, done: int, total: int) -> None:
        progress.report(f"simulate {split}", done, total)
        simulated.images += total if done == total else 0

    clock = time.perf_counter()
    settings = TrainingSettings(**cell.training)
    # Before anything is rendered: it sets how float32 is computed, on which compiled code depends.
    fabric = make_fabric(device, cell.precision, team)
    device = fabric.device if team.size > 1 else device
    check_unchanged(host, cell, images=images)
    dataset = registry.find(host, DatasetSpec, cell.data)
    task = task_of_cell(host, dataset, cell.task)
    reading = reading_reported(lambda done, total: progress.report("read images", done, total))
    with faults_of(dataset, cell), reading:
        data = Dataset(
            host, cell.recipe, cell.sizes, folder=images, question=taught(task, settings), train_seed=cell.train_seed,
            new_noise=settings.new_noise, progress=simulating,
        )  # fmt: skip
    with faults_of(dataset, cell):
        phases = open_phases(host, cell, data, folder=images, progress=simulating)
    # The network first: hyper-parameters that cannot be built should not cost a simulation.
    seed_all(cell.seed)
    classifier = build_classifier(
        host, cell.model, cell.hparams, image_shape=data.image_shape, num_classes=task.outputs
    )
    check_trainable(classifier.network, cell, task)
    parts = CORE_PARTS if cell.fits_itself else open_parts(host, settings, classifier.network, model=cell.model)
    stream = open_stream(phases, cell, device=device) if settings.stream else None
    # Before anything is rendered, and before the test split is opened: a training that cannot be scored is wasted.
    with faults_of(dataset, cell):
        for phase in [] if settings.stream else phases:
            phase.check("train")
        for name in ("val", "test"):
            data.check(name)
        # Of a stream, the first images stand for all where all would be looked at. The images of all phases are
        # complete before the first one begins.
        train_splits = [phase.split("train") for phase in phases] if stream is None else [stream.first()]
        train_split = train_splits[-1]
        val_split = data.split("val")
    simulated.seconds += time.perf_counter() - clock
    if team.size > 1:
        fabric.barrier()  # the others read what has been made
    mean, std = (torch.as_tensor(values) for values in normalisation(train_split, data=cell.data))
    if not cell.fits_itself:  # such a network sees the images as they are, in its fit and afterwards
        classifier.normalise(mean=mean, std=std)
    init = None
    if settings.init:
        init = start_from(
            host, classifier, cell=cell, image_shape=train_split.image_shape, classes=train_split.classes,
            outputs=task.outputs, store=run_dir.parents[2],
        )  # fmt: skip
    classifier.to(device)
    two_images = torch.from_numpy(train_split.first(2)).to(device)
    trial = try_classifier(
        host, classifier, two_images, model=cell.model, hparams=cell.hparams, classes=task.outputs,
        precision=cell.precision,
        labels=task.question.allowed if task.question.trained_on and not task.question.targets else (),
    )  # fmt: skip
    task = in_units(classifier, task, train_split, cell)
    train_splits = learn_auxiliary(classifier, train_splits, settings, outputs=task.outputs, seed=cell.seed)
    if trial.refuses_single and team.size == 1 and min(settings.batch_size, data.sizes["train"], len(train_split)) == 1:
        raise TrainingError(
            f"{cell.model} cannot be trained on batches of one image: {trial.refuses_single}",
            hint="Try: --set batch_size=32, and at least two training images",
        )
    return Prepared(
        spec=registry.find(host, ModelSpec, cell.model),
        task=task,
        settings=settings,
        data=data,
        train_splits=train_splits,
        val_split=val_split,
        stream=stream,
        classifier=classifier,
        trial=trial,
        fabric=fabric,
        device=device,
        init=init,
        progress=progress,
        simulated=simulated,
        parts=parts,
    )


def fit(prepared: Prepared, cell: Cell, run_dir: Path, *, epoch_ended: EpochReport) -> Fitted:
    """Train, or go on from the checkpoint in `run_dir`; leaves the chosen weights in the classifier.

    Args:
        prepared: Used up: its classifier is trained in place.
        cell: The one that it was prepared from.
        run_dir: Folder of the checkpoints; a network that fits itself writes none, so an interrupted fit starts again.
        epoch_ended: Function called with the epoch's entry of the history, after its checkpoint. An exception in it
            ends the training and is passed on.

    Raises:
        TrainingError: The loss is not finite; the error names the epoch.
    """
    settings, stream, progress = prepared.settings, prepared.stream, prepared.progress
    val_data = Batches(prepared.val_split, device=prepared.device)
    if cell.fits_itself:
        own = fit_prepared(prepared, cell, val_data)
        epoch_ended(own.entry)
        return Fitted(history=[own.entry], epoch=1, val_data=val_data, resident=own.resident, own=own)
    history: list[Epoch] = []
    note: str | None = None

    def remember(so_far: list[Epoch]) -> None:
        nonlocal note
        history.append(so_far[-1])
        epochs = epochs_at_chance(
            so_far, chance=prepared.chance_loss, phases=len(cell.phases), in_units=bool(prepared.task.targets)
        )
        note = None
        if epochs:
            last = so_far[-1].phase == len(cell.phases)
            note = describe_plateau(cell, prepared.data.spec, epochs=epochs, in_last_phase=last)
        epoch_ended(so_far[-1])

    def step_ended(epoch: int, step: int, steps: int) -> None:
        progress.report(
            "train",
            (epoch - 1) * steps + step,
            settings.epochs * steps,
            epoch=epoch,
            epochs=settings.epochs,
            train_loss=history[-1].train_loss if history else None,
            val_auc=history[-1].val_auc if history else None,
            val_loss=history[-1].val_loss if history and history[-1].val_auc is None else None,
            streamed_per_second=None if stream is None else stream.made / stream.seconds,
            waited_share=None if stream is None else waited_share(history),
            images=images_of(cell, epoch),
            note=note,
        )

    train_data = stream or training_batches(prepared.train_splits, cell, device=prepared.device)
    weights, full_history, chosen_epoch = Training(
        prepared.classifier,
        train_data,
        val_data,
        settings,
        task=prepared.task,
        seed=cell.seed,
        rule=cell.rule,
        fabric=prepared.fabric,
        run_dir=run_dir,
        least_images=2 if prepared.trial.refuses_single else 1,
        epoch_ended=remember,
        step_ended=step_ended,
        phases=cell.phases,
        cuda_graphs=prepared.spec.cuda_graphs,
        parts=prepared.parts,
    ).run()
    forget_auxiliary(prepared.classifier, weights)
    prepared.classifier.load_state_dict(weights)
    prepared.classifier.to(prepared.device).eval()
    return Fitted(history=full_history, epoch=chosen_epoch, val_data=val_data, resident=train_data.resident)
