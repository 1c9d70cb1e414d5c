"""Simulators that benchmarks/simulate.py compares, and the random scenes that they render."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.data.recipe import Recipe
from zoo.data.simulate import Simulation
from zoo.lensing.instrument import Instrument
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
        noisy: Whether its images are not compared: they contain noise, or other masses than ours.
        tolerance: Largest allowed difference from the reference, relative to the peak.
        timed: Function from a number of scenes to wall and processor seconds, of a side in another process.
    """

    name: str
    render: Render
    images: int
    device: str = "cpu"
    noisy: bool = False
    tolerance: float = 1e-4
    timed: Callable[[int], tuple[float, float]] | None = None


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


def caustics_own(
    instrument: Instrument, *, masses: int, device: str, batch: int, batched_plane: bool = False
) -> Render:
    """Return a renderer that uses caustics' objects in a SinglePlane, under vmap over scenes.

    Args:
        instrument: The camera.
        masses: Number of point masses of each scene.
        device: Device to render on.
        batch: Number of scenes of one call.
        batched_plane: Whether the masses are one `BatchedPlane` in place of one `Point` each.
    """
    import caustics
    from caskade import Module, forward
    from zoo_caustics.psf import psf_convolution

    class Rays(Module):
        def __init__(self) -> None:
            super().__init__("rays")
            cosmology = caustics.FlatLambdaCDM()
            halo = caustics.SIE(cosmology, name="halo")
            shear = caustics.ExternalShear(cosmology, x0=0.0, y0=0.0, name="shear")
            points = [caustics.Point(cosmology, name=f"point{i}") for i in range(1 if batched_plane else masses)]
            if batched_plane:
                points = [caustics.BatchedPlane(cosmology, points[0], name="points")]
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
    # A list, since the parameters of a BatchedPlane have a value for each mass.
    trace = torch.vmap(lambda parameters: rays.brightness(x, y, parameters))

    def columns(scenes: Scenes) -> list[torch.Tensor]:
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
        for i in range(1 if batched_plane else masses):
            which = slice(None) if batched_plane else i
            values[f"point{i}", "x0"] = points.x[:, which]
            values[f"point{i}", "y0"] = points.y[:, which]
            values[f"point{i}", "Rein"] = points.einstein_radius[:, which]
        return [torch.as_tensor(values[name], dtype=torch.float32, device=device) for name in names]

    def render(scenes: Scenes) -> torch.Tensor:
        images = []
        with torch.no_grad():
            for parameters in zip(*(column.split(batch) for column in columns(scenes)), strict=True):
                pixels = trace(list(parameters)).reshape(-1, size, over, size, over).mean((2, 4))
                images.append(convolve(pixels))
        return torch.cat(images)

    return render


def engine(target: Callable[..., Any], instrument: Instrument, **options: Any) -> Render:
    """Return a renderer that uses a simulator's target."""
    return lambda scenes: target(scenes, instrument, **options).source


def with_noise(instrument: Instrument, *, device: str) -> Render:
    """Return a renderer of finished images, by the path of `zoo simulate`: our engine, checks, sky, exposure, noise."""
    from zoo_caustics.simulator import render

    class Fixed:
        """Population whose scenes are given to `Simulation.observe`."""

        def __init__(self) -> None:
            self.instrument = instrument

        def sample(self, indices: np.ndarray, stream: str) -> Scenes:
            raise AssertionError("The scenes are given; `observe` draws none.")

    recipe = Recipe(dataset="benchmark", dataset_version=1, simulator="caustics/caustics")
    simulation = Simulation(
        recipe=recipe, classes=("smooth",), population=Fixed(), render=render, device=device, expected_images=10**7
    )
    return lambda scenes: simulation.observe("train", np.arange(len(scenes)), scenes).image


