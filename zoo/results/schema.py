"""Content of result.json and history.jsonl as typed values: a run that finished with its scores, or one that failed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from zoo.environment import Environment
from zoo.models.about import Init
from zoo.models.target import Target
from zoo.results.cell import Cell
from zoo.schema import Count, Record
from zoo.scores.schema import AnyScores, Calibration, Equivariance, Interval, Probe, Scores


class Epoch(Record, omit_defaults=True, kw_only=True):
    """One epoch of a training, or the fit of a network that fits itself: a line of history.jsonl.

    Args:
        epoch: Number, counted from 1.
        train_loss: Mean loss over the epoch's steps, without auxiliary truths; of a network that fits itself, over the
            first training images.
        lr: Learning rate of its last step.
        val_loss: Mean loss on the validation split, by the moving average of the weights.
        val_auc: Macro one-vs-rest area there; None in tasks other than classification.
        val_accuracy: Accuracy there; None as for `val_auc`.
        train_seconds: Time of the training steps.
        waited_seconds: Part of it in which the network waited for images.
        train_images_per_second: Training images over `train_seconds`.
        micro_batches: Parts that each batch was computed in; more than 1 where memory ran out.
        seconds: Time of the epoch, validation included.
        phase: Number of its phase, counted from 1; None where all training images have the parameters of the others.
        val_score: Score of the validation split by which a task of a plugin selects an epoch, higher is better.
    """

    epoch: Count
    train_loss: float
    lr: float
    val_loss: float
    val_auc: float | None = None
    val_accuracy: float | None = None
    train_seconds: float
    waited_seconds: float
    train_images_per_second: float
    micro_batches: Count
    seconds: float
    phase: Count | None = None
    val_score: float | None = None

    def selects(self, rule: str) -> float:
        """Return the number by which a rule selects an epoch, higher is better; NaN where the epoch lacks it."""
        value = getattr(self, rule, None)
        return math.nan if value is None else -value if rule == "val_loss" else value

    def rank(self, rule: str) -> tuple[float, float]:
        """Return what a rule orders epochs by, higher is better: its number; of equals, the lower validation loss.

        On an easy problem the area is 1 in many epochs, from the first one on, in which the network still learns.
        """
        return self.selects(rule), -self.val_loss


class Validation(Record, omit_defaults=True):
    """The epoch whose weights were kept.

    Args:
        epoch: Number of the epoch, counted from 1.
        auc: Macro AUC on the validation split; None in tasks other than classification.
        loss: Mean loss on the validation split, in tasks other than classification.
    """

    epoch: Count
    auc: float | None = None
    loss: float | None = None

    def in_words(self) -> str:
        """Return the score with its name."""
        return f"validation loss {self.loss:.4g}" if self.auc is None else f"validation AUC {self.auc:.4f}"


class Cost(Record):
    """Cost of a network and its training.

    Args:
        parameters: Parameters of the network, frozen ones too.
        macs: Multiply-accumulates of one forward pass of one image; None where they cannot be counted.
        train_images_per_second: Median over the epochs.
        train_seconds: Time of all training steps.
        inference_images_per_second: Rate of forward passes; of a network that fits itself, on the validation split.
        peak_memory_bytes: Most memory held by the process; on CUDA, by tensors.
        micro_batches: Parts that a batch was computed in at the end; more than 1 where memory ran out.
        resident: Whether the training images were held on the device.
        processes: Processes that trained together.
        simulated_images: Images that were rendered for this run.
        simulation_seconds: Time of rendering them.
    """

    parameters: Count
    macs: Count | None
    train_images_per_second: float
    train_seconds: float
    inference_images_per_second: float
    peak_memory_bytes: Count
    micro_batches: Count
    resident: bool
    processes: Count
    simulated_images: Count
    simulation_seconds: float


class Declared(Record, omit_defaults=True):
    """What the spec of a data set declared for readers, for tables and pages made without its plugin.

    Args:
        summary, classes, params, required, shown, tags, baselines, slices, image_groups: Fields of `DatasetSpec`.
        budget_values, budget_note: Parameters of the run's budget, and what they change.
    """

    classes: tuple[str, ...]
    summary: str = ""
    params: Mapping[str, Any] = msgspec.field(default_factory=dict)
    required: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    slices: Mapping[str, str] = msgspec.field(default_factory=dict)
    image_groups: str = ""
    budget_values: Mapping[str, Any] = msgspec.field(default_factory=dict)
    budget_note: str = ""


class DataSummary(Record, omit_defaults=True):
    """The images of a run.

    Args:
        recipe_hash: Hash of their recipe.
        image_shape: Channels, height, width.
        counts: Split -> images of each class; without "train" for a stream.
        trained_on: Classes whose images alone are in the training and validation splits; empty for all classes.
        declared: What the data set declared for readers; None in results of earlier versions.
    """

    recipe_hash: str
    image_shape: tuple[Count, Count, Count]
    counts: Mapping[str, tuple[Count, ...]]
    trained_on: tuple[str, ...] = ()
    declared: Declared | None = None


class FreshTest(Record):
    """Scores on fresh test images: as many as the benchmark's own, of the same recipe but for the seed.

    Args:
        seed: Seed of the images.
        recipe_hash: Hash of their recipe.
        scores: Scores on them.
        difference: Headline score (macro AUC) on the benchmark's own test images less that on these.
        interval: 95 % interval of the difference.
    """

    seed: Count
    recipe_hash: str
    scores: AnyScores
    difference: float
    interval: Interval


class Scored(Record):
    """Predictions that were made elsewhere and scored here (`zoo score`).

    Args:
        author: Their author, as stated to `zoo score`; "" if not stated.
        cost_note: Cost of training and inference in the author's words; "" if not stated. Nothing of it was measured.
        file: Name of the file of predictions, without its folder.
        largest_error: Largest distance of the sum of an image's probabilities from 1 in the file; each image was
            divided by its sum.
    """

    author: str
    cost_note: str
    file: str
    largest_error: float


class StreamSummary(Record):
    """Training images that were rendered as they were needed.

    Args:
        images: Training images in all, each of them used once.
        images_per_second: Rate of rendering; None where an earlier session had trained all epochs.
        waited_share: Share of the training time in which the network waited for images.
    """

    images: Count
    images_per_second: float | None
    waited_share: float


class Finished(Record, omit_defaults=True):
    """Result of a run that ended well, or of predictions that were made elsewhere.

    Args:
        schema: Version of this format.
        status: "ok".
        run_id: Id of the cell.
        cell: Cell of the run.
        run_dir: Folder of the run; known to the reader, not part of the file.
        classes: Names of the K labels, for classification in the order of the logits.
        test: Scores on the test split.
        val: The epoch whose weights were kept; this and the next two are None for predictions made elsewhere.
        equivariance: Declared and measured symmetry.
        cost: Parameters, operations, times, memory.
        data: The images.
        init: Weights that the training started from; None for a random start.
        device: Device of the training, such as "cpu" or "cuda:0".
        files: File of the run -> its SHA-256.
        seconds: Time of the whole run, over all sessions.
        environment: Machine and library versions.
        plugins: Distribution -> version of every plugin that was loaded; of a file, its name and a digest.
        metric_code: Metric of a plugin -> name and version of the plugin, with a digest of code of others. Not part of
            the run id: `zoo report` names metrics that other code computed than is installed.
        directions: Metric of a plugin -> value -> "higher" or "lower", which is better; values without one are not
            compared.
        stream: Streamed training images; None for stored ones.
        not_begun: Number of epochs of a training that has not begun to learn (`zoo.results.convergence`); 0 for others.
        fresh: Scores on fresh test images (`--fresh-test`); None where they were not asked for.
        calibration: Scores of calibrated probabilities; None in results of earlier versions and for predictions made
            elsewhere. `test` holds those of the probabilities as the network gives them.
        scored: Origin of predictions that were made elsewhere; None for runs.
        targets: Stored truths that the network estimates: mean and standard deviation of the training split, and the
            factor of the widths that was fitted on the validation split; empty in other tasks.
        fit_notes: Sentences of a network that fits itself on its fits, such as how many failed.
        probe: Scalar probe of the images, in results of earlier versions; a baseline has taken its place.
    """

    schema: int
    status: Literal["ok"]
    run_id: str
    cell: Cell
    run_dir: Path
    classes: tuple[str, ...]
    test: AnyScores
    val: Validation | None
    equivariance: Equivariance | None
    cost: Cost | None
    data: DataSummary
    init: Init | None
    device: str
    files: Mapping[str, str]
    seconds: float
    environment: Environment
    stream: StreamSummary | None = None
    not_begun: Count = 0
    fresh: FreshTest | None = None
    calibration: Calibration | None = None
    scored: Scored | None = None
    probe: Probe | None = None
    targets: tuple[Target, ...] = ()
    fit_notes: tuple[str, ...] = ()
    plugins: Mapping[str, str] = msgspec.field(default_factory=dict)
    metric_code: Mapping[str, str] = msgspec.field(default_factory=dict)
    directions: Mapping[str, Mapping[str, Literal["higher", "lower"]]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.classes)
        if isinstance(self.test, Scores):
            if lost := {*self.classes, "macro"} - self.test.auc.keys():
                raise ValueError(f"test.auc lacks {', '.join(sorted(lost))}")
            if "auc.macro" not in self.test.intervals:
                raise ValueError("test.intervals lacks auc.macro")
            if {count} != {len(self.test.confusion), *map(len, self.test.confusion)}:
                raise ValueError(f"test.confusion is not a table of {count} x {count} numbers")
        for name in ("val", "equivariance", "cost") if self.scored is None else ():
            if getattr(self, name) is None:
                raise ValueError(f"{name} of the run is missing")
        if missing := ({"test"} if self.scored else {"val", "test"}) - self.data.counts.keys():
            raise ValueError(f"data.counts lacks {', '.join(sorted(missing))}")
        if any(len(images) != count for images in self.data.counts.values()):
            raise ValueError(f"data.counts does not have {count} numbers for each split")


class Failed(Record, omit_defaults=True):
    """Result of a run that did not end well.

    Args:
        schema: Version of this format.
        status: "oom" where memory was exhausted, else "failed".
        run_id: Id of the cell.
        cell: Cell of the run.
        run_dir: Folder of the run; known to the reader, not part of the file.
        error: Cause in words; the first line is a summary.
        traceback: Python's traceback, or "".
        seconds: Time until it failed, over all sessions; None where the process left no result of its own.
        environment: Machine and library versions; None where the process left no result of its own.
        plugins: Distribution -> version of every plugin that was loaded; of a file, its name and a digest.
    """

    schema: int
    status: Literal["failed", "oom"]
    run_id: str
    cell: Cell
    run_dir: Path
    error: str
    traceback: str = ""
    seconds: float | None = None
    environment: Environment | None = None
    plugins: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def cause(self) -> str:
        """First line of the error."""
        return (self.error.splitlines() or [""])[0] or "the cause is unknown"


RunResult: TypeAlias = Finished | Failed
"""A result; `result.status == "ok"` narrows the type to `Finished` for a type checker."""
