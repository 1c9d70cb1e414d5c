"""Write the events of runs for TensorBoard if the variable ZOO_TENSORBOARD is set."""

import os
from pathlib import Path
from typing import Any

from zoo.hookspecs import hookimpl
from zoo.paths import user_path

SWITCH = "ZOO_TENSORBOARD"


@hookimpl
def zoo_run_started(cell: dict[str, Any], run_dir: Path) -> None:
    """Write the cell of the run."""
    if folder := event_folder(run_dir):
        from zoo_tensorboard import events

        events.start(cell, run_dir, folder)


@hookimpl
def zoo_epoch_ended(run_dir: Path, epoch: int, metrics: dict[str, float]) -> None:
    """Write the scalars of the epoch."""
    if folder := event_folder(run_dir):
        from zoo_tensorboard import events

        events.add_epoch(folder, epoch, metrics)


@hookimpl
def zoo_run_finished(run_dir: Path, result: dict[str, Any]) -> None:
    """Write the scores and pictures."""
    if folder := event_folder(run_dir):
        from zoo_tensorboard import events

        events.finish(run_dir, folder, result)


def event_folder(run_dir: Path) -> Path | None:
    """Return the folder for the events of a run, or None if ZOO_TENSORBOARD is not set.

    Args:
        run_dir: Folder of the run, STORE/DATA/MODEL/RUN_ID. The events are in DATA/MODEL/RUN_ID of the folder that
            ZOO_TENSORBOARD names; 1 stands for STORE/tensorboard.
    """
    chosen = os.environ.get(SWITCH, "")
    if chosen in ("", "0"):
        return None
    *_, data, model, run_id = run_dir.parts
    root = run_dir.parents[2] / "tensorboard" if chosen == "1" else user_path(chosen)
    return root / data / model / run_id
