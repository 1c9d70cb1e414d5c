"""Opens a split of a data set, simulating what is not on disk yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo import provenance, registry
from zoo.data.about import all_params
from zoo.data.channels import Camera, camera_of, open_channels
from zoo.data.content import check_content
from zoo.data.folder import Shard, cache_folder, fill_folder, open_folder
from zoo.data.images import ImageSet, assign_splits, chunks_of
from zoo.data.question import Question, all_classes
from zoo.data.recipe import SPLIT_WORDS, Recipe
from zoo.data.shards import SHARD_SIZE
from zoo.data.share import WHOLE, Share
from zoo.data.simulate import Simulation
from zoo.data.split import Split, check_labels, from_shards
from zoo.errors import DataError, UsageError, nearest
from zoo.isolation import plugin_code
from zoo.lensing.population import Population
from zoo.plurals import counted
from zoo.specs import DatasetSpec, SimulatorSpec

if TYPE_CHECKING:
    from zoo.host import Host
    from zoo.lensing.instrument import Instrument

SimulationProgress = Callable[[str, int, int], None]


_USELESS = {
    "train": "a network cannot learn them",
    "val": "no AUC can choose an epoch",
    "test": "the AUC of the result is undefined",
}
_AT_A_TIME = 256


class Dataset:
    """A data set with resolved parameters, whose splits are opened one by one.

    Args:
        host: The plugins.
        recipe: Recipe of the images.
        sizes: Number of images of each split.
        folder: Folder that simulated images are only read from; default: the cache, which is filled.
        question: Labels of the images, and the images that may be trained on; None keeps all classes apart.
        train_seed: Seed of other training images than those of the recipe; None keeps these.
        new_noise: Whether the training images are without noise, which is drawn while a network trains.
        progress: Function called with split, images made, images to be made while it simulates.

    Raises:
        MissingError: The data set or the simulator cannot be loaded.
        UsageError: A parameter is impossible, or the seed of the images is hidden.
        DataError: Plugins or files have changed since the recipe was made.
    """

    def __init__(
        self,
        host: Host,
        recipe: Recipe,
        sizes: Mapping[str, int],
        *,
        folder: Path | None = None,
        question: Question | None = None,
        train_seed: int | None = None,
        new_noise: bool = False,
        progress: SimulationProgress | None = None,
    ) -> None:
        if recipe.commitment:  # its seed of 0 would give other images
            raise UsageError(
                f"The seed of these images of {recipe.dataset} is hidden; only its commitment is published.",
                hint="The holder of the seed gives it: --seed-file FILE",
            )
        self.recipe, self.sizes, self.folder, self.progress = recipe, dict(sizes), folder, progress
        self.spec = registry.find(host, DatasetSpec, recipe.dataset)
        self.train_seed, self.new_noise = train_seed, new_noise
        self.question = question or all_classes(self.spec)
        self._host = host
        check_code(host, recipe)
        check_content(recipe.params, self.spec.paths, recipe.content, what=self.spec.id)
        if unknown := [name for name in recipe.params if name not in self.spec.params]:  # recipes come from files, too
            raise DataError(
                f"The recipe of these images states {unknown[0]}, which is not a parameter of {self.spec.id}."
                f"{nearest(unknown[0], self.spec.params)}",
                hint=f"Its parameters: zoo show {self.spec.id}",
            )
        build = registry.load_target(self.spec)
        with plugin_code(self.spec.id, "the images", may_take_long=True):
            self._content = build(**all_params(self.spec, recipe.params))
        if not isinstance(self._content, (ImageSet, Population)):
            raise DataError(
                f"{self.spec.id} returned a {type(self._content).__name__}; "
                "a data set is a Population (with `instrument` and `sample`) or an ImageSet."
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width; available before an image is simulated."""
        if isinstance(self._content, ImageSet):
            channels, height, width = self._content.images.shape[1:]
            return channels, height, width
        size = self._content.instrument.image_size
        return 1 + len(self.recipe.channels), size, size

    @property
    def camera(self) -> Camera | None:
        """Camera that derived channels are computed for; None without such channels."""
        if not self.recipe.channels or isinstance(self._content, ImageSet):
            return None
        return camera_of(self._content, self.recipe.stream("train"))

    @property
    def instrument(self) -> Instrument | None:
        """Instrument of simulated images; None for images that exist already."""
        return None if isinstance(self._content, ImageSet) else self._content.instrument

    def recipe_of(self, name: str) -> Recipe:
        """Return the recipe of a split's images."""
        if name != "train":
            return self.recipe
        seed = self.recipe.seed if self.train_seed is None else self.train_seed
        return replace(self.recipe, seed=seed, noiseless=self.new_noise)

    def simulation(self, *, expected_images: int, split: str = "") -> Simulation:
        """Return what makes the images.

        Args:
            expected_images: Number of images that will be made in all.
            split: "train" for the training images, also of a stream.

        Raises:
            UsageError: The images exist already.
            MissingError: The simulator is absent.
        """
        if isinstance(self._content, ImageSet) or self.recipe.simulator is None:
            raise UsageError(
                f"{self.spec.id} is a set of existing images; it cannot be simulated.",
                hint="See which data sets are simulated: zoo list-datasets",
            )
        engine = registry.find(self._host, SimulatorSpec, self.recipe.simulator)
        recipe, camera, channels, without = self.recipe_of(split), self.camera, None, None
        if camera is not None:
            channels = open_channels(self._host, recipe.channels, camera, of=self.spec.id)
            without = cache_folder(recipe.of_image_alone)
        return Simulation(
            recipe=recipe,
            channels=channels,
            without=without,
            classes=self.spec.classes,
            population=self._content,
            render=registry.load_target(engine),
            masses=engine.masses,
            device=self.recipe.device_type,
            expected_images=expected_images,
        )

    def check(self, name: str) -> None:
        """Check that a split can be scored: it shows every class, and its pixels are finite.

        Nothing is simulated and no `Split` is opened: labels of scenes are drawn, and the simulation checks its images
        by itself. So the test split can be checked before a training that must not see it.

        Args:
            name: "train", "val" or "test".

        Raises:
            DataError: A class is missing, a label is not one of a class, or an image contains values that are not
                finite; the error names it.
        """
        content, classes = self._content, self.question.classes
        if isinstance(content, ImageSet):
            index = np.sort(self._splits(content, self.sizes)[name])
            images = len(index)
            labels = np.asarray(content.labels)[index]
            _check_pixels(content, index, f"{self.spec.id}: the {SPLIT_WORDS[name]} images")
        else:
            images = self.sizes[name]
            labels = _first_labels(content, self.recipe_of(name).stream(name), images, classes=self.spec.classes)
        check_labels(name, labels, self.spec.classes)
        present = set(self.question.labels(labels).tolist())
        if missing := [classes[k] for k in self.question.of_split(name) if k not in present]:
            raise DataError(
                f"{self.spec.id}: the {images} {SPLIT_WORDS[name]} images show no {' and no '.join(missing)}: "
                f"{'no loss can choose an epoch' if self.question.trained_on and name == 'val' else _USELESS[name]}.",
                hint=self._more_images(name, images, missing),
            )

    def _more_images(self, name: str, images: int, missing: Sequence[str]) -> str:
        """Return what gives a split images of the classes that it does not show."""
        content, enough = self._content, 500
        if not isinstance(content, ImageSet):
            return f"Try: --set {name}_images={max(enough, 2 * images)}"
        whole = self._splits(content, dict.fromkeys(self.sizes, len(content.ids)))[name]
        kinds = np.asarray(self.question.classes)[self.question.labels(np.asarray(content.labels))]
        found = [np.flatnonzero(kinds[whole] == kind) for kind in missing]
        if all(map(len, found)):
            least = max(int(places[0]) + 1 for places in found)
            return f"Try: --set {name}_images={max(least, min(enough, len(whole)))}"
        there = f"Of the {counted(len(kinds), 'image')} of the data set, "
        if absent := [kind for kind in missing if kind not in kinds]:
            return f"{there}none shows {' or '.join(absent)}: check the labels, or add images."
        return f"{there}{len(whole)} can be {SPLIT_WORDS[name]} images: add images of {' and '.join(missing)}."

    def split(self, name: str) -> Split:
        """Return a split, "train", "val" or "test", with the labels of the question."""
        return self.question.apply(self._split(name))

    def block_sizes(self, name: str) -> list[int]:
        """Return the number of images of each block of a split.

        A block is one file of simulated images, before the question leaves out some of them, or as many others.
        """
        if isinstance(self._content, ImageSet):
            return [len(rows) for rows in _rows_of_blocks(self.split(name))]
        images = self.sizes[name]
        return [min(SHARD_SIZE, images - start) for start in range(0, images, SHARD_SIZE)]

    def blocks(self, name: str, share: Share) -> Iterator[tuple[int, Split]]:
        """Yield the blocks of a share of a split: number and images, with the labels of the question.

        Only these are simulated where they are missing. Blocks without an image are left out.
        """
        if isinstance(self._content, ImageSet):
            split = self.split(name)
            rows = _rows_of_blocks(split)
            for number in range(share.machine, len(rows), share.of):
                yield number, split.select(rows[number])
            return
        sizes = self.block_sizes(name)
        for number, shard in zip(share.numbers(self.sizes[name]), self._shards(name, share), strict=True):
            first = number * SHARD_SIZE
            images = from_shards(
                name, self.spec.classes, [shard], sizes[number], first=first, grouped_by=self.spec.image_groups
            )
            block = self.question.apply(images)
            if len(block):
                yield number, block

    def _splits(self, content: ImageSet, sizes: Mapping[str, int]) -> dict[str, NDArray[np.int64]]:
        """Return split -> positions of its images, at most as many as wanted, in the order in which they are taken."""
        return assign_splits(content, sizes, seed=self.recipe.seed, train_seed=self.train_seed)

    def _split(self, name: str) -> Split:
        content = self._content
        if isinstance(content, ImageSet):
            # In the order of a hash and not of the file, which may hold one class after the other: where some images
            # serve for all, they are the first ones.
            index = self._splits(content, self.sizes)[name]
            return Split(
                name=name,
                classes=self.spec.classes,
                chunks=chunks_of(content.images, index),
                labels=np.asarray(content.labels)[index],
                ids=[content.ids[i] for i in index],
                parameters={key: np.asarray(values)[index] for key, values in content.metadata.items()},
                grouped_by=self.spec.image_groups,
            )
        return from_shards(
            name, self.spec.classes, self._shards(name), self.sizes[name], grouped_by=self.spec.image_groups
        )

    def _shards(self, name: str, share: Share = WHOLE) -> list[Shard]:
        """Return the shards of a share of a split of simulated images; the missing ones are made in the cache."""
        images, report = self.sizes[name], self.progress
        if self.folder is not None:
            shards = open_folder(self.folder, self.recipe_of(name), name, images)
            return [shards[number] for number in share.numbers(images)]
        return fill_folder(
            self.simulation(expected_images=sum(self.sizes.values()), split=name),
            name,
            images,
            share=share,
            progress=None if report is None else lambda done, total: report(name, done, total),
        ).shards