class Peer:
    """A side of benchmarks/simulate_peers.py, in a process and an environment of its own.

    Raises:
        RuntimeError: It does not start.
    """

    def __init__(self, side: str, instrument: Instrument, scenes: Scenes, *, python: list[str], threads: int) -> None:
        halo, points, source = scenes.halo, scenes.points, scenes.source
        assert isinstance(source, Sersic)
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "scenes.npz"
        np.savez(
            path, axis=instrument.ray_grid()[0], over=instrument.over_sampling, kernel=instrument.psf_kernel(),
            halo_e=halo.einstein_radius, halo_q=halo.axis_ratio, halo_angle=halo.angle,
            gamma_1=scenes.shear.gamma_1, gamma_2=scenes.shear.gamma_2,
            mass_x=points.x, mass_y=points.y, mass_e=points.einstein_radius,
            source_x=source.x, source_y=source.y, source_q=source.axis_ratio, source_angle=source.angle,
            source_r=source.effective_radius,
        )  # fmt: skip
        # The version of PyAutoLens that the other sides import sets JAX's variables.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
        self._process = subprocess.Popen(
            [*python, str(Path(__file__).with_name("simulate_peers.py")), side, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**inherited, "NPROC": str(threads)},  # threads of XLA
        )  # fmt: skip
        self._errors: list[str] = []
        threading.Thread(target=lambda: self._errors.extend(self._process.stderr or ()), daemon=True).start()
        self.ask(1)

    def ask(self, count: int) -> dict[str, Any]:
        """Return what the process answers: wall and processor seconds, and the file of the images."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "null")
        except (OSError, ValueError):
            answer = {}
        if not answer:
            with contextlib.suppress(OSError):
                self._process.stdin.close()  # it may be waiting for the next request
            self._process.wait()
            said = [line.strip() for line in self._errors if "rror" in line]
            raise RuntimeError(said[-1] if said else f"exit code {self._process.returncode}")
        return answer

    def render(self, scenes: Scenes) -> torch.Tensor:
        """Return the images of the first scenes."""
        return torch.from_numpy(np.load(self.ask(len(scenes))["images"]))

    def timed(self, count: int) -> tuple[float, float]:
        """Return the wall time and the processor time of one call, without the transfer of the images."""
        answer = self.ask(count)
        return answer["wall"], answer["processor"]


def peers(instrument: Instrument, arguments: argparse.Namespace) -> list[Side]:
    """Return the simulators on JAX that can be started here; a line on standard error names each of the others."""
    few = min(arguments.images, arguments.slow_images)
    autolens = ">=3.12", "autolens[jax]"
    rows = {
        "jaxtronomy": ("JAXtronomy, jit, 25 SIS in place of points", arguments.images, True, (">=3.11", "jaxtronomy")),
        "autolens": ("autolens, profiles under jit", arguments.images, False, autolens),
        "substructure": ("autolens, its jitted substructure simulator, truncated NFW", few, True, autolens),
    }
    scenes = random_scenes(arguments.images, masses=arguments.masses)
    found = []
    for side, (name, images, other_masses, (version, package)) in rows.items():
        own = ["uv", "run", "--no-project", "--python", version, "--with", package, "python"]
        python = arguments.peers_python.split() or own
        try:
            peer = Peer(side, instrument, scenes, python=python, threads=arguments.threads)
        except (OSError, RuntimeError) as failure:
            print(f"not timed: {name} ({failure})", file=sys.stderr)
            continue
        found.append(Side(name=name, images=images, render=peer.render, noisy=other_masses, timed=peer.timed))
    return found


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
        Side(name="ours, finished images", images=many, render=with_noise(instrument, device="cpu"), noisy=True),
    ]
    for batch in arguments.vmap_batches:
        vmap = caustics_own(instrument, masses=arguments.masses, device="cpu", batch=batch)
        found.append(Side(name=f"caustics, vmap over {batch}", images=many, render=vmap))
        plane = caustics_own(instrument, masses=arguments.masses, device="cpu", batch=batch, batched_plane=True)
        found.append(Side(name=f"caustics, BatchedPlane, vmap over {batch}", images=many, render=plane))
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
    found += peers(instrument, arguments)
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
