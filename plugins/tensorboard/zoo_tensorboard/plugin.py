"""Listen to runs, if ZOO_TENSORBOARD says so; without it, three looks at the environment are all that happens."""

import os
from pathlib import Path
from typing import Any

from zoo.hookspecs import hookimpl

SWITCH = "ZOO_TENSORBOARD"


@hookimpl
def zoo_run_started(cell: dict[str, Any], run_dir: Path) -> None:
    """Write what the run is."""
    if folder := event_folder(run_dir):
        from zoo_tensorboard import events

        events.start(cell, run_dir, folder)


@hookimpl
def zoo_epoch_ended(run_dir: Path, epoch: int, metrics: dict[str, float]) -> None:
    """Write the epoch's scalars."""
    if folder := event_folder(run_dir):
        from zoo_tensorboard import events

        events.add_epoch(folder, epoch, metrics)


@hookimpl
def zoo_run_finished(run_dir: Path, result: dict[str, Any]) -> None:
    """Write scores and pictures."""
    if folder := event_folder(run_dir):
        from zoo_tensorboard import events

        events.finish(run_dir, folder, result)


def event_folder(run_dir: Path) -> Path | None:
    """Return where the events of a run go, or None where none are wanted.

    Args:
        run_dir: STORE/DATA/MODEL/RUN_ID. The events lie under the same three names, which is what TensorBoard shows,
            in the folder that the switch names; 1 stands for STORE/tensorboard.
    """
    chosen = os.environ.get(SWITCH, "")
    if chosen in ("", "0"):
        return None
    *_, data, model, run_id = run_dir.parts
    root = run_dir.parents[2] / "tensorboard" if chosen == "1" else Path(chosen).expanduser()
    return root / data / model / run_id
