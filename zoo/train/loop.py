"""Trains a classifier on the train split and picks its weights on the validation split. No test data come here.

Every epoch ends with a checkpoint from which training goes on to the same result bit by bit: order, augmentation
and dropout of an epoch are seeded by (seed, epoch), and the learning rate is a function of the step. A process that is
stopped (`zoo.stopping`) writes one after the step in hand, which holds the states of the random generators as well.

Several processes may train one network: each takes its part of every batch, with the order and augmentation that
a single process would use, and the gradient is that of the whole batch. The first one alone validates and keeps files.
Stopped, they go on from their last complete epoch: no two of them may be at the same step.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor

from zoo.data.loader import Batches
from zoo.data.part import BatchPart
from zoo.data.phases import Phase, phase_number
from zoo.errors import Interrupted
from zoo.lensing.draws import stable_hash
from zoo.models.classifier import Classifier
from zoo.models.own_training import has_loss
from zoo.plan.settings import TrainingSettings
from zoo.results.cell import Rule
from zoo.results.schema import Epoch
from zoo.stopping import stop_deferred
from zoo.tasks.task import Task
from zoo.train.accumulate import accumulate, check_finite, make_objectives
from zoo.train.average import MovingAverage
from zoo.train.checkpoint import (
    CHECKPOINT,
    Position,
    TrainingState,
    read_checkpoint,
    take_checkpoint,
    tensors_within,
    weights_of,
    write_checkpoint,
)
from zoo.train.cuda_graphs import GraphedForward
from zoo.train.optimizers import Rates, make_optimizers
from zoo.train.parts import CORE_PARTS, TrainingParts
from zoo.train.random_states import random_states, set_random_states
from zoo.train.schedule import learning_rate_factor
from zoo.train.team import check_batch
from zoo.train.validation import predict, validate

EpochReport = Callable[[Epoch], None]
HistoryReport = Callable[[list[Epoch]], None]
StepReport = Callable[[int, int, int], None]


class TrainingData(Protocol):
    """Images to train on: those of a split, or a stream of new ones."""

    device: torch.device

    @property
    def resident(self) -> bool:
        """Whether the images are held on the device, so that no thread fetches or renders them."""
        ...

    def __len__(self) -> int:
        """The images of an epoch."""
        ...

    def epoch(
        self,
        number: int,
        batch_size: int,
        *,
        shuffle: torch.Generator | None = None,
        part: BatchPart | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of an epoch, counted from 1, in full batches, or a part of each; skip the first."""
        ...

    def image_at(self, number: int, position: int, *, shuffle: torch.Generator) -> str:
        """Return the name of an image by its position in an epoch."""
        ...


