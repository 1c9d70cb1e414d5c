"""The population `deeplense/real_sources`: Model B with pictures of real galaxies for sources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.lensing.draws import Draws
from zoo.lensing.instrument import Instrument
from zoo.lensing.population import is_test
from zoo.lensing.scenes import PixelSource, Scenes, Sersic
from zoo_deeplense.galaxies import load_galaxies
from zoo_deeplense.photometry import sersic_flux
from zoo_deeplense.population import LensPopulation

_ONE_FOR_TEST_IN = 4


def build(*, pictures: str | None, **params: Any) -> RealSources:
    """Return the population.

    Args:
        pictures: Pictures, as for `zoo_deeplense.galaxies.load_galaxies`.
        params: Whole table, as for Model B.

    Raises:
        UsageError: A value is impossible.
        DataError: The pictures cannot be read.
    """
    if pictures is not None and not isinstance(pictures, str):
        raise UsageError(f"pictures={pictures!r} must be the path of a .npy file, or null.")
    return RealSources(pictures, params)


class RealSources:
    """Lenses of a table in front of real galaxies.

    A galaxy takes the place, the angle, the half-light radius and the whole light of the Sersic source that the table
    draws. Every fourth galaxy is kept for test images, those of the test split and fresh ones, and occurs in no others:
    a network cannot score by knowing a galaxy again.

    Args:
        pictures: Source of the galaxies.
        params: Whole table.
    """

    def __init__(self, pictures: str | None, params: dict[str, Any]) -> None:
        self._lenses = LensPopulation(params)
        self._galaxies = load_galaxies(pictures)

    @property
    def instrument(self) -> Instrument:
        """Pixels, PSF and over-sampling."""
        return self._lenses.instrument

    def sample(self, indices: NDArray[np.int64], seed: str) -> Scenes:
        """Return the scenes of these images; see `LensPopulation.sample`.

        Args:
            indices: [n] image indices.
            seed: Seed that names the stream; it ends in the split.
        """
        scenes = self._lenses.sample(indices, seed)
        law = scenes.source
        assert isinstance(law, Sersic)
        kept_for_test = np.arange(len(self._galaxies)) % min(_ONE_FOR_TEST_IN, len(self._galaxies)) == 0
        allowed = np.flatnonzero(kept_for_test == is_test(seed))
        unit = Draws(seed, indices).unit("galaxy")[:, 0]
        galaxy = allowed[(unit * len(allowed)).astype(np.int64)]
        scale = law.effective_radius / self._galaxies.half_light_radius[galaxy]
        light = sersic_flux(law) / scale**2  # the pixels of a galaxy add up to 1
        return replace(
            scenes,
            source=PixelSource(
                x=law.x,
                y=law.y,
                angle=law.angle,
                pixel_scale=scale,
                pixels=self._galaxies.pixels[galaxy] * light[:, None, None],
            ),
            parameters=scenes.parameters | {"galaxy": galaxy.astype(np.float64)},
        )
