"""Measure the cost of group networks, and the width from which octic is cheaper than a plain network.

There are two parts. In each, the networks alternate step by step, so that a busy machine slows all of them:

  small   gconv/p4m and gconv/p4 against the same architecture with ordinary layers of |G| times the width and so the
          same MACs on maps of the same size; also escnn and e2cnn with D4 if lens-zoo-steerable is installed
  wide    gconv/octic and gconv/p4m_convnext against the plain ConvNeXt with as many channels, one stage of two blocks,
          for each number of channels in --widths

Each network takes a training step (forward, loss, backward, AdamW) and classifies a batch. A fresh process measures
the peak memory that a training step adds, and the time until the network is built and gives its first output.

    uv run python benchmarks/gconv.py [--part small] [--rounds 30] [--json]
    uv run python benchmarks/gconv.py --device cuda --batch 256     # bf16, channels-last, compiled; escnn in float32

With one thread on the CPU the CPU time of the process is measured, which does not depend on other programs. Otherwise
wall time is measured, and more threads than idle cores make the ratios meaningless.

Targets: p4m at most 1.05 times the plain network's training step, inference within 5 %, memory at most 1.1 times; octic
at most 0.6 times the plain network at 1,024 channels and never slower than p4m_convnext. Results:
benchmarks/results/gconv.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gconv_networks import one_stage, plain_of, plain_stage, steerable

Build = Callable[[], Any]


def parts(arguments: argparse.Namespace) -> dict[str, dict[str, tuple[Build, str | None]]]:
    """Return part -> network -> its builder, and the network that it is compared with."""
    from importlib.util import find_spec

    size = arguments.image_size

    def ours(name: str) -> Any:
        from zoo_gconv import models

        return models.build(model=name, in_chans=1, num_classes=3, image_size=size)

    small: dict[str, tuple[Build, str | None]] = {}
    for name in ("p4m", "p4"):
        small[name] = (lambda name=name: ours(name)), f"plain, width of {name}"
        small[f"plain, width of {name}"] = (lambda name=name: plain_of(name, size)), None
    if find_spec("zoo_steerable"):
        for library in ("escnn", "e2cnn"):
            if find_spec(library):
                small[f"{library} D4"] = (lambda name=library: steerable(name, size)), "plain, width of p4m"
    found = {"small": small}
    for channels in arguments.widths:
        plain = f"plain, {channels} channels"
        found[f"wide {channels}"] = {
            plain: ((lambda c=channels: plain_stage(c, size)), None),
            f"p4m_convnext, {channels} channels": ((lambda c=channels: one_stage("p4m_convnext", c, size)), plain),
            f"octic, {channels} channels": ((lambda c=channels: one_stage("octic", c, size)), plain),
        }
    return {name: networks for name, networks in found.items() if arguments.part in ("all", name.split()[0])}


def clock(arguments: argparse.Namespace) -> float:
    """Return seconds: CPU time for one thread on the CPU, else wall time after the device has finished."""
    import torch

    if arguments.device != "cpu":
        torch.accelerator.synchronize()
    elif arguments.threads == 1:
        return time.process_time()
    return time.perf_counter()


def timings(tasks: dict[str, Callable[[], object]], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Time the tasks in turn; return milliseconds per round, after two rounds of warm-up."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for round_number in range(arguments.rounds + 2):
        for name, task in tasks.items():
            start = clock(arguments)
            task()
            if round_number >= 2:
                times[name].append((clock(arguments) - start) * 1e3)
    return times


def prepared(name: str, network: Any, arguments: argparse.Namespace) -> tuple[Any, Callable[[], Any]]:
    """Return the network in the fastest form for the device, and its precision."""
    import torch

    network = network.to(arguments.device)
    if arguments.device == "cpu" or name.endswith("D4"):
        return network, contextlib.nullcontext
    network = torch.compile(network.to(memory_format=torch.channels_last))
    return network, lambda: torch.autocast(arguments.device, torch.bfloat16)


def training_step(network: Any, precision: Callable[[], Any], images: Any, labels: Any) -> Callable[[], object]:
    """Return a function that takes one step of AdamW on the batch."""
    import torch

    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    network.train()

    def step() -> None:
        optimizer.zero_grad()
        with precision():
            loss = torch.nn.functional.cross_entropy(network(images).float(), labels)
        loss.backward()
        optimizer.step()

    return step


def inference(network: Any, precision: Callable[[], Any], images: Any) -> Callable[[], object]:
    """Return a function that classifies the batch."""
    import torch

    network.eval()  # once: setting the mode deletes the cached filter banks of group layers

    def classify() -> None:
        with torch.no_grad(), precision():
            network(images)

    return classify


def batch(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """Return images and labels."""
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    shape = (arguments.batch, 1, arguments.image_size, arguments.image_size)
    images = torch.randn(shape, device=arguments.device)
    return images, torch.randint(3, (arguments.batch,), device=arguments.device)


def alone(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Return first-build seconds and the peak memory of a training step, measured in this fresh process."""
    start = time.perf_counter()
    import torch

    imported = time.perf_counter()
    build = next(networks[name][0] for networks in parts(arguments).values() if name in networks)
    images, labels = batch(arguments)
    network, precision = prepared(name, build(), arguments)
    with torch.no_grad(), precision():
        network.eval()(images[:1])
    built = time.perf_counter()
    step = training_step(network, precision, images, labels)
    if arguments.device == "cpu":
        # The additional peak of two steps, since the first step creates the optimizer's state.
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        step()
        step()
        peak = _status("VmHWM") - before
    else:
        before = torch.cuda.memory_allocated() / 2**20
        step()
        torch.cuda.reset_peak_memory_stats()
        step()
        peak = torch.cuda.max_memory_allocated() / 2**20 - before
    return {"import_s": imported - start, "build_s": built - imported, "peak_mib": peak}


