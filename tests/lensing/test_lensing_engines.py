"""The same scenes of every registered population, rendered by engines that share no code: they must agree.

A population that is added later joins by itself. A simulator may refuse what it cannot render with a UsageError; that
pair is then left out.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from zoo import registry
from zoo.data.compare import differences
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.lensing.instrument import Instrument
from zoo.lensing.observe import Rendered
from zoo.lensing.pixels import render_pixels
from zoo.lensing.scenes import PointMasses, Scenes, sersic_b
from zoo.specs import DatasetSpec, SimulatorSpec

pytestmark = pytest.mark.slow  # three simulators on every population

HOST = load_plugins(environment={})
# The variants of Model B change its numbers as those of Model A do; lens light and masses of another slope are here in
# every population, so their variants show nothing new.
ALIKE = ("deeplense/modelB_", "deeplense/modelA_lens_light", "deeplense/modelA_beta19")
POPULATIONS = [
    spec.id for spec in registry.listed(HOST, DatasetSpec) if spec.simulated and not spec.id.startswith(ALIKE)
]
COUNT = 24
# Coarse pixels: the rays of one image are traced one by one through the same formulas, whatever their number.
SMALL = {"image_size": 32, "pixel_scale": 0.2, "over_sampling": 2, "lens_light": True}


def small(name: str) -> dict[str, object]:
    """Return the parameters that make a population's images small, and add lens light, as far as it has them."""
    return {key: value for key, value in SMALL.items() if key in registry.find(HOST, DatasetSpec, name).params}


def render(simulator: str, name: str, **options: object) -> tuple[Scenes, Rendered]:
    """Return the scenes and images of `compare_simulators`, in float64 unless `options` say otherwise.

    The PSF is convolved on sub-pixels, as in stored images. Skips the test where the simulator refuses them.
    """
    spec = registry.find(HOST, DatasetSpec, name)
    population = registry.load_target(spec)(**{**spec.params, **small(name)})
    scenes = population.sample(np.arange(COUNT), f"{spec.id}/{spec.version}/0/train")
    engine = registry.find(HOST, SimulatorSpec, simulator)
    target = registry.load_target(engine)
    options = {"device": "cpu", "dtype": torch.float64, "masses": engine.masses, **options}
    try:
        return scenes, render_pixels(target, scenes, population.instrument, simulator=simulator, **options).rendered
    except UsageError as refusal:
        pytest.skip(f"{simulator}: {refusal}")


def apart(first: Rendered, second: Rendered) -> float:
    """Return the largest difference of any pixel, over its image's peak."""
    largest = np.abs(differences(first.source, second.source)).max()
    if first.lens_light is not None and second.lens_light is not None:
        largest = max(largest, np.abs(differences(first.lens_light, second.lens_light)).max())
    return float(largest)


@pytest.mark.parametrize("name", POPULATIONS)
def test_caustics_and_autolens_agree(name: str) -> None:
    scenes, autolens = render("autolens/autolens", name)
    assert len(np.unique(scenes.label)) == len(registry.find(HOST, DatasetSpec, name).classes)
    _, caustics = render("caustics/caustics", name)
    assert apart(autolens, caustics) <= 1e-5
    _, single = render("caustics/caustics", name, dtype=torch.float32)
    assert apart(autolens, single) <= 1e-4


@pytest.mark.parametrize("name", POPULATIONS)
def test_caustics_and_lenstronomy_agree(name: str) -> None:
    scenes, own = render("lenstronomy/lenstronomy", name)
    _, caustics = render("caustics/caustics", name)
    # At the centre of a source its brightness is I_e exp(b_n), and there the two laws differ most, by the difference
    # of their b_n: 2.4e-3 at n = 1.5, 6.2e-3 at n = 1.
    lights = [scenes.source] if scenes.lens_light is None else [scenes.source, scenes.lens_light]
    constants = max(np.abs(sersic_b(light.index) - (1.9992 * light.index - 0.3271)).max() for light in lights)
    assert apart(own, caustics) <= 1.01 * constants
    _, equal = render("lenstronomy/lenstronomy", name, own_sersic_b=False)
    assert apart(equal, caustics) <= 1e-4
    assert apart(equal, caustics) < 1e-3 * apart(own, caustics)


@pytest.mark.parametrize("simulator", ["caustics/caustics", "autolens/autolens", "lenstronomy/lenstronomy"])
def test_many_masses_bend_light_as_their_sum_does(simulator: str) -> None:
    """N masses of theta / sqrt(N) on a circle hold the mass of one of theta: outside, nothing else can be told.

    The first multipole that N equal masses on a circle of radius r have, and their centre has not, is the N-th: it
    falls as (r / R)^N.
    """
    count, theta, circle = 25, 0.9, 0.4
    spec = registry.find(HOST, DatasetSpec, "modelA")
    scenes = registry.load_target(spec)(**spec.params).sample(np.arange(1), "mass")
    scenes = dataclasses.replace(scenes, halo=dataclasses.replace(scenes.halo, einstein_radius=np.zeros(1)))
    angle = 2 * np.pi * np.arange(count)[None] / count
    spread = PointMasses(
        x=circle * np.cos(angle), y=circle * np.sin(angle), einstein_radius=np.full((1, count), theta / count**0.5)
    )
    single = PointMasses(x=np.zeros((1, 1)), y=np.zeros((1, 1)), einstein_radius=np.full((1, 1), theta))
    instrument = Instrument(image_size=60, pixel_scale=0.1, psf="none", over_sampling=1)
    target = registry.load_target(registry.find(HOST, SimulatorSpec, simulator))
    images = [
        target(dataclasses.replace(scenes, points=points), instrument, device="cpu", dtype=torch.float64).source[0]
        for points in (spread, single)
    ]
    distance = np.hypot(*np.meshgrid(*instrument.ray_grid()))
    difference = ((images[0] - images[1]).abs() / images[1].max()).numpy()
    assert difference[distance > 2 * circle].max() < 1e-6
    assert difference[distance < circle].max() > 0.1
