"""Contract of a network that fits itself, such as a closed form or a likelihood fit; it replaces the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from zoo.data.loader import Batches
from zoo.data.split import Split
from zoo.data.targets import target_values
from zoo.data.truth import UNKNOWN, CommonTruth
from zoo.errors import TrainingError
from zoo.lensing.instrument import Instrument
from zoo.specs import ModelSpec


class ImagesToFit:
    """Images and labels of the train or validation split, as they were stored: no normalisation, no augmentation.

    Args:
        split: The split.
        device: Device of the images and labels.
    """

    def __init__(self, split: Split, *, device: torch.device) -> None:
        self.name = split.name
        """Name of the split: "train" or "val"."""
        self.classes = split.classes
        """Names of the labels, in their order."""
        self.ids = tuple(split.ids)
        """Name of each image, unique in the data set."""
        self.image_shape = split.image_shape
        """Channels, height, width."""
        self._batches = Batches(split, device=device)
        self._parameters, self._truth = split.parameters, split.truth
        self.labels: Tensor = self._batches.labels
        """[N] labels, or [N, T] truths of a regression, on the device."""
        self.resident = self._batches.resident
        """Whether the images are held on the device, so that reading them twice costs little."""

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images [n, C, H, W] and labels [n], or truths [n, T], on the device, in the order of `ids`.

        Args:
            size: Number of images in a batch; the last one may be smaller.
        """
        return self._batches.batches(size)

    def truths(self, names: Sequence[str]) -> Tensor:
        """Return stored truths [N, T] of these images on the device, NaN where one is undefined.

        Args:
            names: T names, as `--task regress:NAME` takes them. A spec states the hyper-parameter that holds them
                (`ModelSpec.truths`), so that unknown names are refused before anything is simulated.

        Raises:
            UsageError: No such truth is stored, or it changes when the image is turned.
        """
        values = target_values(names, parameters=self._parameters, truth=self._truth)
        return torch.from_numpy(values).float().to(self.labels.device)


class FitProgress(Protocol):
    """Report of how far a fit is; an interruption of the run ends the fit from here."""

    def __call__(self, done: float, total: float, what: str = "fit") -> None:
        """Take the completed part and the total, in the same unit, and the name of the work."""


def silent(done: float, total: float, what: str = "fit") -> None:
    """Do nothing: a `FitProgress` for tests."""


@dataclass(frozen=True, kw_only=True)
class SplitsToFit:
    """Everything that a network may fit itself to. The test split is not part of it. Later versions may add fields.

    Args:
        train: Training images.
        val: Validation images: for choices such as a strength of regularisation.
        params: Parameters of the data set, such as "pixel_scale", "snr" or "exposure_seconds" of a population.
        instrument: Pixels and PSF of simulated images; None for others.
        common: Exposure, sky and parts of the lens that all simulated training images share, whatever the data set
            calls its parameters.
        recipe_hash: Hash of everything that decides the images; with a split's name and ids a key for a cache.
        seed: Seed of the fit; equal seeds give equal networks.
        progress: Function to call every second or more often, such as `progress(done, total, "fit")`.
    """

    train: ImagesToFit
    val: ImagesToFit
    params: Mapping[str, Any]
    instrument: Instrument | None
    recipe_hash: str
    seed: int
    progress: FitProgress = silent
    common: CommonTruth = UNKNOWN


@runtime_checkable
class FitsItself(Protocol):
    """A `torch.nn.Module` that fits itself: its `ModelSpec` states `fits_itself=True`.

    It may also have a method `fit_notes()` without arguments, which returns sentences for readers of a result, such as
    the number of images whose fit failed. It is called after all images of the run have been classified.
    """

    def fit_splits(self, splits: SplitsToFit) -> None:
        """Set the parameters and buffers in place; their names, shapes and types stay as they were built.

        Args:
            splits: Training and validation images, and what is known of them.
        """
        ...


def check_declared(network: nn.Module, spec: ModelSpec) -> None:
    """Compare a network with its spec.

    Raises:
        TrainingError: Only one of the two, spec or network, fits itself.
    """
    able = isinstance(network, FitsItself)
    if able and not spec.fits_itself:
        raise TrainingError(
            f"{spec.id} has a method fit_splits, but its spec does not state fits_itself=True.",
            hint="State it, or rename the method; see docs/plugins.md",
        )
    if spec.fits_itself and not able:
        raise TrainingError(
            f"{spec.id} is declared with fits_itself=True, but its network has no method fit_splits.",
            hint="See docs/plugins.md, 'A network that fits itself'",
        )