def _status(field: str) -> float:
    """Return a value in /proc/self/status in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def in_a_fresh_process(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run `alone` for one network; returns nothing on systems without /proc."""
    if arguments.device == "cpu" and not Path("/proc/self/clear_refs").exists():
        return {}
    command = [sys.executable, __file__, "--alone", name]
    for option in ("device", "image_size", "batch", "threads"):
        command += [f"--{option.replace('_', '-')}", str(getattr(arguments, option))]
    command += ["--widths", ",".join(map(str, arguments.widths))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def peak_tflops(arguments: argparse.Namespace) -> float:
    """Return the TFLOP/s of a large matrix product in the precision of the networks."""
    import torch

    size, dtype = (1024, torch.float32) if arguments.device == "cpu" else (8192, torch.bfloat16)
    a, b = (torch.randn(size, size, device=arguments.device).to(dtype) for _ in range(2))
    times = timings({"product": lambda: a @ b}, arguments)["product"]
    return 2 * size**3 / (min(times) * 1e-3) / 1e12


def macs(network: Any, image_size: int) -> float:
    """Return the multiply-accumulates of one image: half the FLOPs that torch counts, filter expansion included."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 1, image_size, image_size))
    return counter.get_total_flops() / 2


def measure(networks: dict[str, tuple[Build, str | None]], arguments: argparse.Namespace, peak: float) -> list[dict]:
    """Return a row for each network of a part."""
    images, labels = batch(arguments)
    ready, counts, parameters = {}, {}, {}
    for name, (build, _) in networks.items():
        network = build()
        # torch's counter does not support the libraries' tensor class.
        counts[name] = None if name.endswith("D4") else macs(network, arguments.image_size)
        parameters[name] = sum(parameter.numel() for parameter in network.parameters())
        ready[name] = prepared(name, network, arguments)
    train = timings({name: training_step(*both, images, labels) for name, both in ready.items()}, arguments)
    infer = timings({name: inference(*both, images) for name, both in ready.items()}, arguments)
    fresh = {name: in_a_fresh_process(name, arguments) for name in networks} if arguments.memory else {}
    rows = []
    for name, (_, reference) in networks.items():
        own = fresh.get(name, {})
        # A training step costs about three forward passes.
        flops = None if counts[name] is None else 6 * counts[name] * arguments.batch
        tflops = None if flops is None else flops / (statistics.median(train[name]) * 1e-3) / 1e12
        other = fresh.get(reference or "", {})
        rows.append(
            {
                "network": name,
                "parameters": parameters[name],
                "mmacs": rounded(counts[name], 1, unit=1e6),
                "train_ms": round(statistics.median(train[name]), 2),
                "train_ratio": ratio(train[name], train.get(reference or "")),
                "infer_ms": round(statistics.median(infer[name]), 2),
                "infer_ratio": ratio(infer[name], infer.get(reference or "")),
                "peak_mib": round(own["peak_mib"]) if own else None,
                "peak_ratio": round(own["peak_mib"] / other["peak_mib"], 3) if own and other else None,
                "build_s": round(own["build_s"], 2) if own else None,
                "tflops": rounded(tflops, 4),
                "of_peak": rounded(tflops, 3, unit=peak),
            }
        )
    return rows


def rounded(value: float | None, digits: int, *, unit: float = 1.0) -> float | None:
    """Return a figure for the table, or None if it is missing."""
    return None if value is None else round(value / unit, digits)


def ratio(times: list[float], reference: list[float] | None) -> float | None:
    """Return the median of the ratios within rounds, in which the load is similar."""
    if reference is None:
        return None
    return round(statistics.median(a / b for a, b in zip(times, reference, strict=True)), 3)


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", choices=("all", "small", "wide"), default="all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--image-size", type=int, default=64, help="Set the image size in pixels, a multiple of 8.")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--widths", type=lambda text: [int(part) for part in text.split(",")], default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument(
        "--no-memory", dest="memory", action="store_false", help="Skip the measurements in fresh processes."
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.widths = arguments.widths or [64, 128, 256, 512, 1024]
    if arguments.image_size % 8:
        parser.error(f"--image-size is {arguments.image_size}; it must be a multiple of 8, so that the MACs are equal")
    if any(channels % 8 for channels in arguments.widths):
        parser.error(f"--widths are {arguments.widths}; they must be multiples of 8, the order of the group")
    if arguments.alone:
        print(json.dumps(alone(arguments.alone, arguments)))
        return

    import torch

    torch.set_num_threads(arguments.threads)
    peak = peak_tflops(arguments)
    settings = {**vars(arguments), "torch": torch.__version__, "peak_tflops": round(peak, 4)}
    print(" ".join(f"{key}={value}" for key, value in settings.items() if key != "alone"), file=sys.stderr)
    rows: list[dict[str, Any]] = []
    for networks in parts(arguments).values():
        found = measure(networks, arguments, peak)
        rows += found
        if not arguments.json:
            show(found, heading=len(rows) == len(found))
    if arguments.json:
        print(json.dumps({"settings": settings, "rows": rows}, indent=2))


def show(rows: list[dict[str, Any]], *, heading: bool) -> None:
    """Print rows as a Markdown table."""
    if heading:
        print("| " + " | ".join(rows[0]) + " |")
        print("|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join("-" if value is None else str(value) for value in row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
