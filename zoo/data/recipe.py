"""Recipe of a data set: everything that determines its images. Its hash names the folder in which they are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test"}
"""Adjectives of the images of a split."""
MOST_IMAGES = 100_000_000
"""Largest number of images of a split: the names of shards have six digits."""
FRESH = "fresh"
"""Name of the stream of fresh test images: they share no image with any split of any seed."""


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def differ(first: Any, second: Any) -> bool:
    """Whether two values make different recipes."""
    return canonical_json(first) != canonical_json(second)


def short_hash(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides what image i of a split looks like; how many images there are is not part of it.

    Args:
        dataset, dataset_version: Id and version of the data set.
        params: Resolved parameters of the data set.
        simulator, simulator_version: Simulator's id and version, or None for images that exist already.
        seed: Seed of the images; another seed gives other images of the same kind.
        device_type: "cpu" or "cuda"; the noise of the two differs bit by bit.
        content: Digests of files (`zoo.data.content`): parameter that is a path -> digest.
        code: Plugins that make the images: distribution -> version (with a digest of the code of an editable
            installation), or file -> digest. Without those of this project, where a change of the images raises the
            version of the data set or simulator.
        channels: Derived channels beside the image: id -> version of its spec, and of others' plugins their code as in
            `code`; empty for the image alone.
        commitment: Commitment to a hidden seed (`zoo.data.hidden`), which made the images in place of `seed`; "" where
            the seed is public.
        noiseless: Whether the images are the mean of all exposures, without noise.
    """

    dataset: str
    dataset_version: int
    params: Mapping[str, Any] = field(default_factory=dict)
    simulator: str | None = None
    simulator_version: int | None = None
    seed: int = 0
    device_type: str = "cpu"
    content: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    commitment: str = ""
    noiseless: bool = False
    channels: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `Recipe(**recipe.to_json())` gives the recipe back.

        Fields that came later are left out where they are empty, so that older hashes still hold.
        """
        plain = {recipe_field.name: getattr(self, recipe_field.name) for recipe_field in fields(self)}
        plain["params"] = dict(self.params)
        plain["channels"] = dict(self.channels)
        for name in ("content", "code", "commitment", "noiseless", "channels"):
            if not plain[name]:
                del plain[name]
        return plain

    def identity(self) -> dict[str, Any]:
        """Return what decides the images: as `to_json`, with digests in place of paths."""
        plain = self.to_json()
        plain["params"] |= plain.pop("content", {})
        return plain

    @property
    def hash(self) -> str:
        """16 hex digits that name this recipe."""
        return short_hash(self.identity())

    @property
    def plugins(self) -> tuple[str | None, ...]:
        """Ids of what makes the images: data set, simulator (or None), derived channels."""
        return (self.dataset, self.simulator, *sorted(self.channels))

    @property
    def of_image_alone(self) -> Recipe:
        """The recipe without derived channels."""
        return replace(self, channels={})

    def stream(self, split: str) -> str:
        """Return the name of a split's random numbers.

        It leaves out parameters and simulator: the same data set under another prior, or rendered by another
        engine, holds the same scenes otherwise, and can be compared image by image.
        """
        return f"{self.dataset}/{self.dataset_version}/{self.seed}/{split}"
