"""Runs one cell in this process: images, training, and only then the test split and the scores."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from zoo import provenance, registry
from zoo.data.loader import Batches
from zoo.data.open import Dataset
from zoo.data.split import Split
from zoo.environment import describe, peak_memory_bytes
from zoo.errors import Interrupted, ZooError, described
from zoo.escaping import visible
from zoo.isolation import causes_of, contained, place_in
from zoo.models.about import About, Init
from zoo.models.copies import copy_of
from zoo.models.load import golden_predictions
from zoo.models.pixels import SAMPLE, summary
from zoo.models.weights_file import write_weights
from zoo.paths import written_whole
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.convergence import epochs_at_chance
from zoo.results.declared import declared_of
from zoo.results.schema import Cost, DataSummary, Epoch, Failed, Finished, RunResult, StreamSummary, Validation
from zoo.run.kept import keep_curves, write_examples, write_mistakes, write_predictions
from zoo.run.metrics import with_metrics
from zoo.schema import json_text, plain
from zoo.scores.calibration import calibrated_scores, fit_temperature
from zoo.scores.equivariance import declared_symmetry, measure_equivariance
from zoo.scores.finite import require_finite
from zoo.scores.schema import Equivariance
from zoo.scores.score import inference_rate
from zoo.scores.unlike import fit_detector
from zoo.specs import DatasetSpec, ModelSpec
from zoo.tasks.task import Task
from zoo.train.checkpoint import CHECKPOINT
from zoo.train.fit import fit, prepare
from zoo.train.loop import waited_share
from zoo.train.own_fit import fit_notes
from zoo.train.team import ALONE, Team, lost_another
from zoo.train.validation import predict

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)

GOLDEN_IMAGES = 3


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
    device = prepared.device
    classifier, spec = prepared.classifier, prepared.spec
    train_split, val_split, simulated = prepared.train_split, prepared.val_split, prepared.simulated
    write_examples(run_dir / store.EXAMPLES, train_split)
    few_images = torch.from_numpy(np.array(val_split.chunks[0][:64])).to(device)
    group, declared = declared_symmetry(spec, classifier.network)
    # Of a copy: the network that trains keeps nothing of a forward pass without gradients.
    # A network that fits itself has no initial weights.
    before = None if cell.fits_itself else measure_equivariance(
        copy_of(classifier), few_images, group, name=val_split.ids.__getitem__,
        when="Validation images before the training", classes=not prepared.task.targets,
    )  # fmt: skip

    epochs_here, before_stop, fit_started = 0, 0.0, time.perf_counter()

    def epoch_ended(entry: Epoch) -> None:
        nonlocal epochs_here, before_stop
        if not epochs_here:  # an earlier session may have been stopped within this epoch
            before_stop = max(0.0, entry.seconds - (time.perf_counter() - fit_started))
        epochs_here += 1
        host.emit("zoo_epoch_ended", cell=cell.to_json(), run_dir=run_dir, epoch=entry.epoch, metrics=plain(entry))

    fitted = fit(prepared, cell, run_dir, epoch_ended=epoch_ended)
    prepared.progress.report("validate", 0, 1)
    history, stream = fitted.history, prepared.stream
    with written_whole(run_dir / store.HISTORY) as temporary:
        lines = (json_text(plain(entry), what=store.HISTORY) + "\n" for entry in history)
        temporary.write_text("".join(lines), encoding="utf-8")
    task, own, when = prepared.task, fitted.own, "Validation images after the training"
    val_logits, val_labels = own.predictions if own else predict(classifier, fitted.val_data, when=when)
    temperature = fit_temperature(val_logits, val_labels) if task.weights_outputs is None else None
    if task.targets:
        task, val_logits = task.calibrated(val_logits, val_labels)
        classifier.estimate(task.targets, standardised=not cell.fits_itself)
    about = _about(
        cell, spec, train_split, data=prepared.data, init=prepared.init, task=task,
        reference=task.reference(val_logits.double().numpy()), temperature=temperature,
    )  # fmt: skip
    chosen = _some_of_classes(val_split, most=GOLDEN_IMAGES)
    golden = golden_predictions(classifier, torch.from_numpy(val_split.images_at(chosen)))
    require_finite(
        golden["logits"],
        lambda row: val_split.ids[chosen[row]],
        when="Golden predictions (validation images on the CPU in float32)",
    )
    stored_channels = train_split.image_shape[0] - len(cell.recipe.channels)
    detector = {}
    if task.weights_outputs is None:
        detector = fit_detector(train_split, val_split, channels=stored_channels, device=device).tensors()
    write_weights(run_dir / store.WEIGHTS, classifier.state_dict(), about=about, golden=golden, detector=detector)

    # The weights are fixed and on disk: now, and not before, the test split is opened.
    clock = time.perf_counter()
    test_split = prepared.data.split("test")
    simulated.seconds += time.perf_counter() - clock
    prepared.progress.report("score", 0, 1)
    test_logits, test_labels = predict(
        classifier, Batches(test_split, device=device), when="Test images after the training"
    )
    after = measure_equivariance(
        classifier, few_images, group, name=val_split.ids.__getitem__, when="Validation images, turned, at the end",
        classes=not task.targets,
    )  # fmt: skip
    cost = Cost(
        parameters=prepared.trial.cost.parameters,
        macs=prepared.trial.cost.macs,
        train_images_per_second=float(np.median([entry.train_images_per_second for entry in history])),
        train_seconds=sum(entry.train_seconds for entry in history),
        inference_images_per_second=own.images_per_second if own else inference_rate(classifier, few_images),
        peak_memory_bytes=peak_memory_bytes(),
        # More than 1 where memory ran out and the gradient of a step was accumulated over this many parts.
        micro_batches=history[-1].micro_batches,
        resident=fitted.resident,
        processes=1 if cell.fits_itself else team.size,
        simulated_images=simulated.images,
        simulation_seconds=simulated.seconds if simulated.images else 0.0,
    )
    write_predictions(
        run_dir / store.PREDICTIONS,
        {"test": (test_split, test_logits, test_labels), "val": (val_split, val_logits, val_labels)},
    )
    write_mistakes(run_dir / store.MISTAKES, test_split, test_logits, test_labels, task, classifier=classifier)
    scores = task.score(test_logits, test_labels)
    splits = [val_split, test_split] if stream is not None else [train_split, val_split, test_split]
    summary_of_stream = None
    if stream is not None:
        summary_of_stream = StreamSummary(
            images=len(stream) * len(history),
            images_per_second=stream.made / stream.seconds if stream.made else None,  # all was trained before
            waited_share=waited_share(history),
        )
    # Of all sessions, counted by epochs: an interruption does not make a run cheaper.
    earlier_seconds = before_stop + sum(entry.seconds for entry in history[: -epochs_here or None])
    chance = prepared.chance_loss
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
            image_shape=train_split.image_shape,
            counts={split.name: split.class_counts for split in splits},
            trained_on=task.question.trained_on_names,
            declared=declared_of(registry.find(host, DatasetSpec, cell.data), budget=cell.budget),
        ),
        init=prepared.init,
        device=str(device),
        files={name: store.file_sha256(run_dir / name) for name in store.HASHED},
        seconds=earlier_seconds + time.perf_counter() - started,
        environment=describe(),
        plugins=provenance.loaded_plugins(host),
        stream=summary_of_stream,
        calibration=None
        if temperature is None
        else calibrated_scores(test_logits, test_labels, test_split.classes, temperature=temperature),
        targets=task.targets,
        fit_notes=fit_notes(classifier.network, name=cell.model) if own else (),
        not_begun=0
        if cell.fits_itself
        else epochs_at_chance(history, chance=chance, phases=len(cell.phases) if task.targets else 0),
    )
    return with_metrics(host, finished, test_logits, test_labels, task=task)


def _about(
    cell: Cell,
    spec: ModelSpec,
    split: Split,
    *,
    data: Dataset,
    init: Init | None,
    task: Task,
    reference: tuple[float, ...],
    temperature: float | None,
) -> About:
    """Return what the weights must carry to be used without this run's folder."""
    sample = np.unique(np.linspace(0, len(split) - 1, SAMPLE).astype(np.int64))
    pixel_scale = data.instrument.pixel_scale if data.instrument else cell.recipe.params.get("pixel_scale")
    return About(
        model=cell.model,
        model_version=cell.model_version,
        group=spec.group,
        hparams=dict(cell.hparams),
        classes=tuple(split.classes),
        image_shape=split.image_shape,
        pixel_scale=float(pixel_scale) if isinstance(pixel_scale, (int, float)) else None,
        pixels=summary(split.images_at(sample)[:, : split.image_shape[0] - len(cell.recipe.channels)]),
        recipe=cell.recipe,
        run_id=cell.run_id,
        versions=dict(cell.versions),
        init=init,
        phases=cell.phases,
        temperature=temperature,
        # A grouping of classes is known by its classes, as it was before there were other tasks.
        task="" if task.weights_outputs is None else cell.task,
        trained_on=task.question.trained_on_names,
        outputs=task.weights_outputs,
        reference=reference,
        targets=task.targets,
        camera=data.camera,
    )


def _some_of_classes(split: Split, *, most: int) -> NDArray[np.int64]:
    """Return the position of the first image of each class, for at most `most` classes; of one class, the first few."""
    present = np.unique(split.labels)[:most]
    if len(present) == 1:
        return np.arange(min(most, len(split)))
    return np.array([np.argmax(split.labels == k) for k in present])
