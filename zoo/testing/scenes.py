"""Arrays of scenes, compared bit by bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.lensing.scenes import Scenes
from zoo.testing.outcome import require


def arrays_of(value: Any, name: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield name and array of everything in scenes."""
    if dataclasses.is_dataclass(value):
        for one in dataclasses.fields(value):
            yield from arrays_of(getattr(value, one.name), f"{name}.{one.name}".strip("."))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from arrays_of(inner, f"{name}.{key}")
    elif isinstance(value, np.ndarray):
        yield name, value


def require_same(first: Scenes, second: Scenes, problem: str) -> None:
    """Compare two batches of scenes bit by bit, apart from the padding of masses.

    Raises:
        ConformanceError: An array differs; the error names it.
    """
    others = dict(arrays_of(second))
    for name, values in arrays_of(first):
        other = others.get(name)
        if other is not None and values.ndim == other.ndim == 2:  # padded to the largest number in the batch
            width = min(values.shape[1], other.shape[1])
            values, other = values[:, :width], other[:, :width]
        require(
            other is not None and np.array_equal(values, other, equal_nan=True),
            f"{problem}: {name} differs.",
            hint="Draw with zoo.lensing.draws.Draws(seed, indices), whose numbers have addresses.",
        )
