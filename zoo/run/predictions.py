"""Reads predictions that other programs made: CSV, npz or parquet with an id and a probability of each class."""

from __future__ import annotations

import csv
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import MissingError, UsageError, nearest
from zoo.paths import regular_file
from zoo.plurals import counted

ID = "id"
TOLERANCE = 1e-3
"""Largest distance of the sum of an image's probabilities from 1; each image is divided by its sum."""
_SHOWN = 3
_LONGEST = 40
Columns = Mapping[str, Sequence[Any]]


def read_columns(path: Path, names: Sequence[str]) -> Columns:
    """Return the columns of a file, which are the id and those of these names: classes, or a score.

    Raises:
        UsageError: The file was not found, cannot be read, or has other columns.
        MissingError: A library for the format is not installed.
    """
    return check_columns(read_table(path, names), names, path=path)


def read_table(path: Path, names: Sequence[str]) -> Columns:
    """Return all columns of a file; `names` are those that an error states.

    Raises:
        UsageError: The file was not found, or cannot be read.
        MissingError: A library for the format is not installed.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path} is not one of {', '.join(READERS)}.{nearest(path.suffix, READERS)}", hint=_form(names)
        )
    try:
        return reader(regular_file(path))
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror or error}.") from error
    except MemoryError as error:
        raise UsageError(f"{path} is larger than the memory, or is damaged.", hint=_form(names)) from error


def check_columns(columns: Columns, names: Sequence[str], *, path: Path) -> Columns:
    """Return columns that are the id and those of these names.

    Raises:
        UsageError: One is missing, or another one is there.
    """
    wanted = [ID, *names]
    if missing := [name for name in wanted if name not in columns]:
        others = [name for name in columns if name not in wanted]
        words = f" It has {', '.join(repr(name[:_LONGEST]) for name in others[:8])}." if others else ""
        near = nearest(missing[0], others)
        raise UsageError(
            f"{path} has no column {', '.join(map(repr, missing))}.{words}{near}",
            hint=f"Rename it to {missing[0]!r}. {_form(names)}" if near else _form(names),
        )
    if unknown := [name for name in columns if name not in wanted]:
        raise UsageError(
            f"{path} has the column {unknown[0]!r}, which is not a class of the images.{nearest(unknown[0], names)}",
            hint=_form(names),
        )
    return columns


def match_rows(columns: Columns, *, names: Sequence[str], ids: Sequence[str], path: Path) -> NDArray[np.float64]:
    """Return predictions [N, K] in the order of the images; each image must have a row of finite numbers.

    Args:
        columns: Return value of `read_columns`.
        names: K names of the columns.
        ids: N ids of the images.
        path: Path of the file, for messages.

    Raises:
        UsageError: An id is missing, double or foreign, or a value is not a finite number; nothing is scored partly.
    """
    given = [_as_text(value) for value in columns[ID]]
    place = {name: row for row, name in enumerate(given)}
    if double := [name for name, times in Counter(given).items() if times > 1]:
        raise UsageError(f"{path} has more than one row for {_some(double, 'id')}.")
    known = set(ids)
    if foreign := [name for name in given if name not in known]:
        raise UsageError(
            f"{path}: {_some(foreign, 'id')} of {counted(len(given), 'row')} not found among the "
            f"{counted(len(ids), 'image')} of the test split.{nearest(foreign[0], ids)}",
            hint="ids.csv of `zoo data export` lists them; data set, --budget, --task and --set must be those of the "
            "images.",
        )
    if missing := [name for name in ids if name not in place]:
        raise UsageError(
            f"{path} has no prediction for {_some(missing, 'image')} of the {counted(len(ids), 'image')} of the test "
            "split.",
            hint="Nothing was scored: scores of a part of the images cannot be compared.",
        )
    table = np.stack([_numbers(columns[name], name, given, path) for name in names], 1)
    if (bad := ~np.isfinite(table)).any():
        row, k = (int(found[0]) for found in np.nonzero(bad))
        raise UsageError(
            f"{path}: {counted(int(bad.any(1).sum()), 'row')} with a value that is not finite; the first is "
            f"{names[k]}={table[row, k]:g} of {given[row]!r}."
        )
    return table[[place[name] for name in ids]]


def as_probabilities(
    table: NDArray[np.float64], *, names: Sequence[str], ids: Sequence[str], path: Path
) -> tuple[NDArray[np.float64], float]:
    """Return probabilities divided by their sum, and the largest distance of a sum from 1.

    Args:
        table: [N, K] values of the images.
        names: K names of the classes.
        ids: N ids of the images.
        path: Path of the file, for messages.

    Raises:
        UsageError: A value is not a probability, or the values of an image do not sum to 1.
    """
    # The largest of rounded probabilities may exceed 1 as far as their sum may.
    if (bad := (table < 0) | (table > 1 + TOLERANCE)).any():
        row, k = (int(found[0]) for found in np.nonzero(bad))
        raise UsageError(
            f"{path}: {counted(int(bad.any(1).sum()), 'row')} with a value that is not a probability from 0 to 1; the "
            f"first is {names[k]}={table[row, k]:g} of {ids[row]!r}.",
            hint="A network's logits become probabilities by softmax.",
        )
    sums = table.sum(1)
    errors = np.abs(sums - 1)
    if errors.max(initial=0.0) > TOLERANCE:
        row = int(errors.argmax())
        wrong = int((errors > TOLERANCE).sum())
        raise UsageError(
            f"{path}: the probabilities of {counted(wrong, 'image')} do not sum to 1 within {TOLERANCE:g}; those of "
            f"{ids[row]!r} sum to {sums[row]:.6g}.",
            hint="Divide each row by its sum, if the values are meant as relative probabilities.",
        )
    return table / sums[:, None], float(errors.max(initial=0.0))


def _form(names: Sequence[str]) -> str:
    return f"Columns: {', '.join([ID, *names])}; one row for each image."


def _some(names: Sequence[str], what: str) -> str:
    """Return "3 ids ('a', 'b', 'c')", or "9 ids ('a', 'b', 'c', ...)"."""
    shown = [repr(name) for name in names[:_SHOWN]]
    return f"{counted(len(names), what)} ({', '.join([*shown, *(['...'] if len(names) > _SHOWN else [])])})"


def _as_text(value: Any) -> str:
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()


def _numbers(values: Sequence[Any], name: str, ids: Sequence[str], path: Path) -> NDArray[np.float64]:
    """Return a column as numbers.

    Raises:
        UsageError: A value is not a number.
    """
    kind = np.asarray(values).dtype
    if kind.kind == "c":  # the imaginary parts would be dropped
        raise UsageError(f"{path}: {name} holds complex numbers.")
    if kind.kind not in "biufUSO":  # a date would count as a number
        raise UsageError(f"{path}: {name} holds values of the type {kind}, which are not real numbers.")
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        pass
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            numbers[row] = float(value)
        except (TypeError, ValueError):
            raise UsageError(
                f"{path}: {name}={_as_text(value)[:_LONGEST]!r} of {ids[row]!r} is not a number."
            ) from None
    return numbers


def _read_csv(path: Path) -> Columns:
    """Read columns of texts; a line of other length is named with its number.

    Raises:
        UsageError: The file is not a table, or a column stands in it twice.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte order mark
        reader = csv.reader(file)
        try:
            heading = [name.strip() for name in next(reader, [])]
            if other := [mark for mark in (";", "\t") if len(heading) == 1 and mark in heading[0]]:
                raise UsageError(
                    f"{path}: its columns are separated by {other[0]!r}; write commas, and points in numbers."
                )
            if any("\0" in name for name in heading):
                raise UsageError(f"{path} is not a text file.")
            if double := [name for name in heading if heading.count(name) > 1]:
                raise UsageError(f"{path} has the column {double[0]!r} twice.")
            rows = []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(heading):
                    raise UsageError(
                        f"{path}, line {reader.line_num}: {counted(len(row), 'value')} for "
                        f"{counted(len(heading), 'column')}."
                    )
                rows.append(row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise UsageError(f"{path}, line {reader.line_num + 1}: it is not a CSV file in UTF-8: {error}.") from error
    return {name: [row[k] for row in rows] for k, name in enumerate(heading)}


def _read_npz(path: Path) -> Columns:
    """Read arrays [N] named "id" and by class; the file needs no pickles.

    Raises:
        UsageError: The file is damaged, or its arrays are not columns of one length.
    """
    if not zipfile.is_zipfile(regular_file(path)):
        raise UsageError(f"{path} is not an npz file, or is damaged.")
    try:
        with np.load(regular_file(path), allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}.",
            hint='Save texts as such: np.savez(FILE, id=np.array(ids, dtype=str), **{"CLASS": probabilities, ...})',
        ) from error
    return _checked_lengths(path, columns)


def _read_parquet(path: Path) -> Columns:
    """Read the columns of a parquet file.

    Raises:
        MissingError: pyarrow is not installed.
        UsageError: The file is damaged.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingError(
            f"{path}: parquet needs pyarrow, which is not installed.",
            hint='Install it: pip install "lens-zoo[parquet]"',
        ) from error
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    return _checked_lengths(path, {name: table.column(name).to_pylist() for name in table.column_names})


def _checked_lengths(path: Path, columns: dict[str, Any]) -> Columns:
    for name, values in columns.items():
        if np.ndim(values) != 1:
            raise UsageError(
                f"{path}: {name} has the shape {np.shape(values)}; a column has one dimension.",
                hint="Save a column for each class, such as: np.savez(FILE, id=ids, **dict(zip(CLASSES, array.T)))",
            )
    if len(set(map(len, columns.values()))) > 1:
        words = ", ".join(f"{name} has {len(values):,}" for name, values in columns.items())
        raise UsageError(f"{path}: its columns have different lengths: {words}.")
    return columns


READERS: Mapping[str, Callable[[Path], Columns]] = {
    ".csv": _read_csv,
    ".npz": _read_npz,
    ".parquet": _read_parquet,
}
"""End of the name of a file -> function that reads its columns."""
