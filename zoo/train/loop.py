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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from zoo.data.loader import Batches, TrainingData
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
from zoo.train.random_states import random_states, seed_all, set_random_states
from zoo.train.schedule import learning_rate_factor
from zoo.train.team import check_batch
from zoo.train.validation import predict, validate

EpochReport = Callable[[Epoch], None]
HistoryReport = Callable[[list[Epoch]], None]
StepReport = Callable[[int, int, int], None]


@dataclass(kw_only=True)
class _EpochInHand:
    """The epoch that is being trained.

    Args:
        number: Its number, counted from 1.
        started: Start of this session's part of it, by `time.perf_counter`.
        position: How far it has come.
        loss_sum: Sum of the losses of its steps.
        transform: Generator of the augmentation.
        batches: Images and labels of the steps that are left.
        recent: Logits of the steps since the last check.
        train_seconds: Time of all its steps; None until they are done.
    """

    number: int
    started: float
    position: Position
    loss_sum: Tensor
    transform: torch.Generator
    batches: Iterator[tuple[Tensor, Tensor]]
    recent: list[Tensor] = field(default_factory=list)
    train_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """Time of all sessions that it was trained in."""
        return self.position.seconds + time.perf_counter() - self.started


class Training:
    """The training of a network, from the checkpoint in `run_dir` where there is one.

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

    Raises:
        UsageError: There are more processes than images in a batch.
    """

    def __init__(
        self,
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
    ) -> None:
        self.classifier, self.train_data, self.val_data, self.settings = classifier, train_data, val_data, settings
        self.task, self.seed, self.rule, self.fabric, self.phases, self.parts = task, seed, rule, fabric, phases, parts
        self.least_images, self.epoch_ended, self.step_ended = least_images, epoch_ended, step_ended
        self.average = MovingAverage(classifier, decay=settings.ema)
        self.optimizers = make_optimizers(classifier, settings, fabric=fabric, device=train_data.device, parts=parts)
        self.rates = Rates(self.optimizers)
        self.module, *self.fabric_optimizers = fabric.setup(classifier, *self.optimizers)
        self.alone = fabric.world_size == 1
        forward: Callable[..., Tensor] = self.module
        if cuda_graphs and self.alone and train_data.device.type == "cuda" and not has_loss(classifier.network):
            # A captured pass leaves its gradients in one place, where those of further micro-batches cannot be added.
            forward = GraphedForward(
                self.module, classifier, fabric, allowed=lambda: train_data.resident and self.state.micro_batches == 1
            )
        self.objectives = make_objectives(
            forward, classifier.network, task, settings,
            turns=len(self.optimizers), parts=parts, auxiliary=classifier.auxiliary,
        )  # fmt: skip
        self.batch_size = min(settings.batch_size, len(train_data))
        self.steps = len(train_data) // self.batch_size
        check_batch(fabric.world_size, self.batch_size)
        self.part = BatchPart.of_process(fabric.global_rank, processes=fabric.world_size, whole=self.batch_size)
        self.checkpoint = run_dir / CHECKPOINT
        self.state, self.best = TrainingState(), self.average.module.state_dict()
        weights = weights_of(classifier, self.average)
        found = read_checkpoint(self.checkpoint, weights) if fabric.is_global_zero else None
        # By the first process to all, which may be on a machine that does not see the file.
        found = fabric.broadcast(found)
        self.within = tensors_within(found)
        if found is not None:
            self.state, self.best = take_checkpoint(found, classifier, self.average, self.optimizers)
        # A single process goes on after the step in hand, several of them after their last complete epoch.
        self.whole_steps = stop_deferred if self.alone else contextlib.nullcontext

    def run(self) -> tuple[dict[str, Tensor], list[Epoch], int]:
        """Train all epochs that are left.

        Returns:
            The chosen weights, the history (one entry an epoch), and the chosen epoch, counted from 1. The weights are
            the first process's to use: the others keep neither the average nor the best.

        Raises:
            Interrupted: A stop was requested; the checkpoint holds all complete steps.
            TrainingError: The loss or a validation logit is not finite; the error names the epoch and the image.
        """
        while self.state.epoch < self.settings.epochs and not self._exhausted():
            epoch = self._begin()
            try:
                for number in range(epoch.position.step + 1, self.steps + 1):
                    with self.whole_steps():
                        self._step(epoch, number)
                entry = self._validated(epoch)
            except Interrupted:
                if self.alone:
                    self._keep(epoch)
                raise
            with self.whole_steps():
                self._end(entry)
        if self.rule != "last":
            return self.best, self.state.history, self.state.best_epoch
        return self.average.module.state_dict(), self.state.history, self.state.epoch

    def _exhausted(self) -> bool:
        """Whether the last phase has gone on for too long without a better epoch; no earlier phase ends a training."""
        patience, before = self.settings.patience, sum(phase.epochs for phase in self.phases[:-1])
        return bool(patience) and self.state.epoch - max(self.state.best_epoch, before) >= patience

    def _begin(self) -> _EpochInHand:
        """Return the next epoch, or the one in which the training was stopped."""
        started, number, rank = time.perf_counter(), self.state.epoch + 1, self.fabric.global_rank
        own = f"/{rank}" if rank else ""
        seed_all(stable_hash(f"{self.seed}/{number}/dropout{own}") >> 1)
        transform = torch.Generator().manual_seed(stable_hash(f"{self.seed}/{number}/augment") >> 1)
        self.module.train()
        loss_sum = torch.zeros((), device=self.train_data.device)
        position, self.state.position = self.state.position or Position(), None
        if self.within:
            loss_sum += self.within.pop("loss_sum").to(loss_sum.device)
            if self.alone:
                set_random_states(self.within, self.train_data.device, transform)
            else:  # one process wrote the others: with them, every process would draw the same dropout
                transform.set_state(self.within["transform"])
            self.within = {}
        batches = self.train_data.epoch(
            number, self.batch_size, shuffle=self._order(number), part=self.part, skip=position.step
        )
        return _EpochInHand(
            number=number,
            started=started,
            position=position,
            loss_sum=loss_sum,
            transform=transform,
            batches=batches,
        )

    def _order(self, epoch: int) -> torch.Generator:
        """Return the generator of the order of an epoch's images."""
        return torch.Generator().manual_seed(stable_hash(f"{self.seed}/{epoch}/order") >> 1)

    def _step(self, epoch: _EpochInHand, number: int) -> None:
        """Train on the next batch."""
        settings, state, position = self.settings, self.state, epoch.position
        before = time.perf_counter()
        images, labels = next(epoch.batches)
        position.waited_seconds += time.perf_counter() - before
        all_steps = self.steps * settings.epochs
        position.rate = self.rates.set(learning_rate_factor(state.step, all_steps, settings.schedule))
        images = self.parts.augmented(images, settings.augment, generator=epoch.transform, part=self.part)
        for optimizer, objective in zip(self.fabric_optimizers, self.objectives, strict=True):
            loss, logits, state.micro_batches = accumulate(
                self.module,
                objective,
                images,
                labels,
                fraction=len(self.part) / self.batch_size,
                fabric=self.fabric,
                micro_batches=state.micro_batches,
                least_images=self.least_images,
            )
            if settings.clip:
                self.fabric.clip_gradients(self.module, optimizer, max_norm=settings.clip, error_if_nonfinite=False)
            optimizer.step()
            self.module.zero_grad()
            epoch.loss_sum += loss
            epoch.recent += [] if logits is None else [logits]
        state.step += 1
        position.step = number
        if self.fabric.is_global_zero:
            self.average.update(self.classifier, step=state.step)
        if number % 10 == 0 or number == self.steps:
            self._check(epoch)

    def _check(self, epoch: _EpochInHand) -> None:
        """Refuse a loss that is not finite, and report the step."""

        def image(step: int, row: int) -> str:
            position = (step - 1) * self.batch_size + self.part.start + row
            return self.train_data.image_at(epoch.number, position, shuffle=self._order(epoch.number))

        # All processes see the same sum, and so all of them stop.
        check_finite(self._mean(epoch.loss_sum), epoch.recent, epoch.number, epoch.position.step, image=image)
        epoch.recent.clear()
        if self.fabric.is_global_zero:
            self.step_ended(epoch.number, epoch.position.step, self.steps)

    def _validated(self, epoch: _EpochInHand) -> Epoch | None:
        """Return the entry of the history, in the first process."""
        train_seconds = epoch.train_seconds = epoch.seconds
        train_loss = float(self._mean(epoch.loss_sum)) / self.steps
        if not self.fabric.is_global_zero:
            return None
        assert self.val_data is not None
        when, network = f"Validation images after epoch {epoch.number}", self.average.module
        try:
            logits, labels = predict(network, self.val_data, when=when)
            found = validate(network, self.val_data, self.task, logits, labels, when=when)
        finally:
            network.train()  # its tensors are those of the classifier again, also in a checkpoint of an interruption
        return Epoch(
            epoch=epoch.number,
            train_loss=train_loss,
            lr=epoch.position.rate,
            **found,
            train_seconds=train_seconds,
            waited_seconds=epoch.position.waited_seconds,
            train_images_per_second=self.steps * self.batch_size / train_seconds,
            micro_batches=self.state.micro_batches,
            seconds=epoch.seconds,
            phase=phase_number(self.phases, epoch.number),
        )

    def _end(self, entry: Epoch | None) -> None:
        """Keep the history, the best weights and a checkpoint of a complete epoch."""
        entry = self.fabric.broadcast(entry)
        assert entry is not None
        state, watched = self.state, self.rule if self.rule != "last" else self.task.rules[0]
        state.history.append(entry)
        state.epoch = entry.epoch
        if state.best_epoch == 0 or entry.rank(watched) > state.history[state.best_epoch - 1].rank(watched):
            state.best_epoch = entry.epoch
            self.best = {name: value.detach().cpu().clone() for name, value in self.average.module.state_dict().items()}
        if self.fabric.is_global_zero:
            self._write()
            self.epoch_ended(state.history)

    def _keep(self, epoch: _EpochInHand) -> None:
        """Write a checkpoint within an epoch."""
        epoch.position.seconds = epoch.seconds if epoch.train_seconds is None else epoch.train_seconds
        self.state.position = epoch.position
        with stop_deferred():  # a second signal
            self._write({"loss_sum": epoch.loss_sum, **random_states(self.train_data.device, epoch.transform)})

    def _write(self, within: Mapping[str, Tensor] | None = None) -> None:
        write_checkpoint(
            self.checkpoint, self.state, self.classifier, self.average, self.optimizers, self.best, within=within
        )

    def _mean(self, value: Tensor) -> Tensor:
        """Return the mean of a number over the processes."""
        return torch.as_tensor(self.fabric.all_reduce(value.clone(), reduce_op="mean"))


def waited_share(history: list[Epoch]) -> float:
    """Return the share of the time of training in which the network waited for images."""
    trained = sum(entry.train_seconds for entry in history)
    return sum(entry.waited_seconds for entry in history) / trained if trained else 0.0
