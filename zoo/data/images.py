"""Images in memory or mapped from disk, with labels, ids and one column per scene parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.recipe import SPLITS
from zoo.errors import DataError, nearest
from zoo.lensing.draws import stable_hash


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Labelled images that exist already: what the target of a `DatasetSpec` may return.

    Args:
        images: [N, C, H, W] float32; may be mapped from disk.
        labels: [N] integers from 0.
        ids: N texts, unique; they decide the split of images that carry none.
        split: N texts "train", "val" or "test", or None; images marked train may be used for validation.
        metadata: name -> [N], one column per parameter.

    Raises:
        DataError: lengths or shapes do not fit, an id occurs twice, or a split has another name.
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
                raise DataError(f"{name} has {len(values)} entries for {count} images.")
        if len(set(self.ids)) != count:
            raise DataError("ids must be unique: equal ids could put one image into two splits.")


def assign_splits(image_set: ImageSet, sizes: Mapping[str, int], *, seed: int) -> dict[str, NDArray[np.int64]]:
    """Return split -> image indices, at most the wanted sizes; no image is in two of them.

    Images without a split are ordered by a hash of (seed, id) and dealt out test first, then validation,
    then training, so a larger training set never changes the test set. Images that come with a split keep it,
    except that validation images are taken from the training part where none are marked. Where there are too
    few images for the wanted sizes, all sizes are reduced in proportion.

    Raises:
        DataError: a split would be empty.
    """
    keys = np.array([stable_hash(f"{seed}\0{name}") for name in image_set.ids], dtype=np.uint64)
    order = np.argsort(keys, kind="stable")
    marks = np.array(image_set.split if image_set.split is not None else ["" for _ in image_set.ids])
    pools = {split: order[marks[order] == split] for split in ("train", "val", "test")}
    free = order[marks[order] == ""]
    chosen: dict[str, NDArray[np.int64]] = {}
    if len(free):
        share = min(1.0, len(free) / sum(sizes.values()))
        start = 0
        for split in ("test", "val"):
            stop = start + int(sizes[split] * share)
            chosen[split] = free[start:stop]
            start = stop
        chosen["train"] = free[start : start + int(sizes["train"] * share)]
    else:
        chosen["test"] = pools["test"][: sizes["test"]]
        train = pools["train"]
        chosen["val"] = pools["val"][: sizes["val"]]
        if not len(pools["val"]):
            share = min(1.0, len(train) / (sizes["train"] + sizes["val"]))
            val_count = int(sizes["val"] * share)
            chosen["val"], train = train[:val_count], train[val_count:]
        chosen["train"] = train[: sizes["train"]]
    for split, indices in chosen.items():
        if not len(indices):
            raise DataError(f"The data set has no image for the split '{split}' ({len(keys)} images in all).")
    return chosen
