"""A plugin file for the tests of data: a population of discs and a simulator that draws them in no time."""

from __future__ import annotations

import signal
from dataclasses import replace

import numpy as np
import torch

from zoo.hookspecs import hookimpl
from zoo.lensing.draws import Draws
from zoo.lensing.instrument import Instrument
from zoo.lensing.observe import Rendered
from zoo.lensing.scenes import Exposure, Isothermal, PointMasses, Scenes, Sersic, Shear
from zoo.specs import DatasetSpec, SimulatorSpec


@hookimpl
def zoo_datasets():
    return [
        DatasetSpec(
            id="toysky/discs", target="toysky:Discs", classes=("a", "b", "c"), simulated=True,
            params={"image_size": 8, "snr": 20.0}, budgets={"smoke": {"image_size": 32}},
        ),
        DatasetSpec(
            id="toysky/moons", target="toysky:Discs", classes=("a", "b", "c"), simulated=True,
            params={"image_size": 8, "snr": 20.0}, budgets={"smoke": {"image_size": 32}},
        ),
        DatasetSpec(
            id="toysky/crowds", target="toysky:Crowds", classes=("a", "b", "c"), simulated=True,
            params={"image_size": 8, "snr": 20.0}, image_groups="galaxy",
        ),
    ]  # fmt: skip


@hookimpl
def zoo_simulators():
    return [SimulatorSpec(id="toysky/painter", target="toysky:paint")]


class Discs:
    """A source of random size somewhere."""

    def __init__(self, *, image_size: int = 8, snr: float = 20.0) -> None:
        self.instrument, self.snr = Instrument(image_size=image_size, psf="none"), snr

    def sample(self, indices: np.ndarray, seed: str) -> Scenes:
        draws = Draws(seed, indices)
        zero, one = np.zeros(len(indices)), np.ones(len(indices))
        x, y, radius = (draws.unit(name)[:, 0] for name in ("x", "y", "radius"))
        return Scenes(
            label=(np.asarray(indices) % 3).astype(np.int64),
            halo=Isothermal(einstein_radius=one, axis_ratio=one, angle=zero, x=zero, y=zero),
            shear=Shear(gamma_1=zero, gamma_2=zero),
            points=PointMasses(x=zero[:, None], y=zero[:, None], einstein_radius=zero[:, None]),
            source=Sersic(
                x=x, y=y, axis_ratio=one, angle=zero, index=one, effective_radius=radius + 0.1, intensity=one
            ),
            exposure=Exposure(seconds=300 * one, sky=0.1 * one, snr=self.snr * one, peak=np.nan * one),
            parameters={"colour": draws.unit("colour")[:, 0]},
        )


class Crowds(Discs):
    """Twelve galaxies, each of which many images show."""

    def sample(self, indices: np.ndarray, seed: str) -> Scenes:
        scenes = super().sample(indices, seed)
        return replace(scenes, parameters={"galaxy": np.floor(12 * Draws(seed, indices).unit("galaxy")[:, 0])})


def paint(scenes: Scenes, instrument: Instrument, *, device: str, expected_images: int) -> Rendered:
    axis = torch.arange(instrument.image_size) - (instrument.image_size - 1) / 2
    row, column = torch.meshgrid(axis, axis, indexing="ij")
    x, y, radius = (
        torch.tensor(values)[:, None, None]
        for values in (scenes.source.x, scenes.source.y, scenes.source.effective_radius)
    )
    return Rendered(source=torch.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * (3 * radius) ** 2)))


class Painter:
    """A simulator that counts its calls and may fail in one of them."""

    def __init__(self, *, fails_in: int = 0, error: BaseException | None = None) -> None:
        self.calls, self.fails_in, self.error = 0, fails_in, error

    def __call__(self, scenes: Scenes, instrument: Instrument, *, device: str, expected_images: int) -> Rendered:
        self.calls += 1
        if self.calls == self.fails_in and isinstance(self.error, KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # as Ctrl-C does
        if self.calls == self.fails_in and self.error is not None:
            raise self.error
        return paint(scenes, instrument, device=device, expected_images=expected_images)