def check_code(host: Host, recipe: Recipe) -> None:
    """Compare the plugins that a recipe was made for with those that are loaded.

    Raises:
        DataError: Another version, or another content of a plugin file.
    """
    now = provenance.image_code(host, recipe.dataset, recipe.simulator)
    for name in sorted({*now, *recipe.code}):
        if now.get(name) != recipe.code.get(name):
            raise DataError(
                f"The images of {recipe.dataset} were planned with {name} {recipe.code.get(name, '(not stated)')}; "
                f"loaded is {now.get(name, 'nothing of this name')}.",
                hint="Plan it again: repeat the command that made the plan.",
            )


def _check_pixels(content: ImageSet, index: NDArray[np.int64], what: str) -> None:
    """Check that images are finite, a few at a time.

    Raises:
        DataError: An image contains values that are not finite; the error names it.
    """
    for start in range(0, len(index), _AT_A_TIME):
        some = index[start : start + _AT_A_TIME]
        finite = np.isfinite(np.asarray(content.images[some])).all((1, 2, 3))
        if not finite.all():
            first = some[int(np.argmin(finite))]
            raise DataError(f"{what} hold values that are not finite; the first is image {content.ids[first]}.")


def _rows_of_blocks(split: Split) -> list[NDArray[np.int64]]:
    """Return the places of the images of each block of existing images; no block has images of two chunks."""
    starts = np.cumsum([0] + [len(chunk) for chunk in split.chunks])
    return [
        np.arange(start, min(start + SHARD_SIZE, end))
        for first, end in pairwise(starts.tolist())
        for start in range(first, end, SHARD_SIZE)
    ]


def _first_labels(population: Population, stream: str, images: int, *, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the labels of a split's first images: as many as show every class, or all."""
    labels = np.zeros(0, np.int64)
    for start in range(0, images, _AT_A_TIME):
        more = population.sample(np.arange(start, min(start + _AT_A_TIME, images)), stream).label
        labels = np.concatenate([labels, np.asarray(more)])
        if len(np.unique(labels)) >= len(classes):
            break
    return labels
