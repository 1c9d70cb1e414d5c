"""What a data set is made of. Equal recipes make equal images; the hash names the folder they are kept in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

SPLITS = ("train", "val", "test")


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def short_hash(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides what image i of a split looks like; how many images there are is not part of it.

    Args:
        dataset, dataset_version: the data set's id and version.
        params: its resolved parameters.
        simulator, simulator_version: the engine's id and version, or None for images that exist already.
        seed: another seed gives other images of the same kind.
        device_type: "cpu" or "cuda"; the noise of the two differs bit by bit.
    """

    dataset: str
    dataset_version: int
    params: Mapping[str, Any] = field(default_factory=dict)
    simulator: str | None = None
    simulator_version: int | None = None
    seed: int = 0
    device_type: str = "cpu"

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `Recipe(**recipe.to_json())` gives the recipe back."""
        plain = {recipe_field.name: getattr(self, recipe_field.name) for recipe_field in fields(self)}
        return plain | {"params": dict(self.params)}

    @property
    def hash(self) -> str:
        """16 hex digits that name this recipe."""
        return short_hash(self.to_json())

    def stream(self, split: str) -> str:
        """Return the name of a split's random numbers.

        It leaves out parameters and simulator: the same data set under another prior, or rendered by another
        engine, holds the same scenes otherwise, and can be compared image by image.
        """
        return f"{self.dataset}/{self.dataset_version}/{self.seed}/{split}"
