"""Runs one cell in this process: images, training, and only then the test split and the scores."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo import provenance, registry
from zoo.data.loader import Batches
from zoo.data.stream import Stream
from zoo.environment import describe, peak_memory_bytes
from zoo.errors import Interrupted, ZooError, described
from zoo.escaping import visible
from zoo.isolation import causes_of, contained, place_in
from zoo.models.copies import copy_of
from zoo.packages import source_commit
from zoo.paths import file_sha256, written_whole
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.convergence import epochs_at_chance
from zoo.results.declared import declared_of
from zoo.results.schema import Cost, DataSummary, Epoch, Failed, Finished, RunResult, StreamSummary, Validation
from zoo.run.fixed_weights import write_fixed_weights
from zoo.run.kept import keep_curves, write_examples, write_mistakes, write_predictions
from zoo.run.metrics import with_metrics
from zoo.schema import json_text, plain
from zoo.scores.calibration import calibrated_scores
from zoo.scores.equivariance import declared_symmetry, measure_equivariance
from zoo.scores.schema import Equivariance
from zoo.scores.score import inference_rate
from zoo.specs import DatasetSpec
from zoo.train.checkpoint import CHECKPOINT
from zoo.train.fit import Fitted, Prepared, fit, prepare
from zoo.train.loop import waited_share
from zoo.train.own_fit import fit_notes
from zoo.train.team import ALONE, Team, lost_another
from zoo.train.validation import predict

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)


def run_cell(
    host: Host,
    cell: Cell,
    run_dir: Path,
    *,
    device: str,
    images: Path | None = None,
    force: bool = False,
    team: Team = ALONE,
) -> RunResult:
    """Run a cell and write its result, unless it is there already. One process, or one team, at a time runs a cell.

    A failure that is there was written after this cell was planned, by another process, since planning removes
    earlier ones (`store.prepare_run`): it is not tried twice.

    Args:
        host: The plugins.
        cell: Cell to run.
        run_dir: Folder of the run, which holds cell.json.
        device: "cpu", "cuda" or "mps".
        images: Folder of simulated images; default: the cache, which is filled.
        force: Whether it is run again from the start although there is a result.
        team: The processes that train together. The first calls this; the others call `zoo.train.help.help_fit`.

    Returns:
        What result.json holds.

    Raises:
        DataError: The store cannot be written.
        BusyError: Another process runs the cell.
        KeyboardInterrupt: The run was interrupted, or another process of a team was lost, as with its node; running the
            cell again continues it.
    """
    # A team that zoo has started works under the lock of the process that started it.
    with contextlib.nullcontext() if team.started_by == "zoo" else store.claim(run_dir):
        stored = store.read_result(run_dir)
        if stored is not None and not force:
            return stored
        (run_dir / store.RESULT).unlink(missing_ok=True)
        for leftover in [*run_dir.glob(".*.part"), *([run_dir / CHECKPOINT, run_dir / store.FRESH] if force else [])]:
            leftover.unlink(missing_ok=True)
        host.emit("zoo_run_started", cell=cell.to_json(), run_dir=run_dir)
        source_commit()  # kept for the result: the clone may change while this runs
        started = time.perf_counter()
        result: RunResult
        try:
            with contained():  # a network may raise SystemExit or KeyboardInterrupt
                finished = _run(host, cell, run_dir, torch.device(device), images, team, started=started)
            # Plugins have a say in it: what could not be read again is a failure with a cause.
            result = store.result_from(store.plain_result(finished), run_dir=run_dir)
        except Exception as error:
            text, foreign = _in_words(host, error)
            if lost_another(team, error):
                logger.error("%s on %s: %s", cell.model, cell.data, text)
                raise Interrupted("the end of another process") from error
            result = Failed(
                schema=SCHEMA,
                status="oom" if isinstance(error, (torch.OutOfMemoryError, MemoryError)) else "failed",
                run_id=cell.run_id,
                cell=cell,
                run_dir=run_dir,
                error=visible(text),  # what no file can hold would take the cause away
                traceback=visible(traceback.format_exc()),
                seconds=time.perf_counter() - started,
                environment=describe(),
                plugins=provenance.loaded_plugins(host),
            )
            logger.error("%s on %s failed: %s", cell.model, cell.data, text, exc_info=foreign)
        if result.status == "ok":
            keep_curves(host, result)
        store.write_result(result)
        if result.status == "ok":
            # Not before: a run that is killed, or finds the disk full, in its last moment need not train again.
            for file in (CHECKPOINT, store.PROGRESS):
                (run_dir / file).unlink(missing_ok=True)
        content = store.plain_result(result)
        host.emit("zoo_run_finished", cell=content["cell"], run_dir=run_dir, result=content)
        return result


def _in_words(host: Host, error: Exception) -> tuple[str, bool]:
    """Return an error in words with its place in the code of a plugin, and whether its first cause is not zoo's."""
    text = str(error) if isinstance(error, ZooError) else described(error)
    if isinstance(causes_of(error)[-1], ZooError):
        return text, False
    modules = [record.module or Path(record.distribution).stem for record in host.records.values()]
    place = place_in(error, {module.partition(".")[0] for module in modules} - {"zoo"})
    first, *rest = text.split("\n")
    return "\n".join([f"{first} ({place})" if place else first, *rest]), True


