"""Measure the speed of lens simulation with our engine, caustics' objects, lenstronomy, PyAutoLens and JAXtronomy.

    python benchmarks/simulate.py                      # the whole table; some minutes on a quiet machine
    python benchmarks/simulate.py --device cuda        # the same, with rows for the GPU
    python benchmarks/simulate.py --over-sampling 2 --images 4 --slow-images 1 --rounds 1 --only-speed   # a trial

All simulators render the same scenes with the same rays and PSF, and the images are compared before timing. The
simulators alternate, so that a busy machine slows all of them; in a turn, a fast one is called for half a second after
a first call. Figures are medians over the rounds. Slow simulators render the first few scenes only. Compilation,
imports and other preparations are not part of the measured time.

The simulators on JAX need other versions of libraries, and PyAutoLens of Python, than ours: they run in environments of
their own, which `--peers-python` names or uv makes from an index. A line on standard error names those that do not
start.
JAXtronomy and the substructure simulator of PyAutoLens have no point masses, so their images are not compared.

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
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from simulate_sides import Side, all_sides, random_scenes
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.environment import peak_memory_bytes
from zoo.lensing.instrument import Instrument
from zoo.lensing.scenes import Scenes
from zoo.processor import usable_cores

LANES_PER_PROCESSOR = {(8, 0): 64}  # float32 units per streaming multiprocessor; 128 on other recent GPUs
TURN = 0.5
"""Shortest turn in seconds: a single call of a fast simulator takes milliseconds, too few to measure after another."""


def seconds(side: Side, scenes: Scenes) -> tuple[float, float]:
    """Return the wall time and the processor time of a call, means over the calls of one turn after a first one."""
    calls = [once(side, scenes)]
    if calls[0][0] < TURN:
        calls = []
        while not calls or sum(wall for wall, _ in calls) < TURN:
            calls.append(once(side, scenes))
    wall, processor = np.mean(calls, axis=0)
    return float(wall), float(processor)


def once(side: Side, scenes: Scenes) -> tuple[float, float]:
    """Return the wall time and the processor time of one call."""
    if side.timed is not None:
        return side.timed(len(scenes))
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
        row: dict[str, Any] = {
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
    variables = {**os.environ, "BENCHMARK_STARTED": str(time.time()), **(environment or {})}
    output = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(output.splitlines()[-1])


def measure_compiling(arguments: argparse.Namespace) -> float | None:
    """Return the seconds from the prompt to the first image, torch's import included; None if compilation fails."""
    from zoo_caustics.compiling import compiled_brightness
    from zoo_caustics.native import native_library
    from zoo_caustics.simulator import render

    device = torch.device(arguments.device).type
    done = native_library() if device == "cpu" else compiled_brightness()
    render(random_scenes(1, masses=arguments.masses), Instrument(), device=arguments.device, compiled=True)
    return time.time() - float(os.environ["BENCHMARK_STARTED"]) if done is not None else None


def measure_memory(arguments: argparse.Namespace) -> float:
    """Return the peak memory of a whole process that renders one large batch at over-sampling 2, in MiB."""
    from zoo_caustics.simulator import render

    instrument = Instrument(image_size=arguments.image_size)
    scenes = random_scenes(arguments.memory_images, masses=arguments.masses)
    render(scenes, instrument, device=arguments.device, compiled=True)
    return peak_memory_bytes() / 2**20


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table: images per second, the speed-up of our compiled engine, processor time."""
    levels = sorted({row["over_sampling"] for row in rows})
    by_place = {(row["side"], row["over_sampling"]): row for row in rows}
    ours = {level: by_place["ours, compiled", level]["images_per_second"] for level in levels}
    header = ["images/s (speed-up of ours, compiled), processor ms", *(f"over-sampling {level}" for level in levels)]
    lines = [header, ["---", *["---:"] * len(levels)]]
    for name in dict.fromkeys(row["side"] for row in rows):
        cells = []
        for level in levels:
            row = by_place[name, level]
            rate = row["images_per_second"]
            share = f", {row['share_of_roofline']:.0%} of the roofline" if "share_of_roofline" in row else ""
            processor = row["processor_ms_per_image"]
            cells.append(f"{rate:,.4g} ({ours[level] / rate:,.3g}), {processor:,.3g}{share}")
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
    parser.add_argument(
        "--peers-python",
        default="",
        help="Set the command of a Python with jaxtronomy and autolens[jax]; default: uv makes an environment of each.",
    )
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
        "machine": {"processor": platform.processor() or platform.machine(), "cores": usable_cores()},
        "torch": torch.__version__,
        "operations_per_ray": operations_per_ray(arguments.masses),
        "load_before": os.getloadavg()[0],
        "speed": [row for level in arguments.over_sampling for row in measure_speed(arguments, over_sampling=level)],
    }
    if not arguments.only_speed:
        with tempfile.TemporaryDirectory() as folder:
            environment = {"ZOO_CACHE": folder}
            result["first_image_seconds_cold"] = in_new_process("compile", arguments, environment=environment)
            result["first_image_seconds_warm"] = in_new_process("compile", arguments, environment=environment)
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
