"""Write the events of a run: one file for each time that the run is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from zoo.results.store import result_from
from zoo_tensorboard import pictures

if TYPE_CHECKING:
    from collections.abc import Mapping

SCALARS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "val_auc": "validation/auc",
    "val_score": "validation/score",
    "val_accuracy": "validation/accuracy",
    "lr": "training/learning_rate",
    "train_images_per_second": "training/images_per_second",
}
"""Entry of history.jsonl -> tag."""

# Each event is a separate call of a hook, so the open file is stored here between events.
_open: dict[Path, SummaryWriter] = {}


def start(cell: Mapping[str, Any], run_dir: Path, folder: Path) -> None:
    """Open a file and write the cell as text.

    A run that starts from the beginning, for example with `--force`, removes the files of an earlier one. A run that
    resumes from its checkpoint adds a file, and TensorBoard joins them.
    """
    from zoo.train.checkpoint import CHECKPOINT

    if not (run_dir / CHECKPOINT).exists():
        for earlier in folder.glob("events.out.tfevents.*"):
            earlier.unlink()
    _open[folder] = SummaryWriter(str(folder))
    text = json.dumps(dict(cell), indent=2, sort_keys=True)
    _open[folder].add_text("cell", "".join(f"    {line}\n" for line in text.splitlines()))
    _open[folder].flush()


def add_epoch(folder: Path, epoch: int, metrics: Mapping[str, float]) -> None:
    """Write the scalars of an epoch, and flush the file so that TensorBoard shows them at once."""
    writer = _open[folder]
    for name, tag in SCALARS.items():
        if name in metrics:
            writer.add_scalar(tag, metrics[name], epoch)
    writer.flush()


def finish(run_dir: Path, folder: Path, content: Mapping[str, Any]) -> None:
    """Write the scores and the pictures of a successful run, and close the file."""
    result = result_from(content, run_dir=run_dir)
    with _open.pop(folder) as writer:
        if result.status != "ok":
            writer.add_text("failed", f"{result.status}: {result.error}")
            return
        epoch = 0 if result.val is None else result.val.epoch
        for tag, value in _scores(content["test"]).items():
            writer.add_scalar(tag, value, epoch)
        for tag, picture in pictures.draw(result):
            writer.add_image(tag, np.asarray(picture), epoch, dataformats="HWC")


def _scores(test: Mapping[str, Any]) -> dict[str, float]:
    """Return tag -> score of the test split: areas and accuracy of classification, all measures of other tasks."""
    if "measures" in test:
        return {f"test/{name}": one["value"] for name, one in test["measures"].items()}
    return {f"test/auc/{name}": area for name, area in test["auc"].items()} | {"test/accuracy": test["accuracy"]}
