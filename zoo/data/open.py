"""Opens a split of a data set, simulating what is not on disk yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from zoo import registry
from zoo.data.images import ImageSet, assign_splits, pieces_of
from zoo.data.recipe import Recipe
from zoo.data.simulate import ensure_shards
from zoo.data.split import Split, from_shards
from zoo.errors import DataError
from zoo.lensing.population import Population
from zoo.specs import DatasetSpec, SimulatorSpec

if TYPE_CHECKING:
    from zoo.host import Host

SimulationProgress = Callable[[str, int, int], None]


class Dataset:
    """A data set with resolved parameters, whose splits are opened one by one.

    Args:
        host: the plugins.
        recipe: what it is made of.
        sizes: split -> images wanted.
        progress: called with split, images made, images to be made while it simulates.

    Raises:
        MissingError: the data set or the simulator cannot be loaded.
        UsageError: a parameter is impossible.
    """

    def __init__(
        self,
        host: Host,
        recipe: Recipe,
        sizes: Mapping[str, int],
        *,
        progress: SimulationProgress | None = None,
    ) -> None:
        self.recipe, self.sizes, self.progress = recipe, dict(sizes), progress
        self.spec = registry.find(host, DatasetSpec, recipe.dataset)
        self._content = registry.load_target(self.spec)(**recipe.params)
        self._render = None
        if recipe.simulator is not None:
            self._render = registry.load_target(registry.find(host, SimulatorSpec, recipe.simulator))
        if not isinstance(self._content, (ImageSet, Population)):
            raise DataError(
                f"{self.spec.id} returned a {type(self._content).__name__}; "
                "a data set is a Population (with `instrument` and `sample`) or an ImageSet."
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width; known before an image is simulated."""
        if isinstance(self._content, ImageSet):
            channels, height, width = self._content.images.shape[1:]
            return channels, height, width
        size = self._content.instrument.image_size
        return 1, size, size

    def split(self, name: str) -> Split:
        """Return a split: "train", "val" or "test"."""
        content = self._content
        if isinstance(content, ImageSet):
            index = np.sort(assign_splits(content, self.sizes, seed=self.recipe.seed)[name])
            return Split(
                name=name,
                classes=self.spec.classes,
                pieces=pieces_of(content.images, index),
                labels=np.asarray(content.labels)[index],
                ids=[content.ids[i] for i in index],
                parameters={key: np.asarray(values)[index] for key, values in content.metadata.items()},
            )
        report = self.progress
        shards = ensure_shards(
            self.recipe,
            name,
            self.sizes[name],
            population=content,
            render=self._render,  # type: ignore[arg-type]
            device=self.recipe.device_type,
            expected_images=sum(self.sizes.values()),
            progress=None if report is None else lambda done, total: report(name, done, total),
        )
        return from_shards(name, self.spec.classes, shards, self.sizes[name])
