"""Types of the targets of specs, for authors whose type checker should compare their code with the contracts.

from zoo.targets import BuildsNetwork

build: BuildsNetwork = my_build
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from zoo.data.channels import Camera
    from zoo.data.images import ImageSet
    from zoo.lensing.instrument import Instrument
    from zoo.lensing.observe import Rendered
    from zoo.lensing.population import Population
    from zoo.lensing.scenes import Scenes
    from zoo.run.launcher import Launcher


class BuildsNetwork(Protocol):
    """Target of a `ModelSpec`, called with `in_chans`, `num_classes`, `image_size` and its hyper-parameters by name.

    mypy cannot state some names beside any others; `zoo check` compares them.
    """

    def __call__(self, *args: Any, **hparams: Any) -> nn.Module:
        """Return a network that maps images [N, in_chans, H, W] to predictions [N, num_classes]."""
        ...


class BuildsData(Protocol):
    """Target of a `DatasetSpec`."""

    def __call__(self, *args: Any, **params: Any) -> ImageSet | Population:
        """Return images that exist, or a population where the spec states `simulated=True`."""
        ...


class Renders(Protocol):
    """Target of a `SimulatorSpec`."""

    def __call__(self, scenes: Scenes, instrument: Instrument, *, device: str, expected_images: int) -> Rendered:
        """Return noiseless, PSF-convolved images of scenes."""
        ...


class ComputesChannel(Protocol):
    """Target of a `ChannelSpec`."""

    def __call__(self, images: Tensor, camera: Camera, *args: Any, **arguments: Any) -> Tensor:
        """Return [n, H, W] for images [n, C, H, W]."""
        ...


class StartsLauncher(Protocol):
    """Target of a `LauncherSpec`."""

    def __call__(self, *args: Any, **options: Any) -> Launcher:
        """Return a launcher with the options of its spec."""
        ...


class ScoresPredictions(Protocol):
    """Target of a `MetricSpec`."""

    def __call__(self, probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Mapping[str, float]:
        """Return name -> value for probabilities [N, K] and labels [N]."""
        ...
