"""Measure the default simulator: compiled, eager, and caustics' own objects under torch.vmap, on the same scenes.

    python benchmarks/simulate.py
    python benchmarks/simulate.py --image-size 64 --masses 25 --json

The three take turns, so that a busy machine slows all alike; the figures are medians over the rounds. Every path is
given the same rays and the same PSF convolution, and the images are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.lensing.instrument import Instrument
from zoo.lensing.scenes import Exposure, Isothermal, PointMasses, Scenes, Sersic, Shear

Render = Callable[[Scenes], torch.Tensor]


def random_scenes(count: int, *, masses: int, seed: int = 0) -> Scenes:
    """Return scenes like those of Model A, with elliptical haloes and the same number of masses in each."""
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
        exposure=Exposure(**{name: np.ones(count) for name in ("seconds", "sky", "snr", "peak")}),
    )


def caustics_own(instrument: Instrument, *, masses: int, device: str, batch: int) -> Render:
    """Return a renderer made of caustics' objects: SIE, ExternalShear and Points in a SinglePlane, under vmap."""
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


def ours(instrument: Instrument, *, device: str, compiled: bool) -> Render:
    """Return this plugin's renderer."""
    from zoo_caustics.simulator import render

    return lambda scenes: render(scenes, instrument, device=device, compiled=compiled).source


def seconds(render: Render, scenes: Scenes, *, device: str) -> tuple[float, float]:
    """Return the wall time and the processor time of one call."""
    start, processor_start = time.perf_counter(), time.process_time()
    render(scenes)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - processor_start


def in_new_process(task: str, arguments: argparse.Namespace, *, environment: dict[str, str] | None = None) -> Any:
    """Run one of the tasks below in a process of its own and return what it prints."""
    command = [sys.executable, str(Path(__file__).resolve()), "--task", task]
    for name in ("device", "image_size", "masses", "over_sampling", "memory_images", "threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    output = subprocess.run(
        command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def measure_compiling(arguments: argparse.Namespace) -> float | None:
    """Return the seconds until the compiled code can be called; None where it cannot be compiled."""
    from zoo_caustics.compiling import compiled_brightness

    start = time.perf_counter()
    done = compiled_brightness(torch.device(arguments.device).type) is not None
    return time.perf_counter() - start if done else None


def measure_memory(arguments: argparse.Namespace) -> float:
    """Return the peak memory of a whole process that renders one large batch, in MiB."""
    instrument = Instrument(image_size=arguments.image_size, over_sampling=arguments.over_sampling)
    scenes = random_scenes(arguments.memory_images, masses=arguments.masses)
    ours(instrument, device=arguments.device, compiled=True)(scenes)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_speed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return images per second of the three paths, and how far their images are apart."""
    instrument = Instrument(image_size=arguments.image_size, over_sampling=arguments.over_sampling)
    scenes = random_scenes(arguments.images, masses=arguments.masses)
    device = arguments.device
    paths: dict[str, Render] = {
        "compiled": ours(instrument, device=device, compiled=True),
        "eager": ours(instrument, device=device, compiled=False),
    }
    for batch in arguments.vmap_batches:
        paths[f"vmap_{batch}"] = caustics_own(instrument, masses=arguments.masses, device=device, batch=batch)
    images = {name: render(scenes) for name, render in paths.items()}  # warms up as well
    reference = images["eager"]
    peak = reference.amax((1, 2), keepdim=True)
    difference = {name: float(((image - reference).abs() / peak).max()) for name, image in images.items()}
    del images

    times: dict[str, list[tuple[float, float]]] = {name: [] for name in paths}
    for _ in range(arguments.rounds):
        for name, render in paths.items():
            times[name].append(seconds(render, scenes, device=device))
    medians = {name: np.median(taken, axis=0) for name, taken in times.items()}
    rate = {name: len(scenes) / float(wall) for name, (wall, _) in medians.items()}
    best = max((name for name in rate if name.startswith("vmap")), key=lambda name: rate[name])
    return {
        "images_per_second": rate,
        # All threads together, and little disturbed by what else the machine does (best with --threads 1).
        "processor_ms_per_image": {name: 1e3 * float(cpu) / len(scenes) for name, (_, cpu) in medians.items()},
        "best_vmap": best,
        "compiled_over_vmap": rate["compiled"] / rate[best],
        "compiled_over_eager": rate["compiled"] / rate["eager"],
        "eager_over_vmap": rate["eager"] / rate[best],
        "largest_difference_from_eager_over_peak": difference,
    }


TASKS = {"compile": measure_compiling, "memory": measure_memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--image-size", type=int, default=150)
    parser.add_argument("--over-sampling", type=int, default=2)
    parser.add_argument("--masses", type=int, default=25)
    parser.add_argument("--images", type=int, default=24, help="in each timed call")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vmap-batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--memory-images", type=int, default=2000, help="rendered at once to measure memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only-speed", action="store_true", help="skip compile times and memory")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.task:
        print(json.dumps(TASKS[arguments.task](arguments)))
        return

    result: dict[str, Any] = {
        "setting": {name: getattr(arguments, name) for name in ("device", "image_size", "over_sampling", "masses")},
        "threads": arguments.threads,
        "load_before": os.getloadavg()[0],
        **measure_speed(arguments),
    }
    if not arguments.only_speed:
        with tempfile.TemporaryDirectory() as folder:
            environment = {"TORCHINDUCTOR_CACHE_DIR": folder}
            result["compile_seconds_cold"] = in_new_process("compile", arguments, environment=environment)
            result["compile_seconds_warm"] = in_new_process("compile", arguments, environment=environment)
        result["memory_images"] = arguments.memory_images
        result["peak_memory_mib"] = in_new_process("memory", arguments)
    result["load_after"] = os.getloadavg()[0]
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        for key, item in value.items() if isinstance(value, dict) else [("", value)]:
            print(f"{name:42} {key:14} {item:.4g}" if isinstance(item, float) else f"{name:42} {key:14} {item}")


if __name__ == "__main__":
    main()
