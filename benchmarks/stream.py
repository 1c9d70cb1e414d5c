"""Measure the cost of a stream of training images, compared with stored images.

The same network takes the same number of training steps on images that stay on the device, on a stream that is rendered
between the steps, and on a stream that a thread renders ahead. They alternate, one epoch each, so that a busy machine
slows all of them.

    uv run python benchmarks/stream.py [--model p4m] [--image-size 150] [--batch 128] [--device cuda] [--json]

The target on a GPU is that a stream that is rendered ahead adds less than 15 % to a training step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch

from zoo import create_model, open_dataset
from zoo.api import default_host
from zoo.data.loader import Batches, TrainingData
from zoo.data.open import Dataset
from zoo.data.stream import Stream
from zoo.devices import resolve_device
from zoo.plan.recipes import plan_images
from zoo.train.fabric import make_fabric


def train_epoch(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, data: TrainingData, number: int, batch: int
) -> tuple[float, float]:
    """Return the seconds of an epoch, and the part of them spent waiting for images."""
    waited, started = 0.0, time.perf_counter()
    batches = data.epoch(number, batch, shuffle=torch.Generator().manual_seed(number))
    for _ in range(len(data) // batch):
        asked = time.perf_counter()
        images, labels = next(batches)
        waited += time.perf_counter() - asked
        with torch.autocast(data.device.type, torch.bfloat16, enabled=data.device.type == "cuda"):
            loss = torch.nn.functional.cross_entropy(network(images).float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    if data.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started, waited


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="p4m")
    parser.add_argument("--image-size", type=int, default=150)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20, help="Set the number of steps per epoch.")
    parser.add_argument("--rounds", type=int, default=5, help="Set the number of epochs of each kind.")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    device = torch.device(resolve_device(options.device))
    make_fabric(device, "bf16" if device.type == "cuda" else "fp32")

    images = options.steps * options.batch
    params: dict[str, Any] = {"image_size": options.image_size, "pixel_scale": 7.5 / options.image_size}
    _, recipe = plan_images(
        default_host(), "modelB", settings={f"data.{name}": value for name, value in params.items()},
        simulator="caustics", device=device.type,
    )  # fmt: skip
    simulation = Dataset(default_host(), recipe, {}).simulation(expected_images=images * options.rounds)
    split = open_dataset("modelB", images=images, device=device.type, **params)
    sources: dict[str, Batches | Stream] = {
        "kept": Batches(split, device=device, resident=True),
        "streamed": Stream(simulation, images=images, device=device, threaded=False),
        "streamed ahead": Stream(simulation, images=images, device=device, threaded=True),
    }
    network = create_model(options.model, image_size=options.image_size).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    waited: dict[str, list[float]] = {name: [] for name in sources}
    for number in range(options.rounds + 1):
        for name, data in sources.items():
            whole, waiting = train_epoch(network, optimizer, data, number + 1, options.batch)
            if number:  # the first is warm-up
                seconds[name].append(whole)
                waited[name].append(waiting / whole)
    kept = statistics.median(seconds["kept"])
    rows = [
        {
            "images": name,
            "ms per step": 1e3 * statistics.median(seconds[name]) / options.steps,
            "ratio to stored": statistics.median(seconds[name]) / kept,
            "waited": statistics.median(waited[name]),
            "simulated images/s": data.made / data.seconds if isinstance(data, Stream) else None,
        }
        for name, data in sources.items()
    ]
    if options.json:
        print(json.dumps({"device": str(device), **vars(options), "rows": rows}, indent=2))
        return
    print(f"{options.model}, {options.image_size} x {options.image_size}, batch {options.batch}, {device}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    for row in rows:
        rate = f"{row['simulated images/s']:>8,.0f} images/s simulated" if row["simulated images/s"] else ""
        print(
            f"{row['images']:16}{row['ms per step']:10.1f} ms per step{row['ratio to stored']:8.2f} x"
            f"{row['waited']:8.0%} waiting  {rate}"
        )


if __name__ == "__main__":
    main()
