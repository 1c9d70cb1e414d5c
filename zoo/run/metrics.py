"""Scores that plugins add to those of the core."""

from __future__ import annotations

import logging
import math
import numbers
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor

from zoo import provenance, registry
from zoo.data.image_groups import ImageGroups
from zoo.errors import TrainingError
from zoo.isolation import plugin_code
from zoo.paths import file_sha256
from zoo.results.files import is_metric_file, read_resampled, write_resampled
from zoo.results.schema import Finished
from zoo.scores.schema import AnyScores, Interval
from zoo.scores.target_scores import ends
from zoo.specs import MetricSpec, Spec
from zoo.tasks.task import Task

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)

RESAMPLES, RESAMPLE_SEED, MOST_SECONDS = 200, 0, 30.0
"""Draws of test images for the intervals of a metric, their seed, and the time that they may take."""
Values = Mapping[str, Mapping[str, float]]
"""Id of a metric -> its values."""
LONGEST_NAME, MOST_VALUES = 100, 1_000
"""Characters of the name of a value, and values of a metric."""


def plugin_metrics(
    host: Host, logits: Tensor, labels: Tensor, *, task: Task, only: Collection[str] | None = None
) -> dict[str, dict[str, float]]:
    """Return id -> values of the metrics that plugins add; one that fails is logged and left out.

    Args:
        host: The plugins.
        logits: Predictions [N, K].
        labels: [N].
        task: Task of the predictions; only metrics that take them are computed.
        only: Ids of the metrics; None stands for all.

    Raises:
        TrainingError: A value is not a finite number.
    """
    extra: dict[str, dict[str, float]] = {}
    for spec in host.specs_of(MetricSpec):
        if not takes(spec, task) or (only is not None and spec.id not in only):
            continue
        try:
            refused: list[str] = []
            extra[spec.id] = _values(
                spec, registry.load_target(spec), task.for_metrics(logits.numpy()), labels.numpy(), refused=refused
            )
            for problem in refused:
                logger.warning("metric %s: %s; it is left out", spec.id, problem)
        except Exception:
            logger.warning("metric %s failed", spec.id, exc_info=True)
            continue
        if bad := [f"{name}={value}" for name, value in extra[spec.id].items() if not math.isfinite(value)]:
            record = host.records.get(spec.namespace)
            is_file = record is not None and record.version == "file"
            without = (
                f"without --plugin {record.distribution}"
                if is_file and record
                else (f"ZOO_DISABLE_PLUGINS={spec.namespace}")
            )
            raise TrainingError(
                f"The metric {spec.id} is not finite for the test images: {', '.join(bad)}.",
                hint=f"What is stored stays. Leave the metric's plugin out: {without}",
            )
    return extra


def takes(spec: Spec, task: Task) -> bool:
    """Return whether a metric takes the predictions of a task."""
    return isinstance(spec, MetricSpec) and task.name in spec.tasks


def _values(
    spec: Spec,
    metric: Callable[..., Any],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    *,
    refused: list[str] | None = None,
) -> dict[str, float]:
    """Return what a metric gives for some images, and add to `refused` what is left out; it raises what it raises."""
    with plugin_code(spec.id, f"the metric {spec.name}", may_take_long=True):
        # Arrays of its own: a metric that sorts them in place changes no other's.
        returned = metric(probabilities.copy(), labels.copy())
        return metric_values(returned, refused=[] if refused is None else refused)


def with_metrics(
    host: Host,
    result: Finished,
    logits: Tensor,
    labels: Tensor,
    *,
    task: Task,
    groups: ImageGroups | None = None,
    only: Collection[str] | None = None,
) -> Finished:
    """Return a result with metrics of plugins and their intervals; the resampled values lie in a file of its folder.

    The name of the file holds its digest: the file of an earlier result stays until the new result is written.

    Args:
        host: The plugins.
        result: Result, whose other metrics stay.
        logits: [N, K] of the test split.
        labels: [N].
        task: Task of the result.
        groups: Groups of images, which are drawn whole; None where all images are independent.
        only: Ids of the metrics; None stands for all.

    Raises:
        TrainingError: A value is not a finite number.
        DataError: The file cannot be written, or that of the result is damaged.
    """
    found = plugin_metrics(host, logits, labels, task=task, only=only)
    if not found:
        return result
    drawn = _drawn(host, found, logits, labels, task=task, groups=groups)
    kept = {key: values for key, values in read_resampled(result).items() if key[0] not in found} | drawn
    files = {name: sha256 for name, sha256 in result.files.items() if not is_metric_file(name)}
    if kept:
        file = write_resampled(result.run_dir, kept)
        files[file] = file_sha256(result.run_dir / file)
    directions = {**result.directions, **{name: _declared(host, name, found) for name in found}}
    code = provenance.metric_code(host)
    others = {name: intervals for name, intervals in result.test.extra_intervals.items() if name not in found}
    return replace(
        result,
        test=replace(
            result.test, extra={**result.test.extra, **found}, extra_intervals=others | _intervals(found, drawn, groups)
        ),
        files=files,
        metric_code={**result.metric_code, **{name: code[name] for name in found}},
        directions={name: values for name, values in directions.items() if values},
    )


def evaluated(
    host: Host,
    scores: AnyScores,
    logits: Tensor,
    labels: Tensor,
    *,
    task: Task,
    groups: ImageGroups | None = None,
) -> AnyScores:
    """Return scores with the metrics of plugins and their intervals.

    Args:
        host: The plugins.
        scores: Scores of the images.
        logits: [N, K].
        labels: [N].
        task: Task of the scores.
        groups: Groups of images, which are drawn whole; None where all images are independent.

    Raises:
        TrainingError: A value is not a finite number.
    """
    found = plugin_metrics(host, logits, labels, task=task)
    drawn = _drawn(host, found, logits, labels, task=task, groups=groups)
    return replace(scores, extra=found, extra_intervals=_intervals(found, drawn, groups))


