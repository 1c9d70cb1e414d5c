"""Curves and images of one run for the report, computed from its predictions once and kept beside its result."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.paths import regular_file, write_text
from zoo.results.files import checked_file, groups_in, known_sha256
from zoo.results.schema import Finished
from zoo.results.slices import Slices, slice_scores
from zoo.results.store import PREDICTIONS, read_arrays
from zoo.results.tasks import task_of_result
from zoo.schema import Record, json_text, plain, read_record
from zoo.scores.roc import roc_band
from zoo.scores.stats import Array, reliability, softmax
from zoo.tasks.find import CORE, Tasks
from zoo.tasks.task import Estimated, Task

R = TypeVar("R")
VERSION = 13
"""Raise it when what is kept changes, so that older files are made again."""
DIGEST = "report.json"
LOWEST_RATE = 1e-3
"""Lowest false positive rate of a logarithmic axis, and lowest share of missed images."""
FALSE_RATES = np.unique(np.append(np.linspace(0, 1, 41) ** 2, np.geomspace(LOWEST_RATE, 1, 31)[:-1]))
"""False positive rates at which ROC curves are kept: close together near 0, where good networks differ."""
TRUE_RATES = (0, 0.5, 0.9, 0.99, 0.999)
"""True positive rates beside an axis that is logarithmic in the share of missed images."""
NEAR_ONE = 0.95
"""Area from which ROC curves are drawn on logarithmic axes, because linear ones leave most of a picture empty."""
MOST_BINS = 40
"""Bins of a histogram of the scores of many images."""
SHOWN_ESTIMATES = 200
"""Test images whose estimates are drawn, the first ones."""
RANK_BINS = 20
"""Bins of the ranks of truths."""


class RocBand(Record):
    """ROC curve of a class against the rest, at `FALSE_RATES`.

    Args:
        curve: True positive rates.
        low: Low end of their 95 % bootstrap band over images, or groups of them.
        high: High end of it.
    """

    curve: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if {len(self.curve), len(self.low), len(self.high)} != {len(FALSE_RATES)}:
            raise ValueError(f"a ROC curve does not have {len(FALSE_RATES)} points")


class Histogram(Record):
    """Scores of the test images of each class, in bins of equal width.

    Args:
        edges: [B + 1] edges of the bins, from the lowest to the highest score that is shown.
        counts: Class -> images in each bin; those beyond the last edge are in the last bin.
    """

    edges: tuple[float, ...]
    counts: Mapping[str, tuple[int, ...]]


class Estimates(Record):
    """Estimates of a truth, as a report draws them.

    Args:
        true, middle, low, high: Truth, prediction and ends of the 68 % interval of the first `SHOWN_ESTIMATES` images.
        ranks: Test images in each bin of the distribution function at the truth, from 0 to 1.
    """

    true: tuple[float, ...]
    middle: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    ranks: tuple[int, ...]


class ReliabilityBin(Record):
    """Images of similar confidence; see `zoo.scores.stats.reliability`.

    Args:
        images: Number of them.
        confidence: Mean of the highest probability.
        accuracy: Share whose most probable class is the true one.
    """

    images: int
    confidence: float
    accuracy: float


class Digest(Record):
    """Curves and images of one run for the report.

    Args:
        mark: Format, and SHA-256 of the predictions that it was computed from.
        roc: Title of a curve, such as a class -> the ROC curve, where both kinds of its images are there.
        reliability: Bins of confidence that hold images.
        labels: Parameter -> label of the slices that its data set declares.
        slices: Areas in slices of the scenes' parameters; see `slice_scores`.
        histogram: Scores of the classes; None in tasks without one score for each image.
        estimates: Name of a truth -> estimates, in tasks that estimate truths.
    """

    mark: tuple[int, str]
    roc: Mapping[str, RocBand]
    reliability: tuple[ReliabilityBin, ...]
    labels: Mapping[str, str]
    slices: tuple[Slices, ...]
    histogram: Histogram | None = None
    estimates: Mapping[str, Estimates] = {}


class _KeptFile(Record):
    """A file that `keep` wrote.

    Args:
        checksum: SHA-256 of the content as it stands in the file.
        content: Content before it is decoded.
    """

    checksum: str
    content: msgspec.Raw


def read_digest(result: Finished, *, labels: Mapping[str, str] = MappingProxyType({}), tasks: Tasks = CORE) -> Digest:
    """Return curves, calibration and slices of a good result; computed only where they are not kept yet.

    Args:
        result: Result with predictions beside it.
        labels: Parameter -> label of the slices, `DatasetSpec.slices`.
        tasks: Tasks that are installed.

    Raises:
        DataError: Predictions are missing or damaged.
        MissingError: The task's plugin is absent.
    """
    source = checked_file(result, PREDICTIONS)
    mark = (VERSION, result.files[PREDICTIONS])
    kept_in = result.run_dir / DIGEST
    try:
        kept = read_kept(kept_in, Digest)
        if kept.mark == mark and kept.labels == labels:
            return kept
    except DataError:
        pass
    arrays, metadata = read_arrays(source)
    try:
        groups = groups_in(metadata, "test", images=len(arrays["test.labels"]))
        digest = _digest(
            arrays, result.classes, task_of_result(result, tasks=tasks), mark=mark, labels=labels,
            groups=None if groups is None else groups.numbers,
        )  # fmt: skip
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{source} cannot be scored: {type(error).__name__}: {error}.") from error
    keep(kept_in, digest)
    return digest


def predictions_mark(result: Finished) -> str:
    """Return the SHA-256 of a run's predictions as they are now, or "" where they cannot be read."""
    try:
        return known_sha256(result.run_dir / PREDICTIONS)
    except OSError:
        return ""


