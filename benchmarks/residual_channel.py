"""Measure what the residual of a fitted smooth lens adds to a network's score: with and without the channel.

    uv run python benchmarks/residual_channel.py --store DIR                # trains what is missing; half an hour
    uv run python benchmarks/residual_channel.py --store DIR --write        # also writes the result's Markdown

Model B at the published masses, 64 x 64 pixels, p4m from random weights; the first half of the epochs sees masses
U(1, 4). The network without the channel is trained for as many epochs as the others, and for more of them, which take
the time of the fits.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import zoo

RESULT = Path(__file__).parent / "results" / "residual_channel.md"
SIZES = {"val_images": 512, "test_images": 1024}


def settings(epochs: int, *, images: int, channels: str) -> dict[str, object]:
    """Return the settings of a training whose first half has larger masses."""
    first = epochs // 2
    return {
        **SIZES,
        "train_images": images,
        "train.phases": f"mass_scale=U(1,4)*{first}, mass_scale=1*{epochs - first}",
        "data.channels": channels,
        "batch_size": 32,
    }


def main() -> None:
    """Train what is missing, print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--model", default="p4m", help="network")
    parser.add_argument("--images", type=int, default=2048, help="number of training images of each phase")
    parser.add_argument("--epochs", type=int, default=8, help="number of epochs with a channel")
    parser.add_argument("--more", type=int, default=28, help="number of epochs without one for equal compute")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    arms = [
        ("image,residual_centred", options.epochs),
        ("image", options.epochs),
        ("image", options.more),
        ("image,residual", options.epochs),
    ]
    lines = [
        "| channels | epochs | macro AUC (95 %) | training loss | validation loss |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for channels, epochs in arms:
        [result] = zoo.bench(
            options.model, "modelB", budget="laptop", device="cpu", baselines=False, store=options.store,
            settings=settings(epochs, images=options.images, channels=channels),
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
        given = f"--model {options.model} --images {options.images} --epochs {options.epochs} --more {options.more}"
        rows = "\n".join(lines)
        RESULT.write_text(
            "# The residual of a fitted smooth lens as a channel\n\n"
            f"Written by `uv run python benchmarks/residual_channel.py --store DIR {given} --write`: Model B at the "
            f"published masses, {options.images:,} training images of 64 x 64 pixels in each phase, 1,024 test images, "
            f"`{options.model}` from random weights, one seed. The losses are those of the epoch whose weights were "
            "kept. The second row of the image alone has more epochs in place of the fits.\n\n"
            f"{rows}\n\n"
            "`residual` fits the halo's centre, too; `residual_centred` fixes it in the middle of the image, where it "
            "lies in every image of this population.\n"
        )


if __name__ == "__main__":
    main()
