"""Groups of images that are not independent of each other, such as those that show the same galaxy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.paths import parse_json


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageGroups:
    """Groups of N images whose scores are not independent.

    Args:
        name: Name of what the images of a group share: a stored parameter, such as "galaxy".
        numbers: [N] number of the group of each image: 0 to count - 1, each of which occurs.
    """

    name: str
    numbers: NDArray[np.int64]

    @classmethod
    def by(cls, name: str, values: NDArray[Any]) -> ImageGroups:
        """Return the groups of equal values [N]; an image whose value is NaN is a group of its own.

        Raises:
            DataError: The values are not one for each image.
        """
        if values.ndim != 1:
            raise DataError(f"Images cannot be grouped by {name}, which has the shape {values.shape}, not [N].")
        numbers = np.unique(values, return_inverse=True)[1].reshape(-1)
        if values.dtype.kind == "f" and (unknown := np.isnan(values)).any():
            numbers[unknown] = len(values) + np.arange(unknown.sum())
            numbers = np.unique(numbers, return_inverse=True)[1].reshape(-1)
        return cls(name=name, numbers=numbers.astype(np.int64))

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.numbers.max(initial=-1)) + 1

    @property
    def text(self) -> str:
        """The groups as a text, for a file of predictions."""
        return json.dumps({"name": self.name, "numbers": self.numbers.tolist()})

    @classmethod
    def from_text(cls, text: str, *, images: int) -> ImageGroups:
        """Return the groups that `text` holds.

        Raises:
            DataError: They are not groups of this number of images.
        """
        try:
            content = parse_json(text)
            name, numbers = str(content["name"]), np.array(content["numbers"], dtype=np.int64)
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise DataError(f"The groups of images are damaged: {error}.") from error
        if numbers.shape != (images,):
            raise DataError(f"The groups of images are of shape {numbers.shape}, not ({images},).")
        return cls.by(name, numbers)
