"""Checks of models by whole small runs of the harness: planned, trained, stored, interrupted, resumed, loaded."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import Interrupted
from zoo.host import Host
from zoo.paths import regular_file
from zoo.specs import CLASSIFY
from zoo.testing.networks import ModelSubject
from zoo.testing.outcome import NotApplicable, named, require
from zoo.testing.symmetries import require_equivariance
from zoo.testing.toys import IMAGES, PAINTER, SKY, SKY_TRUTHS, with_toys

if TYPE_CHECKING:
    from zoo.results.cell import Cell
    from zoo.results.schema import Finished, RunResult

SETTINGS = {"train_images": 72, "val_images": 24, "test_images": 60, "epochs": 2, "batch_size": 24, "augment": "none"}
FURTHEST_FROM_CHANCE = 0.25
"""Largest distance of the macro AUC from 0.5 where labels are random: some five standard deviations of 60 images."""
MOST_SKILL = 0.25
"""Largest CRPS skill where truths are random; that of a network that over-fits is below 0."""


@contextlib.contextmanager
def own_cache() -> Iterator[Path]:
    """Keep images and runs of a block in a folder that is removed at its end."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("ZOO_CACHE")
        os.environ["ZOO_CACHE"] = str(Path(folder) / "cache")
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["ZOO_CACHE"]
            else:
                os.environ["ZOO_CACHE"] = before


@dataclasses.dataclass
class InterruptingHost(Host):
    """Plugins of a run that is interrupted, as by Ctrl-C, when its first epoch has ended."""

    def emit(self, event: str, **arguments: Any) -> None:
        """Pass an event on, or interrupt."""
        if event == "zoo_epoch_ended":
            raise Interrupted
        super().emit(event, **arguments)


def planned(subject: ModelSubject, host: Host) -> Cell:
    """Return the cell of a small run of the model on images whose labels and truths are random."""
    one = subject.cases[0]
    settings: dict[str, Any] = {"data.image_size": one.shape.size}
    if not subject.spec.fits_itself:
        settings["data.planes"] = one.shape.channels
    settings |= {f"model.{name}": value for name, value in one.hparams.items()}
    settings |= {f"model.{name}": list(SKY_TRUTHS) for name in subject.spec.truths}
    return plan_small(
        host,
        model=subject.spec.id,
        # Closed forms and fits may need an instrument, which populations have.
        data=SKY if subject.spec.fits_itself else IMAGES,
        task=one.task.text,
        settings=settings,
        trained=not subject.spec.fits_itself,
        # Not the best epoch, which may be one before the interruption.
        rule="last" if "last" in one.task.rules else "",
    )


def plan_small(
    host: Host,
    *,
    model: str,
    data: str,
    task: str = CLASSIFY,
    settings: Mapping[str, Any] | None = None,
    trained: bool = True,
    rule: str = "",
) -> Cell:
    """Return the cell of a small run.

    Args:
        host: The plugins, with the toys.
        model: Id of the model.
        data: Id of the toy images or of the toy population.
        task: Name of the task, with its option.
        settings: More settings.
        trained: Whether the training loop trains it.
        rule: Rule that selects the epoch whose weights are kept; "" for that of the task.
    """
    from zoo.plan.cells import make_plan
    from zoo.plan.request import Request

    own = {name: value for name, value in SETTINGS.items() if trained or name.endswith("images")}
    request = Request(
        models=[model],
        data=[data],
        simulator=PAINTER if data == SKY else "",
        budget="smoke",
        device="cpu",
        precision="fp32",
        task="" if task == CLASSIFY else task,
        rule=rule,
        settings={**own, **(settings or {})},
    )
    [cell] = make_plan(host, request)
    return cell


def run_small(host: Host, folder: Path, **arguments: Any) -> RunResult:
    """Plan and run a small cell.

    Args:
        host: The plugins, with the toys.
        folder: Folder of the store.
        arguments: Those of `plan_small`.
    """
    return _run(host, plan_small(host, **arguments), folder)


def _run(host: Host, cell: Cell, folder: Path) -> RunResult:
    from zoo.results import store
    from zoo.run.cell import run_cell

    return run_cell(host, cell, store.prepare_run(folder, cell), device="cpu")


