"""Measure a training step in float32 and in bf16, the choice of `--precision auto`, and what the allocator costs.

    uv run python benchmarks/precision.py                      # all networks, minutes
    uv run python benchmarks/precision.py --model p4m --rounds 20
    uv run python benchmarks/precision.py --write              # also writes its processor's part of precision.md

A step is forward pass, loss, backward pass and AdamW on one batch, as in `zoo.train.loop`: in bf16 the forward pass is
under autocast and AdamW is fused; weights, loss and optimiser are in float32. Both precisions have the convolutions and
the max pooling of `zoo.train.cpu_kernels`. The two precisions of a network alternate step by step, so that a busy
machine slows both, and the ratio is the median of the ratios within rounds. With one thread the CPU time of the process
is measured, which depends less on other programs. Target: 1.8 for p4m, p4m_resnet18 and timm/resnet18 on a processor
with avx512_bf16 or amx.

Each network is measured in two fresh processes: with the allocator variables that `zoo` sets for its trainings
(`zoo.processor.ALLOCATOR`) and without. The last columns are the float32 step and the peak memory without the
variables over those with them; these two processes follow each other, so their ratio needs an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from page_parts import wrapped

from zoo.plurals import counted

NETWORKS = (
    "gconv/p4m", "gconv/p4m_resnet18", "timm/resnet18", "gconv/p4", "gconv/z2", "gconv/octic_small",
    "gconv/p4m_convnext", "escnn/c4", "escnn/d4", "escnn/d8", "timm/convnext_atto",
    "timm/vit_tiny",
)  # fmt: skip
RESULT = Path(__file__).parent / "results" / "precision.md"


def alone(model: str, options: argparse.Namespace) -> dict[str, float]:
    """Return milliseconds of a step in both precisions and the peak memory, measured in this fresh process."""
    import torch

    from zoo import create_model
    from zoo.environment import peak_memory_bytes
    from zoo.train.cpu_kernels import FasterOnCpu

    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    torch.manual_seed(0)
    network = create_model(model, image_size=options.image_size).train()
    optimizers = [torch.optim.AdamW(network.parameters(), lr=1e-3, fused=fused) for fused in (None, True)]
    images = torch.randn(options.batch, 1, options.image_size, options.image_size)
    labels = torch.arange(options.batch) % 3

    def step(bf16: bool) -> float:
        started = clock()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16), FasterOnCpu():
            logits = network(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizers[bf16].step()
        optimizers[bf16].zero_grad()
        return 1e3 * (clock() - started)

    pairs = [(step(False), step(True)) for _ in range(options.rounds + 2)][2:]
    return {
        "fp32_ms": statistics.median(fp32 for fp32, _ in pairs),
        "bf16_ms": statistics.median(bf16 for _, bf16 in pairs),
        "ratio": statistics.median(fp32 / bf16 for fp32, bf16 in pairs),
        "peak_mib": peak_memory_bytes() / 2**20,
    }


def in_a_fresh_process(model: str, options: argparse.Namespace, environment: dict[str, str]) -> dict[str, float]:
    """Run `alone` in a process with these variables."""
    command = [sys.executable, __file__, "--alone", "--model", model]
    for name in ("image_size", "batch", "threads", "rounds"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{model}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def row(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the row of a network."""
    from zoo import registry
    from zoo.devices import resolve_precision
    from zoo.host import load_plugins
    from zoo.processor import ALLOCATOR
    from zoo.specs import ModelSpec

    plain = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    without = in_a_fresh_process(model, options, plain)
    found = in_a_fresh_process(model, options, plain | ALLOCATOR)
    spec = registry.find(load_plugins(), ModelSpec, model)
    return {
        "network": model,
        "float32, ms": f"{found['fp32_ms']:.0f}",
        "bf16, ms": f"{found['bf16_ms']:.0f}",
        "float32 / bf16": f"{found['ratio']:.2f}",
        "auto chooses here": resolve_precision("auto", "cpu", bf16_devices=spec.bf16_devices),
        "float32 step without variables / with": f"{without['fp32_ms'] / found['fp32_ms']:.2f}",
        "bf16 step, likewise": f"{without['bf16_ms'] / found['bf16_ms']:.2f}",
        "peak memory with variables / without": f"{found['peak_mib'] / without['peak_mib']:.2f}",
    }


def main() -> None:
    """Measure, print, and write if asked."""
    from zoo.processor import processor_name, usable_cores

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=",".join(NETWORKS), help="networks, separated by commas")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.model, options)))
        return
    lines: list[str] = []
    for model in options.model.split(","):
        found = row(model, options)
        if not lines:
            lines += ["| " + " | ".join(found) + " |", "| --- |" + " ---: |" * (len(found) - 1)]
            print("\n".join(lines))
        lines.append("| " + " | ".join(found.values()) + " |")
        print(lines[-1], flush=True)
    if options.write:
        import torch

        written = (
            f"Written by `uv run python benchmarks/precision.py {' '.join(sys.argv[1:])}`: "
            f"{counted(options.threads, 'thread')}, torch {torch.__version__}, batches of {options.batch} images of "
            f"{options.image_size} x {options.image_size} pixels, {options.rounds} rounds."
        )
        section = "\n\n".join([wrapped(written), "\n".join(lines)]) + "\n"
        RESULT.write_text(with_section(RESULT.read_text(encoding="utf-8"), processor_name(), section), encoding="utf-8")


def with_section(page: str, processor: str, section: str) -> str:
    """Return the page with the section of a processor replaced, or added at the end."""
    head, *others = page.split("\n## ")
    sections = {title: body for title, _, body in (other.partition("\n\n") for other in others)}
    sections[processor] = section
    return "\n".join([head, *(f"## {title}\n\n{body}" for title, body in sections.items())])


if __name__ == "__main__":
    main()
