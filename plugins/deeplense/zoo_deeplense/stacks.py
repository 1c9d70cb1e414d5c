"""Files that hold many images each, with an array of their labels or masses beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.image_file import LEAST_SIDE, Unreadable, read_npy
from zoo.errors import DataError

MOST_FILES = 12
"""Files of a folder that are looked into; folders of single images hold more."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Images in one array, and a number for each.

    Args:
        images: Name of the file of images [N, C, H, W], [N, H, W], [N, H, W, C] or, in batches, [B, N, C, H, W].
        count: N.
        numbers: Label or mass of each image, [N], of an array [N], [N, 1] or, beside batches, [B, N]; None without an
            array beside it.
    """

    images: str
    count: int
    numbers: NDArray[np.float64] | None


def rows_of(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return the images of an array as [N, ...], or None where it is one image, or none."""
    shape = array.shape
    if array.ndim == 5:
        array, shape = array.reshape(-1, *shape[2:]), (shape[0] * shape[1], *shape[2:])
    sides = [length for length in shape[1:] if length >= LEAST_SIDE]
    # [N, H, W]; three to four rows could be the channels of one image.
    several = array.ndim == 4 or (array.ndim == 3 and shape[0] > 4 and min(shape[1:]) >= LEAST_SIDE)
    return array if several and len(sides) >= 2 and shape[0] > 0 else None


def find_stacks(folder: Path, names: Sequence[str]) -> tuple[list[Stack], list[str]]:
    """Return the stacks among the .npy files of a folder, and the names of the files of numbers.

    A folder of single images has no stacks. Labels are those of the array with as many numbers; of several, of that
    whose name shares most words with the images' name, such as train in x_train.npy and y_train.npy.

    Raises:
        DataError: The numbers of a stack cannot be told from others.
    """
    if len(names) > MOST_FILES:
        return [], []
    arrays: dict[str, NDArray[Any]] = {}
    for name in names:
        try:
            arrays[name] = read_npy(folder / name).array
        except (OSError, Unreadable, ValueError):
            continue  # named where the file is read
    stacks = {name: rows for name, array in arrays.items() if (rows := rows_of(array)) is not None}
    batches = {array.shape[:2] for array in arrays.values() if array.ndim == 5}
    lists = {name: array.reshape(-1) for name, array in arrays.items()
             if array.ndim == 1 or (array.ndim == 2 and (1 in array.shape or array.shape in batches))}  # fmt: skip
    found = []
    for name, rows in stacks.items():
        fitting = {other: values for other, values in lists.items() if len(values) == len(rows)}
        shared = {other: len(_words(name) & _words(other)) for other in fitting}
        best = [other for other, count in shared.items() if count == max(shared.values())]
        if len(best) > 1:
            raise DataError(
                f"{folder / name}: {' and '.join(sorted(best))} hold {len(rows):,} numbers each; which are its labels?",
                hint="Leave one of them in the folder, or name them as images_train.npy and labels_train.npy.",
            )
        found.append(
            Stack(images=name, count=len(stacks[name]), numbers=fitting[best[0]].astype(np.float64) if best else None)
        )
    return found, [*lists]


def labels_of(stack: Stack, folder: Path, *, classes: int) -> list[int]:
    """Return the labels of a stack.

    Raises:
        DataError: There are none, or they are not whole numbers from 0.
    """
    numbers = stack.numbers
    if numbers is None:
        raise DataError(
            f"{folder / stack.images} holds several images, and no array beside it holds as many labels.",
            hint="Put it into a folder of its class, or save an array [N] of labels 0, 1, 2 beside it.",
        )
    if not np.isin(numbers, np.arange(classes)).all():
        wrong = numbers[~np.isin(numbers, np.arange(classes))][0]
        raise DataError(
            f"{folder / stack.images}: the array beside it holds {wrong:g}, not labels from 0 to {classes - 1}.",
            hint="Masses of axions belong beside the images in the folder of their class.",
        )
    return [int(number) for number in numbers]


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+|[0-9]+", Path(name).stem.lower()))