def _finished(subject: ModelSubject) -> tuple[Finished, dict[str, Any]]:
    """Return the result of a run, with what its folder held: the file of weights and the classifier loaded from it.

    Raises:
        NotApplicable: It failed, which the check 'training' reports.
    """
    if "run" not in subject.cached:
        from zoo.models.load import load_weights
        from zoo.results import store

        kept: dict[str, Any] = {}
        with own_cache() as folder:
            host = with_toys(subject.host, subject.spec, classes=subject.cases[0].shape.classes)
            result = _run(host, planned(subject, host), folder / "whole")
            if result.status == "ok":
                kept["weights"] = regular_file(result.run_dir / store.WEIGHTS).read_bytes()
                try:
                    kept["loaded"] = load_weights(host, result.run_dir / store.WEIGHTS)
                except Exception as error:
                    kept["error"] = error
        subject.cached["run"] = result, kept
    result, kept = subject.cached["run"]
    if result.status != "ok":
        raise NotApplicable("its run failed, see the check 'training'")
    return result, kept


def training(subject: ModelSubject) -> None:
    """A small run of the harness ends well: plan, trial, training, checkpoints, scores, cost, weights file."""
    with contextlib.suppress(NotApplicable):
        _finished(subject)
    result = subject.cached["run"][0]
    require(result.status == "ok", f"Its run failed: {getattr(result, 'cause', '')}")


def chance(subject: ModelSubject) -> None:
    """Trained and tested on random labels or truths, it scores like chance: it sees those of its training only."""
    result, _ = _finished(subject)
    if result.targets:
        skill = result.test.headline.value
        require(
            skill <= MOST_SKILL,
            f"With truths that are random, its {result.test.headline.label} is {skill:.2f}, not near 0 or below.",
            hint="It gets truths of test images from somewhere; a network may depend on the pixels only.",
        )
        return
    area = getattr(result.test, "macro", None)
    if area is None:
        raise NotApplicable("its task has no macro AUC")
    require(
        abs(area - 0.5) <= FURTHEST_FROM_CHANCE,
        f"With labels that are random, its test AUC is {area:.2f}, not near 0.50.",
        hint="It gets labels of test images from somewhere; a network may depend on the pixels only.",
    )


def weights_file(subject: ModelSubject) -> None:
    """The weights file of its run is loaded, with the predictions that it states."""
    _, kept = _finished(subject)
    if error := kept.get("error"):
        raise error


def resume(subject: ModelSubject) -> None:
    """An interrupted training continues from its checkpoint to the same bits."""
    if subject.spec.fits_itself:
        raise NotApplicable("it fits itself: an interrupted fit starts again")
    _, kept = _finished(subject)
    from zoo.results import store

    with own_cache() as folder:
        host = with_toys(subject.host, subject.spec, classes=subject.cases[0].shape.classes)
        cell = planned(subject, host)
        cut = InterruptingHost(**{one.name: getattr(host, one.name) for one in dataclasses.fields(host)})
        with contextlib.suppress(Interrupted):
            _run(cut, cell, folder / "cut")
        result = _run(host, cell, folder / "cut")
        require(result.status == "ok", f"An interrupted run cannot be continued: {getattr(result, 'cause', '')}")
        weights = regular_file(result.run_dir / store.WEIGHTS).read_bytes()
    require(
        weights == kept["weights"],
        "A training that was interrupted and continued ends in other weights than an uninterrupted one.",
        hint="It keeps something between steps outside of its parameters and buffers, or draws random numbers from a "
        "generator that is not seeded.",
    )


def equivariance_after_training(subject: ModelSubject) -> None:
    """Trained weights, loaded from their file, keep the declared symmetry, exact or approximate."""
    result, kept = _finished(subject)
    loaded = kept.get("loaded")
    if loaded is None:
        raise NotApplicable("its weights cannot be loaded, see the check 'weights-file'")
    if result.equivariance is None:
        raise NotApplicable("its run measured no equivariance")
    require_equivariance(subject, loaded.network, subject.cases[0])


CHECKS = named(training, chance, weights_file, resume, equivariance_after_training)
