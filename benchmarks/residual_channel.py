"""Measure what the residual of a fitted smooth lens adds to a network's score: with and without the channel.

    uv run python benchmarks/residual_channel.py --store DIR                # trains what is missing
    uv run python benchmarks/residual_channel.py --store DIR --write        # also writes the result's Markdown
    uv run python benchmarks/residual_channel.py --store DIR --budget smoke --phases "" --arm image:4

Model B at the published masses, from random weights, one seed. An arm is the channels of a network and its number of
epochs; the image alone may have more of them, which take the time of the fits.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import zoo

RESULT = Path(__file__).parent / "results" / "residual_channel.md"
ARMS = ("image,residual_centred:8", "image,residual:8", "image:8", "image:28")


def main() -> None:
    """Train what is missing, print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--model", default="p4m", help="network")
    parser.add_argument("--budget", default="laptop", help="numbers and size of the images")
    parser.add_argument("--phases", default="mass_scale=U(1,4)*1, mass_scale=1*1", help="train.phases, one epoch each")
    parser.add_argument("--arm", action="append", help="CHANNELS:EPOCHS")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    arms = options.arm or list(ARMS)
    lines = [
        "| channels | epochs | macro AUC (95 %) | training loss | validation loss |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for arm in arms:
        channels, _, number = arm.partition(":")
        epochs = int(number)
        phases = options.phases.replace("*1", f"*{epochs // 2}")
        [result] = zoo.bench(
            options.model, "modelB", budget=options.budget, device="cpu", baselines=False, store=options.store,
            settings={"test_images": 1024, "epochs": epochs, "train.phases": phases, "data.channels": channels},
        )  # fmt: skip
        if result.status != "ok":
            raise SystemExit(result.error)
        low, high = result.test.intervals["auc.macro"]
        history = (result.run_dir / "history.jsonl").read_text().splitlines()
        kept = json.loads(history[result.val.epoch - 1])
        lines.append(
            f"| {channels} | {epochs} | {result.test.auc['macro']:.4f} ({low:.4f} to {high:.4f}) | "
            f"{kept['train_loss']:.3f} | {kept['val_loss']:.3f} |"
        )
        print(lines[-1], flush=True)
    if options.write:
        size, sizes = result.data.image_shape[1], result.cell.sizes
        given = f'--model {options.model} --budget {options.budget} --phases "{options.phases}"'
        given += "".join(f" --arm {arm}" for arm in arms)
        rows = "\n".join(lines)
        RESULT.write_text(
            "# The residual of a fitted smooth lens as a channel\n\n"
            f"Written by `uv run python benchmarks/residual_channel.py --store DIR {given} --write`: Model B at the "
            f"published masses, {sizes['train']:,} training images of {size} x {size} pixels, {sizes['test']:,} test "
            f"images, `{options.model}` from random weights, one seed. The losses are those of the epoch whose weights "
            "were kept; chance is 1.099. Epochs are equal, compute is not: the time of the fits is not counted.\n\n"
            f"{rows}\n\n"
            "`residual` fits the halo's centre, too; `residual_centred` fixes it in the middle of the image, where it "
            "lies in every image of this population.\n"
        )


if __name__ == "__main__":
    main()
