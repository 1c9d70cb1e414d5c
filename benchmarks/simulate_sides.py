"""Simulators that benchmarks/simulate.py compares, and the random scenes that they render."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from zoo.lensing.draws import Draws
from zoo.lensing.instrument import Instrument
from zoo.lensing.observe import observe
from zoo.lensing.scenes import Exposure, Isothermal, PointMasses, Scenes, Sersic, Shear

Render = Callable[[Scenes], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the compared simulators.

    Args:
        name: Name of its row.
        render: Function from scenes to noiseless images, or to observed images if `noisy` is true.
        images: Number of scenes that it renders in each round.
        device: Device, "cpu" or "cuda".
        noisy: Whether its images contain noise, and are therefore not compared.
        tolerance: Largest allowed difference from the reference, relative to the peak.
    """

    name: str
    render: Render
    images: int
    device: str = "cpu"
    noisy: bool = False
    tolerance: float = 1e-4


def random_scenes(count: int, *, masses: int, seed: int = 0) -> Scenes:
    """Return scenes similar to Model A, with elliptical haloes and the same number of masses in each."""
    random = np.random.default_rng(seed)

    def draw(low: float, high: float, *shape: int) -> np.ndarray:
        return random.uniform(low, high, shape or (count,))

    zero = np.zeros(count)
    return Scenes(
        label=np.zeros(count, dtype=np.int64),
        halo=Isothermal(
            einstein_radius=draw(1.2, 1.7), axis_ratio=draw(0.5, 0.95), angle=draw(0, np.pi), x=zero, y=zero
        ),
        shear=Shear(gamma_1=draw(-0.1, 0.1), gamma_2=draw(-0.1, 0.1)),
        points=PointMasses(
            x=draw(-2, 2, count, masses),
            y=draw(-2, 2, count, masses),
            einstein_radius=draw(0.005, 0.1, count, masses),
        ),
        source=Sersic(
            x=draw(-0.3, 0.3),
            y=draw(-0.3, 0.3),
            axis_ratio=draw(0.4, 1),
            angle=draw(0, np.pi),
            index=np.full(count, 1.5),
            effective_radius=draw(0.25, 1),
            intensity=np.ones(count),
        ),
        exposure=Exposure(
            seconds=np.full(count, 300.0),
            sky=np.full(count, 0.1),
            snr=np.full(count, 25.0),
            peak=np.full(count, np.nan),
        ),
    )


