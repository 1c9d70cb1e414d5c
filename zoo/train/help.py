"""Training in the processes of a team that only help the first one, which alone writes a result."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from zoo import registry
from zoo.data.open import Dataset
from zoo.errors import TrainingError, ZooError
from zoo.isolation import contained
from zoo.models.classifier import build_classifier
from zoo.plan.settings import TrainingSettings
from zoo.plan.unchanged import check_unchanged
from zoo.results.cell import Cell
from zoo.specs import DatasetSpec
from zoo.stopping import STOPPED
from zoo.tasks.find import task_of_cell
from zoo.train.answers import in_units, learn_auxiliary, taught
from zoo.train.fabric import make_fabric
from zoo.train.loop import Training
from zoo.train.parts import open_parts
from zoo.train.phases import open_phases, open_stream, training_batches
from zoo.train.team import OWN_ERROR, Team, lost_another

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Helped:
    """How a training ended in a process that only helped the first one, which alone writes a result.

    Args:
        status: "ok" or "failed".
        error: Cause in words, or "".
    """

    status: Literal["ok", "failed"]
    error: str = ""


def help_fit(
    host: Host, cell: Cell, run_dir: Path, *, device: torch.device, images: Path | None = None, team: Team
) -> Helped:
    """Train with the first process of a team, which does everything else by itself; write nothing.

    Args:
        host, cell, run_dir, device, images: Arguments of the first process.
        team: The processes that train together, and this one's place.

    Returns:
        How it ended; "failed" stands for an error that all processes meet.

    Raises:
        SystemExit: An error occurred in one process of a team. The others must not wait for this process. The exit code
            is that of a stopped cell where another process was gone.
    """
    try:
        with contained():  # as in the first process
            fabric = make_fabric(device, cell.precision, team)
            settings = TrainingSettings(**cell.training)
            check_unchanged(host, cell, images=images)
            task = task_of_cell(host, registry.find(host, DatasetSpec, cell.data), cell.task)
            data = Dataset(
                host,
                cell.recipe,
                cell.sizes,
                folder=images,
                question=taught(task, settings),
                train_seed=cell.train_seed,
                new_noise=settings.new_noise,
            )
            fabric.barrier()  # until then the first process makes the images
            if cell.fits_itself:
                return Helped(status="ok")  # the first process fits it alone
            # Its first weights come from the first process as well.
            classifier = build_classifier(
                host, cell.model, cell.hparams, image_shape=data.image_shape, num_classes=task.outputs
            ).to(fabric.device)
            phases = open_phases(host, cell, data, folder=images)
            stream = open_stream(phases, cell, device=fabric.device) if settings.stream else None
            splits = [] if stream else [phase.split("train") for phase in phases]
            if splits:
                task = in_units(classifier, task, splits[-1], cell)
                splits = learn_auxiliary(classifier, splits, settings, outputs=task.outputs, seed=cell.seed)
            Training(
                classifier,
                stream or training_batches(splits, cell, device=fabric.device),
                None,
                settings,
                task=task,
                seed=cell.seed,
                rule=cell.rule,
                fabric=fabric,
                run_dir=run_dir,
                least_images=1,  # a team does not split its batches
                epoch_ended=lambda history: None,
                step_ended=lambda epoch, step, steps: None,
                phases=cell.phases,
                parts=open_parts(host, settings, classifier.network, model=cell.model),
            ).run()
    except TrainingError as error:
        return Helped(status="failed", error=str(error))
    except Exception as error:
        logger.error("process %d: %s", team.rank, error, exc_info=not isinstance(error, ZooError))
        raise SystemExit(STOPPED if lost_another(team, error) else OWN_ERROR) from error
    return Helped(status="ok")
