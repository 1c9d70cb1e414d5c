"""Measure rendering and training steps on a CUDA device.

    uv run python benchmarks/gpu.py [--model gconv/p4m,timm/resnet18] [--image-size 64,150] [--device cuda]

Rendering: finished images per second of one process, noise and truth included, of Model B at budgets laptop and paper,
after a first shard, which includes compilation where that pays.

Steps: forward pass, loss, backward pass and AdamW on one batch in float32, tf32 and bf16, as in `zoo.train.loop`; in
bf16 replayed as CUDA graphs (`zoo.train.cuda_graphs`), and in bf16 without `zoo.train.few_channels`. Wall times of
steps in a row, the least of three, are measured before the profiler is used for the first time, since it makes all
launches after it slower. GPU time is the sum over the kernels of a step. Where wall time is longer than GPU time, the
processor cannot launch kernels as fast as the GPU runs them, and several trainings on one GPU use it better.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from zoo import create_model
from zoo.data.open import Dataset
from zoo.host import load_plugins
from zoo.plan.cells import make_plan
from zoo.plan.request import Request
from zoo.train.cuda_graphs import GraphedForward
from zoo.train.fabric import make_fabric
from zoo.train.few_channels import FewChannelsInPieces

MODELS = "gconv/p4m,gconv/z2_p4m_macs,escnn/c4,gconv/p4m_resnet18,timm/resnet18,gconv/octic_small"
WAYS = ("fp32", "tf32", "bf16", "bf16, CUDA graphs", "bf16, batch norm whole")


def rendered_per_second(budget: str, device: str, images: int) -> float:
    """Return finished images per second."""
    host = load_plugins(environment={})
    request = Request(models=["gconv/z2"], data=["modelB"], budget=budget, device=device, baselines=False)
    [cell] = make_plan(host, request)
    simulation = Dataset(host, cell.recipe, cell.sizes).simulation(expected_images=cell.sizes["train"])
    simulation.arrays("train", np.arange(256))
    started = time.perf_counter()
    simulation.arrays("train", np.arange(256, 256 + images))
    return images / (time.perf_counter() - started)


def make_step(model: str, size: int, batch: int, way: str, device: str) -> Callable[[], None]:
    """Return a training step of a new network."""
    precision = way.partition(",")[0]
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.manual_seed(0)
    network = create_model(model, image_size=size).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    forward: Callable[[Tensor], Tensor] = network
    if "graphs" in way:
        fabric = make_fabric(torch.device(device), "bf16")
        forward = GraphedForward(network, network, fabric, allowed=lambda: device == "cuda")
    images = torch.randn(batch, 1, size, size, device=device)
    labels = torch.arange(batch, device=device) % 3

    def step() -> None:
        pieces = contextlib.nullcontext() if "whole" in way else FewChannelsInPieces()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"), pieces:
            logits = forward(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def wait(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def wall_ms(step: Callable[[], None], device: str, steps: int) -> float:
    """Return milliseconds of a step."""
    for _ in range(min(6, steps)):
        step()
    times = []
    for _ in range(3):
        wait(device)
        started = time.perf_counter()
        for _ in range(steps):
            step()
        wait(device)
        times.append((time.perf_counter() - started) / steps)
    return 1e3 * min(times)


def gpu_ms(step: Callable[[], None], device: str) -> float:
    """Return milliseconds of the kernels of a step."""
    for _ in range(3):
        step()
    wait(device)
    with profile(activities=[ProfilerActivity.CUDA]) as measured:
        for _ in range(3):
            step()
        wait(device)
    return float(sum(event.self_device_time_total for event in measured.key_averages()) / 3e3)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| " + " | ".join(header) + " |\n| --- |" + " ---: |" * (len(header) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODELS, type=lambda text: text.split(","))
    parser.add_argument("--image-size", default=[64, 150], type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--way", default=WAYS, type=lambda text: text.split(";"), help="Separated by semicolons.")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10, help="Set the number of timed steps in a row.")
    parser.add_argument("--images", type=int, default=2048, help="Set the number of rendered images; 0 skips them.")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu only tries the script.")
    options = parser.parse_args()
    device = options.device
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    print(f"{name}, torch {torch.__version__}, batches of {options.batch} images")
    if options.images:
        rates = [(budget, rendered_per_second(budget, device, options.images)) for budget in ("laptop", "paper")]
        print_table("Rendering", ["budget", "images/s"], [[budget, f"{rate:.0f}"] for budget, rate in rates])
    cases = [(model, size) for size in options.image_size for model in options.model]
    walls = {
        case: [wall_ms(make_step(*case, options.batch, way, device), device, options.steps) for way in options.way]
        for case in cases
    }
    rows = [[f"{model}, {size}", *(f"{ms:.2f}" for ms in walls[model, size])] for model, size in cases]
    print_table("Step, ms of wall time", ["network, pixels", *options.way], rows)
    if device == "cpu":
        return
    rows = []
    for model, size in cases:
        times = (gpu_ms(make_step(model, size, options.batch, way, device), device) for way in options.way)
        rows.append([f"{model}, {size}", *(f"{ms:.2f}" for ms in times)])
    print_table("Step, ms of the GPU", ["network, pixels", *WAYS], rows)


if __name__ == "__main__":
    main()