def keep(path: Path, content: Record) -> None:
    """Write a file that saves work next time; a store that is not writable is not an error."""
    try:
        text = json_text(plain(content), what=path.name)
        checksum = hashlib.sha256(text.encode()).hexdigest()
        write_text(path, f'{{"checksum": "{checksum}", "content": {text}}}')
    except DataError:
        return


def read_kept(path: Path, kind: type[R]) -> R:
    """Return what `keep` wrote.

    Raises:
        DataError: The file was not found, is of another version, or has been altered.
    """
    try:
        file = msgspec.json.decode(regular_file(path).read_bytes(), type=_KeptFile)
        if hashlib.sha256(file.content).hexdigest() != file.checksum:
            raise DataError(f"{path} has been altered: its checksum does not fit its content.")
        return msgspec.json.decode(file.content, type=kind)
    except (OSError, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error


def _digest(
    arrays: Mapping[str, NDArray[Any]],
    classes: Sequence[str],
    task: Task,
    *,
    mark: tuple[int, str],
    labels: Mapping[str, str],
    groups: NDArray[np.int64] | None,
) -> Digest:
    predictions, truth = arrays["test.logits"], arrays["test.labels"]
    curves = task.rocs(predictions, truth) if {"roc", "roc at low rates"} & set(task.pictures) else {}
    roc = {title: band for title, curve in curves.items() if (band := _band(*curve, groups)) is not None}
    histogram = _histogram(predictions[:, 0], truth, classes) if "score histograms" in task.pictures else None
    digest = Digest(
        mark=mark,
        roc=roc,
        reliability=(),
        labels=dict(labels),
        slices=(),
        histogram=histogram,
        estimates=_estimates(task.estimated(predictions, truth)),
    )
    prefix = "test.parameter."
    parameters = {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
    if task.weights_outputs is not None:  # the rest is of probabilities
        if "slices" not in task.pictures or task.weights_outputs != 1 or not task.question.trained_on:
            return digest
        scores, normal = np.asarray(predictions, np.float64), task.question.trained_on
        return replace(
            digest,
            slices=tuple(
                slice_scores(scores, truth, classes, parameters, declared=labels, normal=normal, groups=groups)
            ),
        )
    probabilities = softmax(predictions)
    bins = read_record(reliability(probabilities, truth), tuple[ReliabilityBin, ...], what="The reliability")
    slices = tuple(slice_scores(probabilities, truth, classes, parameters, declared=labels, groups=groups))
    return replace(digest, reliability=bins, slices=slices)


def _estimates(found: Mapping[str, Estimated]) -> dict[str, Estimates]:
    """Return what a report keeps of estimates: name of the truth -> estimates."""

    def first(values: Array) -> tuple[float, ...]:
        return tuple(float(f"{value:.5g}") for value in values[:SHOWN_ESTIMATES].tolist())

    return {
        name: Estimates(
            true=first(one.true),
            middle=first(one.middle),
            low=first(one.low),
            high=first(one.high),
            ranks=tuple(np.histogram(one.pit, bins=RANK_BINS, range=(0, 1))[0].tolist()),
        )
        for name, one in found.items()
    }


def _band(scores: Array, positive: NDArray[np.bool_], groups: NDArray[np.int64] | None) -> RocBand | None:
    """Return the curve of the images that have a score; None where they are of one kind."""
    there = ~np.isnan(scores)
    scores, positive = scores[there], positive[there]
    if positive.all() or not positive.any():
        return None
    found = roc_band(scores, positive, FALSE_RATES, groups=None if groups is None else groups[there])
    curve, low, high = (tuple(np.round(values, 5).tolist()) for values in found)
    return RocBand(curve=curve, low=low, high=high)


def _histogram(scores: NDArray[Any], labels: NDArray[np.int64], classes: Sequence[str]) -> Histogram:
    """Return the scores of each class between the lowest one and the 99.5 % quantile of all."""
    low, high = float(scores.min()), float(np.quantile(scores, 0.995))
    bins = int(np.clip(math.sqrt(len(labels)), 8, MOST_BINS))
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    inside = np.minimum(scores, edges[-1])
    counts = {name: np.histogram(inside[labels == k], bins=edges)[0] for k, name in enumerate(classes)}
    return Histogram(
        edges=tuple(edges.tolist()), counts={name: tuple(found.tolist()) for name, found in counts.items()}
    )