def caustics_own(instrument: Instrument, *, masses: int, device: str, batch: int) -> Render:
    """Return a renderer that uses caustics' objects: SIE, ExternalShear and Points in a SinglePlane, under vmap."""
    import caustics
    from caskade import Module, forward
    from zoo_caustics.psf import psf_convolution

    class Rays(Module):
        def __init__(self) -> None:
            super().__init__("rays")
            cosmology = caustics.FlatLambdaCDM()
            halo = caustics.SIE(cosmology, name="halo")
            shear = caustics.ExternalShear(cosmology, x0=0.0, y0=0.0, name="shear")
            points = [caustics.Point(cosmology, name=f"point{i}") for i in range(masses)]
            self.lens = caustics.SinglePlane(cosmology, [halo, shear, *points], z_l=0.5, z_s=1.0, name="lens")
            self.source = caustics.Sersic(name="source")

        @forward
        def brightness(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.source.brightness(*self.lens.raytrace(x, y))

    rays = Rays()
    names = [(next(iter(parameter.parents)).name, parameter.name) for parameter in rays.dynamic_params]
    axes = [torch.as_tensor(axis, dtype=torch.float32, device=device) for axis in instrument.ray_grid()]
    x, y = torch.meshgrid(*axes, indexing="xy")
    over, size = instrument.over_sampling, len(axes[0]) // instrument.over_sampling
    convolve = psf_convolution(instrument.psf_kernel(), size=size, device=torch.device(device))
    trace = torch.vmap(lambda parameters: rays.brightness(x, y, parameters))

    def columns(scenes: Scenes) -> torch.Tensor:
        halo, source, points = scenes.halo, scenes.source, scenes.points
        values = {
            ("halo", "x0"): halo.x,
            ("halo", "y0"): halo.y,
            ("halo", "q"): halo.axis_ratio,
            ("halo", "phi"): halo.angle,
            ("halo", "Rein"): halo.einstein_radius,
            ("shear", "gamma_1"): scenes.shear.gamma_1,
            ("shear", "gamma_2"): scenes.shear.gamma_2,
            ("source", "x0"): source.x,
            ("source", "y0"): source.y,
            ("source", "q"): source.axis_ratio,
            ("source", "phi"): source.angle,
            ("source", "n"): source.index,
            ("source", "Re"): source.effective_radius / np.sqrt(source.axis_ratio),
            ("source", "Ie"): source.intensity,
        }
        for i in range(masses):
            values[f"point{i}", "x0"] = points.x[:, i]
            values[f"point{i}", "y0"] = points.y[:, i]
            values[f"point{i}", "Rein"] = points.einstein_radius[:, i]
        table = np.stack([values[name] for name in names], axis=1)
        return torch.as_tensor(table, dtype=torch.float32, device=device)

    def render(scenes: Scenes) -> torch.Tensor:
        images = []
        with torch.no_grad():
            for parameters in columns(scenes).split(batch):
                pixels = trace(parameters).reshape(-1, size, over, size, over).mean((2, 4))
                images.append(convolve(pixels))
        return torch.cat(images)

    return render


def engine(target: Callable[..., Any], instrument: Instrument, **options: Any) -> Render:
    """Return a renderer that uses a simulator's target."""
    return lambda scenes: target(scenes, instrument, **options).source


def with_noise(instrument: Instrument, *, device: str) -> Render:
    """Return a renderer of complete images: our engine, then sky, exposure and noise."""
    from zoo_caustics.simulator import render

    def observed(scenes: Scenes) -> torch.Tensor:
        draws = Draws("benchmark", np.arange(len(scenes)))
        return observe(render(scenes, instrument, device=device, compiled=True), scenes.exposure, draws=draws).image

    return observed


def all_sides(instrument: Instrument, arguments: argparse.Namespace) -> list[Side]:
    """Return the compared simulators, the reference first."""
    import zoo_autolens.imaging
    import zoo_autolens.simulator
    import zoo_caustics.simulator
    import zoo_lenstronomy.simulator

    caustics, autolens = zoo_caustics.simulator.render, zoo_autolens.simulator.render
    many, few = arguments.images, min(arguments.images, arguments.slow_images)
    found = [
        Side(name="ours, eager", images=many, render=engine(caustics, instrument, device="cpu", compiled=False)),
        Side(name="ours, compiled", images=many, render=engine(caustics, instrument, device="cpu", compiled=True)),
    ]
    for batch in arguments.vmap_batches:
        vmap = caustics_own(instrument, masses=arguments.masses, device="cpu", batch=batch)
        found.append(Side(name=f"caustics, vmap over {batch}", images=many, render=vmap))
    found += [
        Side(
            name="lenstronomy",
            images=few,
            render=engine(zoo_lenstronomy.simulator.render, instrument, device="cpu"),
            tolerance=2.5e-3,  # its own Sersic b_n
        ),
        Side(name="autolens, rays reused", images=few, render=engine(autolens, instrument, device="cpu")),
        Side(
            name="autolens, SimulatorImaging",
            images=min(few, arguments.slowest_images),
            render=engine(zoo_autolens.imaging.render, instrument, device="cpu"),
            tolerance=1e-3,  # one ray per pixel beyond the edge
        ),
    ]
    if arguments.device != "cpu":
        device, name = arguments.device, torch.cuda.get_device_name(arguments.device)
        for label, render, noisy in (
            ("eager", engine(caustics, instrument, device=device, compiled=False), False),
            ("compiled", engine(caustics, instrument, device=device, compiled=True), False),
            ("compiled, with noise", with_noise(instrument, device=device), True),
        ):
            found.append(
                Side(
                    name=f"ours, {label}, {name}",
                    images=arguments.gpu_images,
                    render=render,
                    device=device,
                    noisy=noisy,
                )
            )
        batch = arguments.gpu_vmap_batch
        vmap = caustics_own(instrument, masses=arguments.masses, device=device, batch=batch)
        label = f"caustics, vmap over {batch}, {name}"
        found.append(Side(name=label, images=4 * batch, render=vmap, device=device))
    return found
