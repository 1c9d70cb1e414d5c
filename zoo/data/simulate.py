"""Makes images from their numbers: population -> simulator -> sky and noise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.channels import Channels
from zoo.data.drawn import check_scenes
from zoo.data.recipe import Recipe
from zoo.data.shards import SHARD_SIZE, DamagedShard, read_shard, shard_identity, shard_path
from zoo.data.truth import joined, truth_arrays
from zoo.errors import DataError, UsageError
from zoo.isolation import plugin_code
from zoo.lensing.draws import Draws
from zoo.lensing.observe import Observed, Rendered, observe
from zoo.lensing.pixels import render_fine, to_pixels
from zoo.lensing.scenes import Scenes, Sersic
from zoo.plurals import counted
from zoo.processor import one_torch_thread

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from zoo.lensing.population import Population

PIXELS_AT_A_TIME = {"cpu": 1 << 22, "cuda": 1 << 24}
"""Pixels in work at a time when a shard is made, at most: each batch has costs of its own, and threads wait at its end
for each other."""
FIRST_PIXELS = 1 << 18
"""Pixels of the first batches of a shard, on a CPU: the progress of slow simulators is seen in such steps."""
QUICK = 0.5
"""Seconds of a batch after which larger ones follow."""
DERIVED_AT_A_TIME = {"cpu": 32, "cuda": SHARD_SIZE}
"""Images whose derived channels are computed in one call: a GPU needs many to be busy, a progress bar few."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """All that it takes to make any image of a recipe. Image i does not depend on which others are made with it.

    Args:
        recipe: Recipe of the images.
        classes: Names of the labels.
        population, render: Targets that the recipe names.
        masses: `SimulatorSpec.masses` of the simulator.
        device: Device to render on.
        expected_images: Number of images that all processes will make in all, by which the simulator chooses how to
            work once and for all; two choices differ by rounding.
        channels: Derived channels beside the image; None for the image alone.
        without: Folder of the same images without derived channels, which are taken from there where it holds them.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    population: Population
    render: Callable[..., Any]
    device: str
    expected_images: int
    masses: tuple[str, ...] = ()
    channels: Channels | None = None
    without: Path | None = None

    def expose(self, split: str, indices: NDArray[np.int64]) -> tuple[Scenes, Observed]:
        """Return the scenes with these numbers, and images [n, H, W] of them on the device.

        Args:
            split: Split, which names the stream of random numbers.
            indices: [n].

        Raises:
            DataError: The population or the simulator breaks its contract.
            UsageError: A parameter is impossible.
        """
        stream = self.recipe.stream(split)
        with plugin_code(self.recipe.dataset, "sample", may_take_long=True):
            scenes = self.population.sample(indices, stream)
        try:
            check_scenes(scenes, len(indices))
        except (TypeError, ValueError) as error:
            raise DataError(f"{self.recipe.dataset}: {error}.") from error
        if len(scenes.label) and not 0 <= scenes.label.min() <= scenes.label.max() < len(self.classes):
            raise DataError(
                f"{self.recipe.dataset} drew labels from {scenes.label.min()} to {scenes.label.max()} "
                f"for {counted(len(self.classes), 'class')}."
            )
        return scenes, self.observe(split, indices, scenes)

    def observe(self, split: str, indices: NDArray[np.int64], scenes: Scenes) -> Observed:
        """Return images [n, H, W] of scenes on the device, with the noise of these numbers.

        Args:
            split: Split, which names the stream of random numbers.
            indices: [n].
            scenes: Scenes, drawn or read from a record with `Split.scenes`.

        Raises:
            DataError: The simulator breaks its contract.
            UsageError: A scene cannot be rendered or exposed.
        """
        rendered = render_fine(
            self.render, scenes, self.population.instrument, simulator=str(self.recipe.simulator), masses=self.masses,
            device=self.device, expected_images=self.expected_images,
        )  # fmt: skip

        # torch would divide every operation between its threads, which wait for each other: beside another busy process
        # for milliseconds. Only the noise takes long, and its threads share whole images.
        with one_torch_thread() as threads:
            pixels = to_pixels(rendered, self.population.instrument, sub_pixels=self.population.instrument.sub_pixels)
            # Before the noise: a Poisson draw with a rate of NaN fails, on CUDA for the rest of the process.
            if len(bad := np.flatnonzero(_unusable(pixels.rendered))):
                raise UsageError(
                    f"Image {indices[bad[0]]} of split {split} of {self.recipe.dataset} as "
                    f"{self.recipe.simulator} renders it is not finite, negative, or shows no source."
                )
            return observe(
                pixels.rendered, scenes.exposure, draws=Draws(self.recipe.stream(split), indices),
                reference=pixels.brightest, expected_images=self.expected_images, noiseless=self.recipe.noiseless,
                threads=threads,
            )  # fmt: skip

    def arrays(
        self,
        split: str,
        indices: NDArray[np.int64],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return images and all that is stored beside them.

        Args:
            split: Split, which names the stream of random numbers.
            indices: [n], at least one.
            progress: Function called with the images that are done.

        Returns:
            "image" [n, C, H, W] float32, "label" [n], "parameter.NAME" [n] of every parameter, and "truth.NAME", see
            `zoo.data.truth`.
        """
        size = self.population.instrument.image_size
        images = np.empty((len(indices), 1, size, size), np.float32)
        columns: list[dict[str, NDArray[Any]]] = []
        truths: list[dict[str, NDArray[Any]]] = []
        fine = self.population.instrument.divided().image_size
        most = max(1, PIXELS_AT_A_TIME.get(self.device, PIXELS_AT_A_TIME["cpu"]) // fine**2)
        step = most if self.device == "cuda" else min(most, max(1, FIRST_PIXELS // fine**2))
        start = 0
        while start < len(indices):
            began = time.perf_counter()
            chosen = slice(start, start + step)
            scenes, observed = self.expose(split, indices[chosen])
            images[chosen, 0] = observed.image.cpu().numpy()
            columns.append(_columns(scenes, observed))
            truths.append(truth_arrays(scenes))
            start = min(chosen.stop, len(indices))
            if time.perf_counter() - began < QUICK:
                step = most
            if progress is not None and self.channels is None:  # else deriving them takes nearly all the time
                progress(start)
        beside = {name: np.concatenate([batch[name] for batch in columns]) for name in columns[0]}
        return {"image": self._with_channels_beside(images, progress), **beside, **joined(truths)}

    def shard(
        self, split: str, number: int, *, progress: Callable[[int], None] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return the content of shard `number` of a split."""
        if (stored := self._without_channels(split, number)) is not None:
            return {**stored, "image": self._with_channels_beside(stored["image"], progress)}
        return self.arrays(split, np.arange(number * SHARD_SIZE, (number + 1) * SHARD_SIZE), progress=progress)

    @property
    def image_channels(self) -> int:
        """Channels of an image, derived ones included."""
        return 1 + (0 if self.channels is None else len(self.channels))

    def with_channels(self, images: Tensor) -> Tensor:
        """Return images [n, 1, H, W] with the derived channels of the recipe.

        Raises:
            DataError: A channel fails, or is not one finite number for each pixel; the error names it.
        """
        if self.channels is None:
            return images
        complete = self.channels.beside(images)
        self.channels.require_finite(complete)
        return complete

    def _without_channels(self, split: str, number: int) -> dict[str, NDArray[Any]] | None:
        """Return a shard of the same images without derived channels, if it is stored."""
        if self.channels is None or self.without is None:
            return None
        identity = shard_identity(self.recipe.of_image_alone, split, number)
        try:
            return read_shard(shard_path(self.without / split, number), identity=identity)
        except (FileNotFoundError, DamagedShard):
            return None

    def _with_channels_beside(
        self, images: NDArray[np.float32], progress: Callable[[int], None] | None
    ) -> NDArray[np.float32]:
        """Return images [n, 1, H, W] with the derived channels of the recipe, which are computed on the device."""
        if self.channels is None:
            return images
        import torch

        found = np.empty((len(images), self.image_channels, *images.shape[2:]), np.float32)
        step = DERIVED_AT_A_TIME.get(self.device, DERIVED_AT_A_TIME["cpu"])
        for start in range(0, len(images), step):
            some = torch.from_numpy(np.array(images[start : start + step])).to(self.device)
            complete = self.with_channels(some)
            if not start:
                self.channels.require_repeatable(complete)
            found[start : start + step] = complete.cpu().numpy()
            if progress is not None:
                progress(min(start + step, len(images)))
        return found

    def shard_bytes(self) -> int:
        """Return about how large the file of a shard is: pixels and columns, without the header."""
        scenes = self.population.sample(np.arange(SHARD_SIZE), self.recipe.stream("train"))
        columns = len(scenes.parameters) + len(COLUMNS) + 1
        truth = sum(values.nbytes for values in truth_arrays(scenes).values())
        pixels = self.image_channels * self.population.instrument.image_size**2
        return SHARD_SIZE * (4 * pixels + 8 * columns) + truth


COLUMNS = (
    "snr", "scale", "sky", "halo_einstein_radius", "source_x", "source_y", "source_effective_radius",
    "source_axis_ratio",
)  # fmt: skip
"""Parameters that are stored beside every image, whatever its population names; the last two of a Sersic source."""


def _columns(scenes: Scenes, observed: Observed) -> dict[str, NDArray[Any]]:
    """Return the label and the parameters that are stored beside an image."""
    columns = {
        **scenes.parameters,
        "snr": observed.snr.cpu().numpy(),
        "scale": observed.scale.cpu().numpy(),
        "sky": scenes.exposure.sky,
        "halo_einstein_radius": scenes.halo.einstein_radius,
        "source_x": scenes.source.x,
        "source_y": scenes.source.y,
    }
    if isinstance(scenes.source, Sersic):
        columns["source_effective_radius"] = scenes.source.effective_radius
        columns["source_axis_ratio"] = scenes.source.axis_ratio
    return {
        "label": scenes.label,
        **{f"parameter.{name}": np.asarray(values, np.float64) for name, values in columns.items()},
    }


def _unusable(rendered: Rendered) -> NDArray[np.bool_]:
    """Return [n] whether an image cannot be exposed; values below 0 by rounding alone are allowed."""
    low, high = _range(rendered.source)
    bad = ~(high > 0) | _broken(low, high)
    if rendered.lens_light is not None:
        bad |= _broken(*_range(rendered.lens_light))
    result: NDArray[np.bool_] = bad.cpu().numpy()
    return result


def _range(light: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the largest value of each image, NaN where any value is."""
    flat = light.flatten(1)
    return flat.amin(1), flat.amax(1)  # on a CPU, a twentieth of the time of `aminmax`


def _broken(low: Tensor, high: Tensor) -> Tensor:
    return ~(low.isfinite() & high.isfinite()) | (low < -1e-5 * high.abs())
