"""Scores that plugins add to those of the core."""

from __future__ import annotations

import logging
import math
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor

from zoo import registry
from zoo.errors import TrainingError
from zoo.isolation import plugin_code
from zoo.specs import MetricSpec
from zoo.tasks.task import Task

if TYPE_CHECKING:
    from zoo.host import Host

logger = logging.getLogger(__name__)

LONGEST_NAME, MOST_VALUES = 100, 1_000
"""Characters of the name of a value, and values of a metric."""


def plugin_metrics(host: Host, logits: Tensor, labels: Tensor, *, task: Task) -> dict[str, dict[str, float]]:
    """Return id -> values of the metrics that plugins add; one that fails is logged and left out.

    Args:
        host: The plugins.
        logits: Predictions [N, K].
        labels: [N].
        task: Task of the predictions; only metrics that take them are computed.

    Raises:
        TrainingError: A value is not a finite number.
    """
    extra: dict[str, dict[str, float]] = {}
    for spec in host.specs_of(MetricSpec):
        if task.name not in cast(MetricSpec, spec).tasks:
            continue
        try:
            # Arrays of its own: a metric that sorts them in place changes no other's.
            metric = registry.load_target(spec)
            with plugin_code(spec.id, f"the metric {spec.name}", may_take_long=True):
                extra[spec.id] = metric_values(metric(task.for_metrics(logits.numpy()), labels.numpy().copy()))
        except Exception:
            logger.warning("metric %s failed", spec.id, exc_info=True)
            continue
        if bad := [f"{name}={value}" for name, value in extra[spec.id].items() if not math.isfinite(value)]:
            raise TrainingError(
                f"The metric {spec.id} is not finite for the test images: {', '.join(bad)}.",
                hint=f"The training is kept. Leave the metric's plugin out: ZOO_DISABLE_PLUGINS={spec.namespace}",
            )
    return extra


def metric_values(returned: Any) -> dict[str, float]:
    """Return what a metric returned as name -> value.

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
        values[name] = _number(name, value)
    return values


def _number(name: str, value: Any) -> float:
    """Return a real number: of Python, of NumPy, or a tensor without dimensions; a text or a truth value is none.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"the value of {name} must be a real number, not {type(value).__name__}")
    return float(value)
