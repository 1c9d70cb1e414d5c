"""Measure the overhead of a training epoch over the network's forward and backward passes and the optimiser's steps.

`zoo.train.loop.train` trains a network on images that stay on the device. After each of its epochs a bare loop takes
the same number of steps of the same network with the same optimiser and batch size over random tensors; so a busy
machine slows both. In every other epoch of `train`, each part waits for the device and is timed; the ratio comes from
the other epochs.

    uv run python benchmarks/harness.py [--model z2,p4m] [--image-size 64,150] [--batch 256] [--device cuda] [--json]

On the CPU one thread computes and the CPU time of the process is measured; on a GPU wall time is measured. The
precision is that of `--precision auto`. The target is a training epoch of at most 1.15 times the bare loop. Validation,
with a ninth of the images as in the paper budget, and the checkpoint are measured separately.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from zoo import create_model
from zoo.data.loader import Batches
from zoo.data.split import Split
from zoo.devices import Precision, resolve_device, resolve_precision
from zoo.models.classifier import Classifier
from zoo.plan.settings import TrainingSettings
from zoo.plurals import counted
from zoo.results.tasks import stored_question
from zoo.tasks.find import task_of_question
from zoo.train import loop as training
from zoo.train.average import MovingAverage
from zoo.train.fabric import make_fabric
from zoo.train.parts import TrainingParts

PARTS = ("loader", "augmentation", "clipping", "moving average", "progress")


class Stopwatch:
    """Add up the seconds of named parts while it is switched on.

    Args:
        device: Device to wait for.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.on = device, False
        self.seconds: dict[str, float] = {}

    def now(self) -> float:
        """Return seconds: CPU time on the CPU, wall time after the device has finished on a GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def timed(self, name: str, function: Callable[..., Any], *, always: bool = False) -> Callable[..., Any]:
        """Return a timed version of a function; with `always` it is timed even while the watch is off."""

        def wrapper(*args: Any, **options: Any) -> Any:
            if not (self.on or always):
                return function(*args, **options)
            started = self.now()
            try:
                return function(*args, **options)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - started

        return wrapper


class WatchedBatches(Batches):
    """Batches with timed loading."""

    watch: Stopwatch

    def epoch(self, *args: Any, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches."""
        batches = super().epoch(*args, **options)
        following = self.watch.timed("loader", lambda: next(batches, None))
        while (batch := following()) is not None:
            yield batch


def bare_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, steps: int, fabric: Fabric
) -> None:
    """Take steps on the same random batch: forward, backward, optimiser."""
    network.train()
    for _ in range(steps):
        with fabric.autocast():
            logits = network(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()


def random_split(count: int, image_size: int) -> Split:
    """Return images of noise."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((count, 1, image_size, image_size), np.float32)
    return Split(
        name="train", classes=("a", "b", "c"), chunks=[images], labels=np.arange(count) % 3,
        ids=[str(i) for i in range(count)],
    )  # fmt: skip


def measure(
    model: str, *, image_size: int, batch: int, steps: int, rounds: int, device: torch.device, precision: Precision
) -> dict[str, Any]:
    """Return the row of one network at one size."""
    fabric = make_fabric(device, precision)
    watch = Stopwatch(device)
    split = random_split(steps * batch, image_size)
    train_data, val_data = WatchedBatches(split, device=device), Batches(
        random_split(max(64, len(split) // 9), image_size), device=device
    )  # fmt: skip
    train_data.watch = watch
    torch.manual_seed(0)
    classifier = Classifier(create_model(model, image_size=image_size), channels=1).to(device)
    network = create_model(model, image_size=image_size).to(device)
    settings = TrainingSettings(epochs=2 * rounds + 2, batch_size=batch)
    with fabric.autocast():
        fused = torch.is_autocast_enabled("cpu") or None  # as in the training loop
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)
    images = torch.randn(batch, 1, image_size, image_size, device=device)
    labels = torch.arange(batch, device=device) % 3

    rows: list[dict[str, float]] = []
    started = 0.0
    trained = 0.0

    def step_ended(epoch: int, step: int, steps: int) -> None:
        nonlocal trained
        if step == steps:
            trained = watch.now()

    def epoch_ended(history: list[Any]) -> None:
        nonlocal started
        ended = watch.now()
        before = watch.now()
        bare_epoch(network, optimizer, images, labels, steps, fabric)
        bare = watch.now() - before
        row = {"train": trained - started, "whole": ended - started, "bare": bare, **watch.seconds}
        if history[-1].epoch > 2:  # the first two are warm-up, one of each kind
            rows.append(row)
        watch.seconds = {}
        watch.on = not watch.on
        started = watch.now()

    watched: dict[str, Any] = {
        "predict": watch.timed("validation", training.predict, always=True),
        "write_checkpoint": watch.timed("checkpoint", training.write_checkpoint, always=True),
    }
    task = task_of_question("", stored_question(("a", "b", "c")))
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.multiple(training, **watched),
        mock.patch.object(TrainingParts, "augmented", watch.timed("augmentation", TrainingParts.augmented)),
        mock.patch.object(MovingAverage, "update", watch.timed("moving average", MovingAverage.update)),
        mock.patch.object(Fabric, "clip_gradients", watch.timed("clipping", Fabric.clip_gradients)),
    ):
        started = watch.now()
        training.Training(
            classifier, train_data, val_data, settings, task=task, seed=0, rule="val_auc", fabric=fabric,
            run_dir=Path(folder), least_images=1, epoch_ended=epoch_ended,
            step_ended=watch.timed("progress", step_ended),
        ).run()  # fmt: skip
    whole, apart = rows[0::2], rows[1::2]
    shares = {
        part: statistics.median(row.get(part, 0.0) / row["bare"] for row in apart if part in row or part in PARTS)
        for part in (*PARTS, "validation", "checkpoint")
    }
    return {
        "model": model,
        "image size": image_size,
        "batch": batch,
        "bare, ms per step": 1e3 * statistics.median(row["bare"] for row in rows) / steps,
        "train / bare": statistics.median(row["train"] / row["bare"] for row in whole),
        "whole epoch / bare": statistics.median(row["whole"] / row["bare"] for row in whole),
        **shares,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="z2,p4m", type=lambda text: text.split(","))
    parser.add_argument("--image-size", default=[64, 150], type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--batch", default=[256], type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--steps", type=int, default=4, help="Set the number of steps per epoch.")
    parser.add_argument("--rounds", type=int, default=5, help="Set the number of epochs of each kind.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", help="Train in auto, fp32, tf32 or bf16.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    device = torch.device(resolve_device(options.device))
    precision = resolve_precision(options.precision, device.type)
    torch.set_num_threads(options.threads)
    rows = [
        measure(
            model,
            image_size=size,
            batch=batch,
            steps=options.steps,
            rounds=options.rounds,
            device=device,
            precision=precision,
        )
        for model in options.model
        for size in options.image_size
        for batch in options.batch
    ]
    if options.json:
        print(json.dumps({"device": str(device), **vars(options), "rows": rows}, indent=2))
        return
    about = counted(options.threads, "thread") if device.type == "cpu" else torch.cuda.get_device_name(device)
    print(f"{device}, {about}; parts are fractions of the bare loop's time\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + " --- |" * 3 + " ---: |" * (len(rows[0]) - 3))
    for row in rows:
        cells = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
