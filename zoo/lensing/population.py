"""Contract of a population: an instrument, and the scene on the sky in image i."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo.lensing.instrument import Instrument
    from zoo.lensing.scenes import Scenes


@runtime_checkable
class Population(Protocol):
    """A data set that is simulated: the target of a `DatasetSpec` may return one."""

    @property
    def instrument(self) -> Instrument:
        """Pixels, PSF and over-sampling, the same for all images."""
        ...

    def sample(self, indices: NDArray[np.int64], seed: str) -> Scenes:
        """Return the scenes of these images; scene i depends on (seed, i) and the parameters only.

        Args:
            indices: [n] image indices.
            seed: Seed that names the stream: data seed, and after the last "/" the split: train, val, test, fresh
                (fresh test images) or stream (endless training images). A population whose test lenses differ from its
                training lenses asks `is_test`.
        """
        ...


def is_test(seed: str) -> bool:
    """Return whether a stream is one of test images: of the test split, or of fresh test images.

    Args:
        seed: Seed that `Population.sample` is given.
    """
    return seed.rpartition("/")[2] in ("test", "fresh")