def train(
    classifier: Classifier,
    train_data: TrainingData,
    val_data: Batches | None,
    settings: TrainingSettings,
    *,
    task: Task,
    seed: int,
    rule: Rule,
    fabric: Fabric,
    run_dir: Path,
    least_images: int,
    epoch_ended: HistoryReport,
    step_ended: StepReport,
    phases: Sequence[Phase] = (),
    cuda_graphs: bool = False,
    parts: TrainingParts = CORE_PARTS,
) -> tuple[dict[str, Tensor], list[Epoch], int]:
    """Train, or go on from the checkpoint in `run_dir`.

    Args:
        classifier: Freshly built from `seed`, on the device.
        train_data, val_data: Images on the same device; only the first process needs `val_data`.
        settings: Settings of the training.
        task: Task: the loss of networks that bring none, and the scores of the validation images.
        seed: Seed for order, augmentation and dropout.
        rule: "last" keeps the last epoch, the others the best one, by `Epoch.rank`; see `zoo.tasks.task.Task`.
        fabric: Precision, device, and which process of how many this is.
        run_dir: Folder of the checkpoints.
        least_images: Smallest number of images that the network can be trained on.
        epoch_ended: Function called with the history up to the epoch, also of earlier sessions, in the first process.
        step_ended: Function called with epoch, step of the epoch and steps in an epoch, in the first process.
        phases: Phases of the training, for its history.
        cuda_graphs: Whether the network may be replayed as CUDA graphs (`ModelSpec.cuda_graphs`).
        parts: Augmentation, loss and optimiser of plugins.

    Returns:
        The chosen weights, the history (one entry an epoch), and the chosen epoch, counted from 1. The weights are
        the first process's to use: the others keep neither the average nor the best.

    Raises:
        Interrupted: A stop was requested; the checkpoint holds all complete steps.
        TrainingError: The loss or a validation logit is not finite; the error names the epoch and the image.
        UsageError: There are more processes than images in a batch.
    """
    average = MovingAverage(classifier, decay=settings.ema)
    optimizers = make_optimizers(classifier, settings, fabric=fabric, device=train_data.device, parts=parts)
    rates = Rates(optimizers)
    module, *fabric_optimizers = fabric.setup(classifier, *optimizers)
    forward: Callable[..., Tensor] = module
    if cuda_graphs and fabric.world_size == 1 and train_data.device.type == "cuda" and not has_loss(classifier.network):
        forward = GraphedForward(module, classifier, fabric, allowed=lambda: train_data.resident)
    objectives = make_objectives(
        forward, classifier.network, task, settings, turns=len(optimizers), parts=parts, auxiliary=classifier.auxiliary
    )
    batch_size = min(settings.batch_size, len(train_data))
    steps = len(train_data) // batch_size
    check_batch(fabric.world_size, batch_size)
    part = BatchPart.of_process(fabric.global_rank, processes=fabric.world_size, whole=batch_size)
    state, best = TrainingState(), average.module.state_dict()
    checkpoint = (
        read_checkpoint(run_dir / CHECKPOINT, weights_of(classifier, average)) if fabric.is_global_zero else None
    )
    # By the first process to all, which may be on a machine that does not see the file.
    checkpoint = fabric.broadcast(checkpoint)
    within = tensors_within(checkpoint)
    if checkpoint is not None:
        state, best = take_checkpoint(checkpoint, classifier, average, optimizers)
    history = state.history
    whole_steps = stop_deferred if fabric.world_size == 1 else contextlib.nullcontext
    watched = rule if rule != "last" else task.rules[0]

    while state.epoch < settings.epochs and not _exhausted(state, settings):
        started = time.perf_counter()
        epoch = state.epoch + 1
        own = f"/{fabric.global_rank}" if fabric.global_rank else ""
        torch.manual_seed(stable_hash(f"{seed}/{epoch}/dropout{own}") >> 1)
        shuffle = torch.Generator().manual_seed(stable_hash(f"{seed}/{epoch}/order") >> 1)
        transform = torch.Generator().manual_seed(stable_hash(f"{seed}/{epoch}/augment") >> 1)
        module.train()
        loss_sum = torch.zeros((), device=train_data.device)
        position = state.position or Position()
        state.position = None
        if within:  # the epoch in which the training was stopped
            loss_sum += within.pop("loss_sum").to(loss_sum.device)
            set_random_states(within, train_data.device, transform)
            within = {}
        batches = train_data.epoch(epoch, batch_size, shuffle=shuffle, part=part, skip=position.step)
        recent: list[Tensor] = []  # logits of the steps since the last check

        def image(step: int, row: int, epoch: int = epoch) -> str:
            order = torch.Generator().manual_seed(stable_hash(f"{seed}/{epoch}/order") >> 1)
            return train_data.image_at(epoch, (step - 1) * batch_size + part.start + row, shuffle=order)

        try:
            for number in range(position.step + 1, steps + 1):
                with whole_steps():
                    before = time.perf_counter()
                    images, labels = next(batches)
                    position.waited_seconds += time.perf_counter() - before
                    position.rate = rates.set(
                        learning_rate_factor(state.step, steps * settings.epochs, settings.schedule)
                    )
                    images = parts.augmented(images, settings.augment, generator=transform, part=part)
                    for optimizer, objective in zip(fabric_optimizers, objectives, strict=True):
                        loss, logits, state.micro_batches = accumulate(
                            module,
                            objective,
                            images,
                            labels,
                            fraction=len(part) / batch_size,
                            fabric=fabric,
                            micro_batches=state.micro_batches,
                            least_images=least_images,
                        )
                        if settings.clip:
                            fabric.clip_gradients(module, optimizer, max_norm=settings.clip, error_if_nonfinite=False)
                        optimizer.step()
                        module.zero_grad()
                        loss_sum += loss
                        recent += [] if logits is None else [logits]
                    state.step += 1
                    position.step = number
                    if fabric.is_global_zero:
                        average.update(classifier, step=state.step)
                    if number % 10 == 0 or number == steps:
                        # All processes see the same sum, and so all of them stop.
                        check_finite(_mean(loss_sum, fabric), recent, epoch, number, image=image)
                        recent.clear()
                        if fabric.is_global_zero:
                            step_ended(epoch, number, steps)
            train_seconds = position.seconds + time.perf_counter() - started
            train_loss = float(_mean(loss_sum, fabric)) / steps
            entry: Epoch | None = None
            if fabric.is_global_zero:
                assert val_data is not None
                when = f"Validation images after epoch {epoch}"
                logits, labels = predict(average.module, val_data, when=when)
                found = validate(average.module, val_data, task, logits, labels, when=when)
                average.module.train()  # its tensors are those of the classifier again
                entry = Epoch(
                    epoch=epoch,
                    train_loss=train_loss,
                    lr=position.rate,
                    **found,
                    train_seconds=train_seconds,
                    waited_seconds=position.waited_seconds,
                    train_images_per_second=steps * batch_size / train_seconds,
                    micro_batches=state.micro_batches,
                    seconds=position.seconds + time.perf_counter() - started,
                    phase=phase_number(phases, epoch),
                )
        except Interrupted:
            if fabric.world_size == 1:
                position.seconds += time.perf_counter() - started
                state.position = position
                now = {"loss_sum": loss_sum, **random_states(train_data.device, transform)}
                with stop_deferred():  # a second signal
                    write_checkpoint(run_dir / CHECKPOINT, state, classifier, average, optimizers, best, within=now)
            raise
        with whole_steps():
            entry = fabric.broadcast(entry)
            assert entry is not None
            history.append(entry)
            state.epoch = epoch
            if state.best_epoch == 0 or entry.rank(watched) > history[state.best_epoch - 1].rank(watched):
                state.best_epoch = epoch
                best = {name: tensor.detach().cpu().clone() for name, tensor in average.module.state_dict().items()}
            if fabric.is_global_zero:
                write_checkpoint(run_dir / CHECKPOINT, state, classifier, average, optimizers, best)
                epoch_ended(history)

    if rule != "last":
        return best, history, state.best_epoch
    return average.module.state_dict(), history, state.epoch


def waited_share(history: list[Epoch]) -> float:
    """Return the share of the time of training in which the network waited for images."""
    trained = sum(entry.train_seconds for entry in history)
    return sum(entry.waited_seconds for entry in history) / trained if trained else 0.0


def _exhausted(state: TrainingState, settings: TrainingSettings) -> bool:
    return bool(settings.patience) and state.epoch - state.best_epoch >= settings.patience


def _mean(value: Tensor, fabric: Fabric) -> Tensor:
    """Return the mean of a number over the processes."""
    return torch.as_tensor(fabric.all_reduce(value.clone(), reduce_op="mean"))
