"""New noise in every epoch: training images are stored without noise, and exposed anew each time they are used.

A network that is trained on an image many times memorises its noise, which a telescope would never repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from zoo.data.loader import Batches
from zoo.data.part import BatchPart
from zoo.data.split import Split
from zoo.data.truth import PREFIX
from zoo.lensing.draws import Draws, stable_hash
from zoo.lensing.noise import poisson

ENDLESS = 10**9
"""Number of exposures that a training will draw, for `zoo.lensing.noise.poisson`: many."""


class NewNoise(Batches):
    """Batches of noiseless images (`Recipe.noiseless`), exposed anew in every epoch.

    On a CPU, the noise of an image depends on seed, epoch and image alone. On a GPU it is drawn for a batch at once,
    and depends also on the other images of the batch.

    Args:
        split: Noiseless images and their scenes, whose exposure is used.
        device: Device that receives the batches.
        seed: Seed of the training.
        resident: Whether all images are kept on the device; None decides by free memory.
    """

    def __init__(self, split: Split, *, device: torch.device, seed: int, resident: bool | None = None) -> None:
        super().__init__(split, device=device, resident=resident)
        seconds, sky = (
            torch.as_tensor(split.truth[f"{PREFIX}exposure.{name}"], dtype=torch.float32, device=device)
            for name in ("seconds", "sky")
        )
        self._seconds, self._sky = seconds[:, None, None, None], sky[:, None, None, None]
        self._seed = seed
        self._draws = ""
        self._generator = torch.Generator(device)

    def epoch(
        self,
        number: int,
        batch_size: int,
        *,
        shuffle: torch.Generator | None = None,
        part: BatchPart | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images with the noise of this epoch, and labels; see `zoo.data.loader.Batches.epoch`."""
        self._draws = f"{self._seed}/{number}/noise"
        return super().epoch(number, batch_size, shuffle=shuffle, part=part, skip=skip)

    def gather(self, index: Tensor) -> Tensor:
        """Return exposed images [n, C, H, W] on the device; see `zoo.data.loader.Batches.gather`."""
        images = super().gather(index)
        places = index.to(self.device, non_blocking=True)
        seconds, sky = self._seconds[places], self._sky[places]
        mean = ((images + sky) * seconds).clamp(min=0)
        if self.device.type == "cpu":
            counts = _counts(mean, draws=self._draws, index=index.numpy())
        else:
            self._generator.manual_seed(stable_hash(f"{self._draws}/{int(index[0])}") >> 1)
            counts = torch.poisson(mean, generator=self._generator)
        return counts / seconds - sky


@dataclass(frozen=True, kw_only=True)
class Exposed(Split):
    """Noiseless training images of which `images_at` and `first` return images with noise, as a network sees them."""

    @classmethod
    def of(cls, split: Split) -> Exposed:
        """Return a split with the images of a noiseless one."""
        return cls(**{one.name: getattr(split, one.name) for one in fields(split)})

    def images_at(self, index: ArrayLike) -> NDArray[np.float32]:
        """Return a few images [n, C, H, W]; the noise of each depends on its place alone and is that of no epoch."""
        places = np.asarray(index, dtype=np.int64)
        images = torch.from_numpy(super().images_at(places))
        seconds, sky = (
            torch.as_tensor(self.truth[f"{PREFIX}exposure.{name}"][places], dtype=torch.float32)[:, None, None, None]
            for name in ("seconds", "sky")
        )
        mean = ((images + sky) * seconds).clamp(min=0)
        exposed: NDArray[np.float32] = (_counts(mean, draws="shown/noise", index=places) / seconds - sky).numpy()
        return exposed


def _counts(mean: Tensor, *, draws: str, index: NDArray[np.int64]) -> Tensor:
    """Return photon counts [n, 1, H, W] on the CPU, of each image from its own seed."""
    seeds = (Draws(draws, index).bits("noise")[:, 0] >> np.uint64(1)).tolist()
    return poisson(mean.flatten(0, 1), seeds=seeds, expected_images=ENDLESS).view_as(mean)  # one channel