def _declared(host: Host, metric: str, found: Values) -> dict[str, Any]:
    """Return value -> better direction, of the values of a metric that have one."""
    [better] = [spec.better for spec in host.specs_of(MetricSpec) if isinstance(spec, MetricSpec) and spec.id == metric]
    return {value: better[value] for value in found[metric] if value in better}


def _drawn(
    host: Host, found: Values, logits: Tensor, labels: Tensor, *, task: Task, groups: ImageGroups | None
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Return (metric, value) -> values for images drawn again, of the values that have a direction."""
    drawn: dict[tuple[str, str], NDArray[np.float64]] = {}
    for spec in host.specs_of(MetricSpec):
        if spec.id in found and isinstance(spec, MetricSpec) and (names := list(_declared(host, spec.id, found))):
            values = resampled(spec, names, task.for_metrics(logits.numpy()), labels.numpy(), groups=groups)
            drawn |= {(spec.id, name): each for name, each in values.items()}
    return drawn


def _intervals(
    found: Values, drawn: Mapping[tuple[str, str], NDArray[np.float64]], groups: ImageGroups | None
) -> dict[str, dict[str, Interval]]:
    """Return metric -> value -> 95 % interval over images or groups of them."""
    intervals: dict[str, dict[str, Interval]] = {}
    for (metric, value), draws in drawn.items():
        if (interval := ends(found[metric][value], draws, None if groups is None else groups.numbers)) is not None:
            intervals.setdefault(metric, {})[value] = interval
    return intervals


def resampled(
    spec: MetricSpec,
    names: Sequence[str],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    *,
    groups: ImageGroups | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Return value -> [RESAMPLES] values for test images drawn again, with as many of each class.

    Where the labels are truths, which are not classes, images are drawn from all; where several groups of images are
    not independent, whole groups are drawn, until there is an image of every class.

    The draws depend on labels and groups only, so that the values of two networks can be subtracted draw by draw.
    Nothing is returned of a metric that takes long, raises, or is not finite for a draw.
    """
    generator = np.random.default_rng(RESAMPLE_SEED)
    is_class = labels.ndim == 1 and labels.dtype.kind in "iu"
    parts = [np.flatnonzero(labels == k) for k in np.unique(labels)] if is_class else [np.arange(len(labels))]
    members = [] if groups is None or groups.count < 2 else [
        np.flatnonzero(groups.numbers == k) for k in range(groups.count)
    ]  # fmt: skip
    drawn: dict[str, list[float]] = {name: [] for name in names}
    metric = registry.load_target(spec)
    started = time.perf_counter()
    for done in range(RESAMPLES):
        if members:
            chosen = _chosen_groups(generator, members, labels if is_class else None)
        else:
            chosen = np.concatenate([generator.choice(places, len(places)) for places in parts])
        try:
            values = _values(spec, metric, probabilities[chosen], labels[chosen])
            for name in names:
                drawn[name].append(values[name])
        except Exception as error:
            logger.warning("metric %s has no intervals: %s: %s", spec.id, type(error).__name__, error)
            return {}
        seconds = time.perf_counter() - started
        # A metric that will take too long is left after a tenth of the time that it may take.
        if seconds > MOST_SECONDS / 10 and seconds * RESAMPLES > MOST_SECONDS * (done + 1):
            logger.warning("metric %s has no intervals: %d draws took %.1f s", spec.id, done + 1, seconds)
            return {}
    return {name: np.array(values) for name, values in drawn.items() if np.isfinite(values).all()}


def _chosen_groups(
    generator: np.random.Generator, members: Sequence[NDArray[np.int64]], labels: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Return the images of as many groups as there are, drawn with replacement, with an image of every class.

    Args:
        generator: Generator of the draws.
        members: Images of each group.
        labels: [N] classes; None for truths, which are not classes.
    """
    kinds = 0 if labels is None else len(np.unique(labels))
    for _ in range(1000):
        chosen = np.concatenate([members[number] for number in generator.choice(len(members), len(members))])
        if labels is None or len(np.unique(labels[chosen])) == kinds:
            break
    return chosen


def metric_values(returned: Any, *, refused: list[str] | None = None) -> dict[str, float]:
    """Return what a metric returned as name -> value.

    Args:
        returned: Value that the metric returned.
        refused: List that gets a sentence on each value that is not a real number, if there is one that is; None
            refuses all together.

    Raises:
        TypeError: It is not a mapping from texts to real numbers.
        ValueError: A name is empty, too long or not printable, or there are too many values.
    """
    if not isinstance(returned, Mapping):
        raise TypeError(f"a metric must return a mapping from names to numbers, not {type(returned).__name__}")
    if len(returned) > MOST_VALUES:
        raise ValueError(f"a metric returns at most {MOST_VALUES:,} numbers")
    values = {}
    for key, value in returned.items():
        if not isinstance(key, str):
            raise TypeError(f"names of values must be texts, not {type(key).__name__}")
        name = str.__str__(key)
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise ValueError(f"the name {name[:LONGEST_NAME]!r} must have 1 to {LONGEST_NAME} printable characters")
        try:
            values[name] = _number(name, value)
        except TypeError as error:
            if refused is None:
                raise
            refused.append(str(error))
    if refused and not values:
        raise TypeError("; ".join(refused))
    return values


def _number(name: str, value: Any) -> float:
    """Return a real number: of Python, of NumPy, or a tensor without dimensions; not a text or a truth value.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"the value of {name} must be a real number, not {type(value).__name__}")
    return float(value)
