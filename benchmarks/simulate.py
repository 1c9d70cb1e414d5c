"""Measure the speed of lens simulation with our engine, caustics' own objects, lenstronomy and PyAutoLens.

    python benchmarks/simulate.py                      # the whole table; some minutes on a quiet machine
    python benchmarks/simulate.py --device cuda        # the same, with rows for the GPU
    python benchmarks/simulate.py --over-sampling 2 --images 4 --slow-images 1 --rounds 1 --only-speed   # a trial

All simulators render the same scenes with the same rays and PSF, and the images are compared before timing. The
simulators alternate, so that a busy machine slows all of them; figures are medians over the rounds. Slow simulators
render the first few scenes only. Compilation, imports and other preparations are not part of the measured time.

The share of the roofline counts every elementwise operation on a ray as one (a square root as much as an addition)
while PyTorch executes the formulas. The Fourier transforms of the PSF and the noise are included in the time but not in
the count. The roofline is the peak of the device in float32: two operations (a fused multiply and add) per lane and
clock cycle.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.lensing.draws import Draws
from zoo.lensing.instrument import Instrument
from zoo.lensing.observe import observe
from zoo.lensing.scenes import Exposure, Isothermal, PointMasses, Scenes, Sersic, Shear

Render = Callable[[Scenes], torch.Tensor]
LANES_PER_PROCESSOR = {(8, 0): 64}  # float32 units per streaming multiprocessor; 128 on other recent GPUs


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


def seconds(side: Side, scenes: Scenes) -> tuple[float, float]:
    """Return the wall time and the processor time of one call."""
    start, processor_start = time.perf_counter(), time.process_time()
    side.render(scenes)
    if side.device != "cpu":
        torch.cuda.synchronize(side.device)
    return time.perf_counter() - start, time.process_time() - processor_start


def compare(sides: Sequence[Side], scenes: Scenes, *, count: int) -> dict[str, float]:
    """Return the difference of each side's first images from the reference, relative to the peak; also the warm-up.

    Raises:
        SystemExit: The images of a side differ by more than its tolerance.
    """
    reference: torch.Tensor | None = None
    found = {}
    for side in sides:
        images = side.render(scenes[: min(count, side.images)]).cpu()
        if side.noisy:
            continue
        reference = images if reference is None else reference
        expected = reference[: len(images)]
        found[side.name] = float(((images - expected).abs() / expected.amax((1, 2), keepdim=True)).max())
        if not found[side.name] <= side.tolerance:
            raise SystemExit(f"{side.name} differs from {sides[0].name} by {found[side.name]:.1e} of the peak")
    return found


class OperationCounter(TorchDispatchMode):
    """Count elementwise operations and the additions of sums while PyTorch runs."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch.Tag.pointwise in func.tags:
            self.count += result.numel()
        elif func.overloadpacket.__name__ == "sum":
            self.count += args[0].numel() - result.numel()
        return result


def operations_per_ray(masses: int) -> float:
    """Return the number of operations of the formulas for one ray, counted while they run."""
    from zoo_caustics.fused import brightness_fused

    def counted(rays: int) -> int:
        x = torch.linspace(-1, 1, rays)
        with OperationCounter() as counter, torch.no_grad():
            brightness_fused(torch.full((1, 18), 0.5), torch.full((masses, 1, 3), 0.5), x, x)
        return counter.count

    # The difference excludes operations that are done once per scene.
    return (counted(2000) - counted(1000)) / 1000


def roof(device: str) -> float:
    """Return the peak operations per second of the device in float32."""
    properties = torch.cuda.get_device_properties(device)
    query = ["nvidia-smi", "--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"]
    megahertz = float(subprocess.run(query, check=True, capture_output=True, text=True).stdout.splitlines()[0])
    lanes = LANES_PER_PROCESSOR.get((properties.major, properties.minor), 128)
    return properties.multi_processor_count * lanes * 2 * megahertz * 1e6


