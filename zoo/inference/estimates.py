"""Estimates of stored truths in numbers for readers: a value and the ends of its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.models.target import Target
from zoo.scores.distributions import form_of

LEVELS = (0.68, 0.95)
"""Levels of the intervals."""


def estimate_names(targets: Sequence[Target]) -> tuple[str, ...]:
    """Return the names of the columns of `estimates`."""
    ends = [f"_{end}_{100 * level:.0f}" for level in LEVELS for end in ("low", "high")]
    return tuple(target.name + end for target in targets for end in ("", *ends))


def estimates(targets: Sequence[Target], answers: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean or median of each target and the ends of its intervals [N, 5 T], as `estimate_names` names them.

    Args:
        targets: T targets of the weights.
        answers: [N, T k] answers of the network.
    """
    each = np.asarray(answers, np.float64).reshape(len(answers), len(targets), -1)
    form = form_of(each.shape[2])
    columns = [form.middle(each), *(end for level in LEVELS for end in form.interval(each, level))]
    return np.stack(columns, 2).reshape(len(answers), -1)
