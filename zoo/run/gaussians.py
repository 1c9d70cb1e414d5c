"""Reads estimates of truths that other programs made: a mean with a standard deviation, or the ends of an interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from zoo.errors import UsageError
from zoo.plurals import counted
from zoo.run.predictions import Columns, check_columns, read_table

SIGMA = ("mean", "sigma")
ENDS = ("low", "high", "level")


def read_gaussians(path: Path, targets: Sequence[str]) -> tuple[tuple[str, ...], Columns]:
    """Return names and columns of a file: mean and sigma of each truth, or low, high and level of an interval.

    Of several truths, each name stands behind that of its truth and a point, such as "shear.mean". With ends alone, the
    mean is their middle; a column of means may stand beside them.

    Raises:
        UsageError: The file cannot be read, or has other columns.
        MissingError: A library for the format is not installed.
    """
    prefixes = [f"{name}." if len(targets) > 1 else "" for name in targets]
    columns = read_table(path, [prefix + name for prefix in prefixes for name in SIGMA])
    names: list[str] = []
    for prefix in prefixes:
        kind = ENDS if prefix + ENDS[0] in columns or prefix + ENDS[1] in columns else SIGMA
        names += [prefix + name for name in kind]
        if kind is ENDS and prefix + "mean" in columns:
            names.append(prefix + "mean")
    return tuple(names), check_columns(columns, names, path=path)


def as_gaussians(
    table: NDArray[np.float64], *, names: Sequence[str], ids: Sequence[str], path: Path
) -> NDArray[np.float64]:
    """Return means and logarithms of standard deviations [N, 2 T] of a table [N, columns] with these names.

    The width of an interval becomes that of the normal distribution whose central interval of the level is as wide.

    Raises:
        UsageError: A standard deviation is not positive, an interval has no width, or a level is not between 0 and 1.
    """
    of = dict(zip(names, table.T, strict=True))
    prefixes = dict.fromkeys(name[: len(name) - len(name.rpartition(".")[2])] for name in names)
    found = []
    for prefix in prefixes:
        if prefix + "sigma" in of:
            mean, sigma = of[prefix + "mean"], of[prefix + "sigma"]
            _refuse(sigma <= 0, f"{prefix}sigma is not positive", ids, path)
        else:
            low, high, level = (of[prefix + name] for name in ENDS)
            _refuse((level <= 0) | (level >= 1), f"{prefix}level is not between 0 and 1", ids, path)
            _refuse(low >= high, f"{prefix}low is not below {prefix}high", ids, path)
            mean = of.get(prefix + "mean", (low + high) / 2)
            sigma = (high - low) / (2 * ndtri(0.5 + level / 2))
        found += [mean, np.log(sigma)]
    return np.stack(found, 1)


def _refuse(wrong: NDArray[np.bool_], what: str, ids: Sequence[str], path: Path) -> None:
    """Refuse a table with wrong rows.

    Raises:
        UsageError: There is one; the error names the first image.
    """
    if wrong.any():
        first = ids[int(wrong.argmax())]
        raise UsageError(
            f"{path}: {what} in {int(wrong.sum())} of {counted(len(wrong), 'row')}; the first is {first!r}."
        )