def _run(
    host: Host,
    cell: Cell,
    run_dir: Path,
    device: torch.device,
    images: Path | None,
    team: Team,
    *,
    started: float,
) -> Finished:
    """Return the result of a cell; leaves weights, predictions and examples in its folder.

    Args:
        host, cell, run_dir, images, team: Arguments of `run_cell`.
        device: Device of the run.
        started: Start of the run, by `time.perf_counter`.
    """
    prepared = prepare(host, cell, run_dir, device=device, images=images, team=team)
    classifier, val_split = prepared.classifier, prepared.val_split
    write_examples(run_dir / store.EXAMPLES, prepared.train_split)
    few_images = torch.from_numpy(val_split.first(64)).to(prepared.device)
    group, declared = declared_symmetry(prepared.spec, classifier.network)
    # Of a copy: the network that trains keeps nothing of a forward pass without gradients.
    # A network that fits itself has no initial weights.
    before = None if cell.fits_itself else measure_equivariance(
        copy_of(classifier), few_images, group, name=val_split.ids.__getitem__,
        when="Validation images before the training", classes=not prepared.task.targets,
    )  # fmt: skip
    session = _Session(host, cell, run_dir)
    fitted = fit(prepared, cell, run_dir, epoch_ended=session.epoch_ended)
    prepared.progress.report("validate", 0, 1)
    with written_whole(run_dir / store.HISTORY) as temporary:
        lines = (json_text(plain(entry), what=store.HISTORY) + "\n" for entry in fitted.history)
        temporary.write_text("".join(lines), encoding="utf-8")
    validated = write_fixed_weights(prepared, fitted, cell, run_dir)
    task = validated.task

    # The weights are fixed and on disk: now, and not before, the test split is opened.
    clock = time.perf_counter()
    test_split = prepared.data.split("test")
    prepared.simulated.seconds += time.perf_counter() - clock
    prepared.progress.report("score", 0, 1)
    test_logits, test_labels = predict(
        classifier,
        Batches(test_split, device=prepared.device),
        when="Test images after the training",
        progress=partial(prepared.progress.report, "score"),
    )
    after = measure_equivariance(
        classifier, few_images, group, name=val_split.ids.__getitem__, when="Validation images, turned, at the end",
        classes=not task.targets,
    )  # fmt: skip
    cost = _cost(prepared, fitted, few_images, processes=1 if cell.fits_itself else team.size)
    write_predictions(
        run_dir / store.PREDICTIONS,
        {
            "test": (test_split, test_logits, test_labels),
            "val": (val_split, validated.predictions, validated.labels),
        },
    )
    write_mistakes(run_dir / store.MISTAKES, test_split, test_logits, test_labels, task, classifier=classifier)
    scores = task.score(test_logits, test_labels, test_split.groups)
    stream = prepared.stream
    splits = [val_split, test_split] if stream is not None else [prepared.train_split, val_split, test_split]
    finished = Finished(
        schema=SCHEMA,
        status="ok",
        run_id=cell.run_id,
        cell=cell,
        run_dir=run_dir,
        classes=tuple(test_split.classes),
        test=scores,
        val=Validation(
            auc=fitted.kept.val_auc,
            loss=fitted.kept.val_loss if fitted.kept.val_auc is None else None,
            epoch=fitted.epoch,
        ),
        equivariance=Equivariance(group=group, declared=declared, before=before, after=after),
        cost=cost,
        data=DataSummary(
            recipe_hash=cell.recipe.hash,
            image_shape=prepared.train_split.image_shape,
            counts={split.name: split.class_counts for split in splits},
            trained_on=task.question.trained_on_names,
            declared=declared_of(registry.find(host, DatasetSpec, cell.data), budget=cell.budget),
        ),
        init=prepared.init,
        device=str(prepared.device),
        files={name: file_sha256(run_dir / name) for name in store.HASHED},
        seconds=session.earlier_seconds(fitted.history) + time.perf_counter() - started,
        environment=describe(),
        plugins=provenance.loaded_plugins(host),
        stream=None if stream is None else _of_stream(stream, fitted.history),
        calibration=None
        if validated.temperature is None
        else calibrated_scores(test_logits, test_labels, test_split.classes, temperature=validated.temperature),
        targets=task.targets,
        fit_notes=fit_notes(classifier.network, name=cell.model) if fitted.own else (),
        not_begun=0
        if cell.fits_itself
        else epochs_at_chance(
            fitted.history, chance=prepared.chance_loss, phases=len(cell.phases), in_units=bool(task.targets)
        ),
    )
    return with_metrics(host, finished, test_logits, test_labels, task=task, groups=test_split.groups)


