"""A plugin file for the tests: a population whose parameters have names that no plugin of this project uses."""

from __future__ import annotations

import numpy as np

from zoo.hookspecs import hookimpl
from zoo.lensing.draws import Draws
from zoo.lensing.instrument import Instrument
from zoo.lensing.scenes import Exposure, Isothermal, PointMasses, Scenes, Sersic, Shear
from zoo.specs import DatasetSpec, SimulatorSpec


@hookimpl
def zoo_datasets():
    return [
        DatasetSpec(
            id="foreignsky/clumps", target="foreignsky:Clumps", classes=("smooth", "clumpy"), simulated=True,
            params={"side": 40, "arcsec_each": 0.05, "boost": 1.0, "clump_mass": 0.2, "round": False},
            budgets={"smoke": {"side": 12, "boost": 3.0}, "laptop": {"side": 24, "boost": 2.0}},
            budget_notes={"smoke": "clumps three times as heavy", "laptop": "clumps twice as heavy"},
            yields={"boost": ["clump_mass"]},
            shown=("side", "boost"),
            switch="round",
            captions={"clump_angle": "at {:.1f} rad", "clump_weight": "{:.2f} arcsec"},
            slices={"blur": "blur of the source (arcsec)"},
        ),
        DatasetSpec(
            id="foreignsky/bare", target="foreignsky:Clumps", classes=("smooth", "clumpy"), simulated=True,
            params={"side": 12, "arcsec_each": 0.05, "boost": 1.0, "clump_mass": 0.2, "round": False},
        ),
    ]  # fmt: skip


@hookimpl
def zoo_simulators():
    return [SimulatorSpec(id="foreignsky/painter", target="toysky:paint", default=True)]


class Clumps:
    """A source that is blurred more or less, and a point mass in every other image."""

    def __init__(self, *, side, arcsec_each, boost, clump_mass, round) -> None:
        self.instrument = Instrument(image_size=side, pixel_scale=arcsec_each, psf="none")
        self.weight = boost * clump_mass

    def sample(self, indices: np.ndarray, seed: str) -> Scenes:
        draws, label = Draws(seed, indices), np.asarray(indices, np.int64) % 2
        zero, one = np.zeros(len(indices)), np.ones(len(indices))
        angle, blur = (draws.unit(name)[:, 0] for name in ("angle", "blur"))
        return Scenes(
            label=label,
            halo=Isothermal(einstein_radius=one, axis_ratio=one, angle=zero, x=zero, y=zero),
            shear=Shear(gamma_1=zero, gamma_2=zero),
            points=PointMasses(x=one[:, None], y=zero[:, None], einstein_radius=self.weight * label[:, None]),
            source=Sersic(
                x=2 * label - one + angle, y=angle, axis_ratio=one, angle=zero, index=one, effective_radius=blur + 0.2,
                intensity=one,
            ),
            exposure=Exposure(seconds=300 * one, sky=0.1 * one, snr=20 * one, peak=np.nan * one),
            parameters={
                "clump_angle": 6 * angle,
                "clump_weight": np.where(label == 1, self.weight, np.nan),
                "blur": blur,
            },
        )  # fmt: skip
