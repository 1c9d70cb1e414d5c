"""Measure what a group network costs beyond a plain network of the same expanded width.

One training step (forward, loss, backward, AdamW) and one inference pass of gconv/p4m and gconv/p4, each
against the same architecture with ordinary `nn.Conv2d` and `nn.BatchNorm2d` layers of |G| times the width, hence
the same MACs on maps of the same size. Networks take turns, step by step, so that a busy machine slows all.

    uv run python benchmarks/gconv.py [--image-size 64] [--batch 64] [--threads 2] [--device cpu] [--json]

The aim is a training ratio of p4m to plain of at most 1.10 on the CPU. Measured with --threads 1 --rounds 30: 1.04, in
one minute. More threads than idle cores make every network slow and the ratios meaningless.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from zoo_gconv import models
from zoo_gconv.layers import GroupBatchNorm, GroupConv, LiftingConv


def plain_network_of_equal_macs(network: models.GroupNetwork) -> nn.Module:
    """Replace every group layer by the ordinary one with the same planar shape."""
    layers: list[nn.Module] = []
    for layer in network.trunk:
        if isinstance(layer, LiftingConv | GroupConv):
            order_in = 1 if isinstance(layer, LiftingConv) else layer.group.order
            layers.append(
                nn.Conv2d(
                    layer.in_features * order_in,
                    layer.out_features * layer.group.order,
                    # At stride 2 and even size the window of two pixels makes the planar filter one larger.
                    layer.kernel_size + layer.stride - 1,
                    stride=layer.stride,
                    padding=layer.kernel_size // 2,
                    bias=False,
                )
            )
        elif isinstance(layer, GroupBatchNorm):
            layers += [nn.BatchNorm2d(layer.num_features * layer.order), nn.ReLU(inplace=True)]
    channels = network.classifier.in_features * network.order
    head = nn.Linear(channels, network.classifier.out_features)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def count_macs(network: nn.Module, image_size: int, device: str) -> int:
    """Return the multiply-accumulates of one image: half the FLOPs that torch counts, filter expansion included."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 1, image_size, image_size, device=device))
    return counter.get_total_flops() // 2


def timings(tasks: dict[str, Callable[[], object]], *, rounds: int, device: str) -> dict[str, list[float]]:
    """Time the tasks in turn; return milliseconds per round, after three rounds to warm up."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for round_number in range(rounds + 3):
        for name, task in tasks.items():
            if device != "cpu":
                torch.accelerator.synchronize()
            start = time.perf_counter()
            task()
            if device != "cpu":
                torch.accelerator.synchronize()
            if round_number >= 3:
                times[name].append((time.perf_counter() - start) * 1e3)
    return times


def training_step(network: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], object]:
    """Return a function that takes one step of AdamW on the batch."""
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return step


def inference(network: nn.Module, images: Tensor) -> Callable[[], object]:
    """Return a function that classifies the batch."""
    network.eval()

    def classify() -> None:
        with torch.inference_mode():
            network(images)

    return classify


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--image-size", type=int, default=64, help="a multiple of 8")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    size, device = arguments.image_size, arguments.device
    if size % 8:
        parser.error(f"--image-size is {size}; it must be a multiple of 8, so that the MACs of both sides agree")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    images = torch.randn(arguments.batch, 1, size, size, device=device)
    labels = torch.randint(3, (arguments.batch,), device=device)

    networks: dict[str, nn.Module] = {}
    for name in ("p4m", "p4", "z2"):
        network = getattr(models, name)(in_chans=1, num_classes=3, image_size=size)
        networks[name] = network.to(device)
        if name != "z2":
            networks[f"plain of {name}'s width"] = plain_network_of_equal_macs(network).to(device)

    train_steps = {name: training_step(network, images, labels) for name, network in networks.items()}
    train = timings(train_steps, rounds=arguments.rounds, device=device)
    passes = {name: inference(network, images) for name, network in networks.items()}
    infer = timings(passes, rounds=arguments.rounds, device=device)

    rows = []
    for name, network in networks.items():
        plain = f"plain of {name}'s width"
        rows.append(
            {
                "network": name,
                "parameters": sum(p.numel() for p in network.parameters()),
                "mmacs": round(count_macs(network, size, device) / 1e6, 2),
                "train_ms": round(statistics.median(train[name]), 2),
                # Neighbours in time see the same load: the median of ratios is steadier than that of times.
                "train_ratio": ratio(train[name], train.get(plain)),
                "infer_ms": round(statistics.median(infer[name]), 2),
                "infer_ratio": ratio(infer[name], infer.get(plain)),
            }
        )
    settings = {**vars(arguments), "torch": torch.__version__}
    if arguments.json:
        print(json.dumps({"settings": settings, "rows": rows}, indent=2))
        return
    print(" ".join(f"{key}={value}" for key, value in settings.items() if key != "json"))
    columns = list(rows[0])
    print("".join(f"{column:>{24 if column == 'network' else 13}}" for column in columns))
    for row in rows:
        cells = ["-" if row[column] is None else str(row[column]) for column in columns]
        print("".join(f"{cell:>{24 if i == 0 else 13}}" for i, cell in enumerate(cells)))


def ratio(times: list[float], reference: list[float] | None) -> float | None:
    """Return the median of the round-by-round ratios, or None without a reference."""
    if reference is None:
        return None
    return round(statistics.median(a / b for a, b in zip(times, reference, strict=True)), 3)


if __name__ == "__main__":
    main()
