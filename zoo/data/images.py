"""Images in memory or mapped from disk, with labels, ids and one column per scene parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.recipe import SPLITS
from zoo.errors import DataError, nearest
from zoo.lensing.draws import stable_hash
from zoo.plurals import counted


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Labelled images that exist already: what the target of a `DatasetSpec` may return.

    Args:
        images: [N, C, H, W] float32; may be mapped from disk.
        labels: [N] integers from 0.
        ids: N texts, unique; they decide the split of images that carry none.
        split: N texts "train", "val" or "test", or None; images marked train may be used for validation.
        metadata: Stored parameters: name -> [N], one column per parameter.

    Raises:
        DataError: Lengths or shapes do not fit, an id occurs twice, or a split has another name.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    ids: Sequence[str]
    split: Sequence[str] | None = None
    metadata: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.ndim != 4:
            raise DataError(f"images must be [N, C, H, W], not of shape {tuple(self.images.shape)}.")
        columns = {"labels": self.labels, "ids": self.ids, **self.metadata}
        if self.split is not None:
            columns["split"] = self.split
            unknown = sorted({str(mark) for mark in self.split} - set(SPLITS))
            if unknown:
                raise DataError(
                    f"split holds {unknown[0]!r}, which is not one of {', '.join(SPLITS)}.{nearest(unknown[0], SPLITS)}"
                )
        for name, values in columns.items():
            if len(values) != count:
                raise DataError(f"{name} has {counted(len(values), 'entry')} for {counted(count, 'image')}.")
        if self.images.dtype != np.float32:
            raise DataError(f"images hold {self.images.dtype}, and must hold float32.")
        # Everything of a result is stored as numbers; found now, and not after the training.
        for name, values in {"labels": self.labels, **self.metadata}.items():
            kind = np.asarray(values).dtype
            if kind.kind not in ("iu" if name == "labels" else "biuf"):
                raise DataError(f"{name} holds {kind}, and must hold {'whole ' if name == 'labels' else ''}numbers.")
        if len(set(self.ids)) != count:
            raise DataError("ids must be unique: equal ids could put one image into two splits.")


@dataclass(frozen=True, kw_only=True)
class ListedImages:
    """Names of images that exist already: what the check of a `DatasetSpec` may return, so that a plan counts them.

    Args:
        ids, split: As those of the `ImageSet` that the target will return, in any order.
    """

    ids: Sequence[str]
    split: Sequence[str] | None = None


@dataclass(frozen=True)
class Rows:
    """Some rows of an array that stays on disk: only requested rows are read, and they are not kept.

    Args:
        array: [N, ...], mapped.
        index: [n] rows of it.
    """

    array: NDArray[np.float32]
    index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the rows together."""
        return (len(self.index), *self.array.shape[1:])

    @property
    def nbytes(self) -> int:
        """Of the rows together."""
        return math.prod(self.shape) * self.array.itemsize

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = np.asarray(self.array[self.index[key]])
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


ROWS_AT_A_TIME = 1024
"""Rows of a chunk that is mapped from disk, and images that are read or copied together."""


def chunks_of(images: NDArray[np.float32], index: NDArray[np.int64]) -> list[NDArray[np.float32] | Rows]:
    """Return the indexed images: copied where they lie in memory, left on disk where they are mapped from it."""
    if not isinstance(images, np.memmap):
        return [images[index]]
    return [Rows(images, index[start : start + ROWS_AT_A_TIME]) for start in range(0, len(index), ROWS_AT_A_TIME)]


TEST_FRACTION, VAL_FRACTION = 0.2, 0.1


def assign_splits(
    image_set: ImageSet | ListedImages, sizes: Mapping[str, int], *, seed: int, train_seed: int | None = None
) -> dict[str, NDArray[np.int64]]:
    """Return split -> image indices, at most the wanted sizes.

    Every image belongs to one split for ever, whatever sizes are wanted. Images that come with a split keep it.
    The others are ordered by a hash of (seed, id): the first fifth is for testing, the next tenth for validation,
    the rest for training. Where no image is marked for validation, the first tenth of the training part is.

    Args:
        image_set: Images and their ids.
        sizes: Split -> number of images.
        seed: Seed of the splits.
        train_seed: Seed of the choice among the images for training; None takes the first ones.

    Raises:
        DataError: A split would be empty.
    """
    keys = np.array([stable_hash(f"{seed}\0{name}") for name in image_set.ids], dtype=np.uint64)
    order = np.argsort(keys, kind="stable")
    marks = np.array(image_set.split if image_set.split is not None else ["" for _ in image_set.ids])
    pools = {split: order[marks[order] == split] for split in SPLITS}
    free = order[marks[order] == ""]
    if len(free):
        test_end = math.ceil(TEST_FRACTION * len(free))
        val_end = test_end + math.ceil(VAL_FRACTION * len(free))
        regions = {"test": free[:test_end], "val": free[test_end:val_end], "train": free[val_end:]}
        pools = {split: np.concatenate([pools[split], regions[split]]) for split in SPLITS}
    elif not len(pools["val"]):
        val_end = math.ceil(VAL_FRACTION * len(pools["train"]))
        pools |= {"val": pools["train"][:val_end], "train": pools["train"][val_end:]}
    if train_seed is not None:
        drawn = [stable_hash(f"train\0{train_seed}\0{image_set.ids[index]}") for index in pools["train"]]
        pools["train"] = pools["train"][np.argsort(np.array(drawn, dtype=np.uint64), kind="stable")]
    chosen = {split: pools[split][: sizes[split]] for split in SPLITS}
    for split, indices in chosen.items():
        if not len(indices):
            names = " and ".join(sorted(set(marks.tolist()) - {""}))
            raise DataError(
                f"The data set has no image for the split '{split}' ({counted(len(keys), 'image')} in all"
                + (f", marked {names})." if names else ")."),
                hint=f"Mark some as {split}; without marks, a hash of the ids decides." if names else "",
            )
    return chosen
