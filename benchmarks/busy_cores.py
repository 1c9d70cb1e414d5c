"""Measure a training with several threads, and with one, beside another program that keeps a core busy.

    uv run python benchmarks/busy_cores.py            # a minute; --write also writes benchmarks/results/busy_cores.md

Each measurement trains gconv/p4m on random images of 64 x 64 pixels, batches of 128, in bf16, in a process of its own.
All kinds alternate in each round. The other program is a loop in a session of its own, as a program in another window
would be: Linux gives sessions equal shares of the processor, whatever the number of their processes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from zoo.processor import THREADS_VARIABLE, processor_name, usable_cores

RESULT = Path(__file__).parent / "results" / "busy_cores.md"
BUSY = [sys.executable, "-c", "while True: pass"]
TITLE = "# Trainings beside other programs"


def steps_per_second(seconds: float) -> float:
    """Return the steps of a training a second, in this process."""
    import torch

    from zoo import create_model

    torch.manual_seed(0)
    network = create_model("gconv/p4m", in_chans=1, num_classes=3, image_size=64).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    images, labels = torch.randn(128, 1, 64, 64), torch.randint(0, 3, (128,))
    started, steps = time.perf_counter(), -2  # two steps to warm up
    while steps < 1 or time.perf_counter() - started < seconds:
        if steps == 0:
            started = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(images)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        steps += 1
    return steps / (time.perf_counter() - started)


def measure(threads: int, *, busy: bool, seconds: float) -> float:
    """Return the steps a second of a process with this many threads, beside a busy one or alone."""
    other = subprocess.Popen(BUSY, start_new_session=True) if busy else None
    try:
        found = subprocess.run(
            [sys.executable, __file__, "--alone", str(seconds)], env={**os.environ, THREADS_VARIABLE: str(threads)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        if other is not None:
            other.kill()
            other.wait()
    return float(found.stdout.split()[-1])


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a measurement")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--alone", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone is not None:
        print(steps_per_second(arguments.alone))
        return
    cores = usable_cores()
    kinds = [(threads, busy) for busy in (False, True) for threads in (cores, 1)]
    rates: dict[tuple[int, bool], list[float]] = {kind: [] for kind in kinds}
    for _ in range(arguments.rounds):
        for threads, busy in kinds:
            rates[threads, busy].append(measure(threads, busy=busy, seconds=arguments.seconds))
    means = {kind: statistics.mean(found) for kind, found in rates.items()}
    rows = [
        f"| {threads} | {'one busy program' if busy else 'none'} | {means[threads, busy]:.2f} "
        f"({min(rates[threads, busy]):.2f} to {max(rates[threads, busy]):.2f}) |"
        for threads, busy in kinds
    ]
    gained, lost = means[1, True] / means[cores, True], means[cores, False] / means[1, False]
    lines = [
        TITLE,
        "",
        f"Written by `uv run python benchmarks/busy_cores.py --rounds {arguments.rounds} --write` on "
        f"{processor_name()}, {cores} cores, Linux {os.uname().release.partition('-')[0]}. Steps a second of p4m, "
        "means of the rounds, in brackets the lowest and the highest; the script's first lines define the measurement.",
        "",
        "| threads | beside it | steps a second |",
        "| ---: | --- | ---: |",
        *rows,
        "",
        f"Beside one busy program, a training with 1 thread is {gained:.1f} times as fast as one with {cores}; alone, "
        f"one with {cores} is {lost:.1f} times as fast as one with 1. `zoo bench` notes other programs that keep cores "
        "busy when it begins.",
    ]
    print("\n".join(lines))
    if arguments.write:
        RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