def measure_speed(arguments: argparse.Namespace, *, over_sampling: int) -> list[dict[str, Any]]:
    """Return a row for each side: images per second, and the difference from the reference."""
    instrument = Instrument(image_size=arguments.image_size, over_sampling=over_sampling)
    sides = all_sides(instrument, arguments)
    scenes = random_scenes(max(side.images for side in sides), masses=arguments.masses)
    apart = compare(sides, scenes, count=arguments.images)
    times: dict[str, list[tuple[float, float]]] = {side.name: [] for side in sides}
    for number in range(arguments.rounds):
        for side in sides:
            print(f"over-sampling {over_sampling}, round {number + 1}: {side.name}", file=sys.stderr)
            times[side.name].append(seconds(side, scenes[: side.images]))
    rows = []
    for side in sides:
        wall, processor = np.median(times[side.name], axis=0) / side.images
        row = {
            "side": side.name,
            "over_sampling": over_sampling,
            "images_per_second": 1 / float(wall),
            # Sum over all threads, which depends little on other programs (best with --threads 1).
            "processor_ms_per_image": 1e3 * float(processor),
            "largest_difference_over_peak": apart.get(side.name),
            "images": side.images,
        }
        if side.device != "cpu" and side.name.startswith("ours"):
            operations = operations_per_ray(arguments.masses) * len(instrument.ray_grid()[0]) ** 2
            row["share_of_roofline"] = operations * row["images_per_second"] / roof(side.device)
        rows.append(row)
    return rows


def in_new_process(task: str, arguments: argparse.Namespace, *, environment: dict[str, str] | None = None) -> Any:
    """Run one of the tasks below in a separate process and return its output."""
    command = [sys.executable, str(Path(__file__).resolve()), "--task", task]
    for name in ("device", "image_size", "masses", "memory_images", "threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    output = subprocess.run(
        command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def measure_compiling(arguments: argparse.Namespace) -> float | None:
    """Return the seconds until the compiled code can be called; None if compilation fails."""
    from zoo_caustics.compiling import compiled_brightness

    start = time.perf_counter()
    done = compiled_brightness(torch.device(arguments.device).type) is not None
    return time.perf_counter() - start if done else None


def measure_memory(arguments: argparse.Namespace) -> float:
    """Return the peak memory of a whole process that renders one large batch at over-sampling 2, in MiB."""
    from zoo_caustics.simulator import render

    instrument = Instrument(image_size=arguments.image_size)
    scenes = random_scenes(arguments.memory_images, masses=arguments.masses)
    render(scenes, instrument, device=arguments.device, compiled=True)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table: images per second, and the speed-up of our compiled engine."""
    levels = sorted({row["over_sampling"] for row in rows})
    by_place = {(row["side"], row["over_sampling"]): row for row in rows}
    ours = {level: by_place["ours, compiled", level]["images_per_second"] for level in levels}
    header = ["images/s (speed-up of ours, compiled)", *(f"over-sampling {level}" for level in levels)]
    lines = [header, ["---", *["---:"] * len(levels)]]
    for name in dict.fromkeys(row["side"] for row in rows):
        cells = []
        for level in levels:
            row = by_place[name, level]
            rate = row["images_per_second"]
            share = f", {row['share_of_roofline']:.0%} of the roofline" if "share_of_roofline" in row else ""
            cells.append(f"{rate:,.4g} ({ours[level] / rate:,.3g}){share}")
        lines.append([name, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


TASKS = {"compile": measure_compiling, "memory": measure_memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="Render on this device; cuda adds rows for the GPU.")
    parser.add_argument("--image-size", type=int, default=150)
    parser.add_argument("--over-sampling", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--masses", type=int, default=25)
    parser.add_argument("--images", type=int, default=24, help="Set the images per timed call.")
    parser.add_argument(
        "--slow-images", type=int, default=4, help="Set the images per call of lenstronomy and autolens."
    )
    parser.add_argument("--slowest-images", type=int, default=2, help="Set the images per call of SimulatorImaging.")
    parser.add_argument(
        "--gpu-images", type=int, default=4096, help="Set the images per call of our engine on the GPU."
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vmap-batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--gpu-vmap-batch", type=int, default=64)
    parser.add_argument(
        "--memory-images", type=int, default=2000, help="Set the size of the batch that measures memory."
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only-speed", action="store_true", help="Skip compile times and memory.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.task:
        print(json.dumps(TASKS[arguments.task](arguments)))
        return

    result: dict[str, Any] = {
        "setting": {name: getattr(arguments, name) for name in ("image_size", "masses", "threads", "rounds")},
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "torch": torch.__version__,
        "operations_per_ray": operations_per_ray(arguments.masses),
        "load_before": os.getloadavg()[0],
        "speed": [row for level in arguments.over_sampling for row in measure_speed(arguments, over_sampling=level)],
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
    print(table(result.pop("speed")))
    print()
    for name, value in result.items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    main()