class _Session:
    """Counts the epochs of this process and announces their ends, since a run may have several sessions.

    Args:
        host, cell, run_dir: Arguments of `run_cell`.
    """

    def __init__(self, host: Host, cell: Cell, run_dir: Path) -> None:
        self._host, self._cell, self._run_dir = host, cell, run_dir
        self._epochs, self._before_stop, self._started = 0, 0.0, time.perf_counter()

    def epoch_ended(self, entry: Epoch) -> None:
        """Count an epoch, and report it to the plugins."""
        if not self._epochs:  # an earlier session may have been stopped within this epoch
            self._before_stop = max(0.0, entry.seconds - (time.perf_counter() - self._started))
        self._epochs += 1
        self._host.emit(
            "zoo_epoch_ended",
            cell=self._cell.to_json(),
            run_dir=self._run_dir,
            epoch=entry.epoch,
            metrics=plain(entry),
        )

    def earlier_seconds(self, history: Sequence[Epoch]) -> float:
        """Return the time of all earlier sessions, by epochs: an interruption does not make a run cheaper."""
        return self._before_stop + sum(entry.seconds for entry in history[: -self._epochs or None])


def _cost(prepared: Prepared, fitted: Fitted, few_images: Tensor, *, processes: int) -> Cost:
    """Return what the training cost, and what an answer costs."""
    history, own, simulated = fitted.history, fitted.own, prepared.simulated
    return Cost(
        parameters=prepared.trial.cost.parameters,
        macs=prepared.trial.cost.macs,
        train_images_per_second=float(np.median([entry.train_images_per_second for entry in history])),
        train_seconds=sum(entry.train_seconds for entry in history),
        inference_images_per_second=own.images_per_second if own else inference_rate(prepared.classifier, few_images),
        peak_memory_bytes=peak_memory_bytes(),
        # More than 1 where memory ran out and the gradient of a step was accumulated over this many parts.
        micro_batches=history[-1].micro_batches,
        resident=fitted.resident,
        processes=processes,
        simulated_images=simulated.images,
        simulation_seconds=simulated.seconds if simulated.images else 0.0,
    )


def _of_stream(stream: Stream, history: list[Epoch]) -> StreamSummary:
    """Return what a stream of training images made."""
    return StreamSummary(
        images=len(stream) * len(history),
        images_per_second=stream.made / stream.seconds if stream.made else None,  # all was trained before
        waited_share=waited_share(history),
    )
