"""Compare networks with and without the residual of a fitted smooth lens as a channel, at equal compute.

    uv run python benchmarks/residual_channel.py --store DIR                # trains what is missing
    uv run python benchmarks/residual_channel.py --store DIR --write        # also writes the result's Markdown
    uv run python benchmarks/residual_channel.py --store DIR --budget smoke --arm image:8 --arm image,residual:4

Model B at the published masses, from random weights, one seed. An arm is the channels of a network and its number of
epochs. The image alone is trained in the phases of the budget, without which it hardly begins to learn, and for as many
more epochs as take the time of the fits; with a residual, all epochs are at the published masses. Start with an empty
cache, and leave a core to the script: the times are part of the result.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from page_parts import wrapped

import zoo
from zoo.plurals import counted
from zoo.results.schema import Finished

RESULT = Path(__file__).parent / "results" / "residual_channel.md"
ARMS = ("image,residual_centred:7", "image:10")


def main() -> None:
    """Train what is missing, print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--model", default="p4m", help="network")
    parser.add_argument("--budget", default="laptop", help="numbers and size of the images")
    parser.add_argument("--arm", action="append", help="CHANNELS:EPOCHS")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    # First those with a channel: their images are rendered and fitted anew, whatever the cache has of others.
    arms = sorted(options.arm or ARMS, key=lambda arm: arm.startswith("image:"))
    results = [train(arm, options) for arm in arms]
    given = [f"--model {options.model} --budget {options.budget}", *(f"--arm {arm}" for arm in arms)]
    text = page(results, " ".join(given))
    print(text)
    if options.write:
        RESULT.write_text(text, encoding="utf-8")


def train(arm: str, options: argparse.Namespace) -> Finished:
    """Return the result of an arm, trained where the store does not hold it."""
    channels, _, epochs = arm.partition(":")
    settings = {"epochs": int(epochs), "data.channels": channels}
    if channels != "image":
        settings["train.phases"] = "none"
    [result] = zoo.bench(
        options.model, "modelB", budget=options.budget, device="cpu", baselines=False, store=options.store,
        settings=settings,
    )  # fmt: skip
    if result.status != "ok":
        raise SystemExit(result.error)
    return result


def page(results: list[Finished], given: str) -> str:
    """Return the page.

    Args:
        results: Of each arm.
        given: Options of the command.
    """
    first = results[0]
    sizes, size = first.cell.sizes, first.data.image_shape[1]
    introduction = (
        f"Written by `uv run python benchmarks/residual_channel.py --store DIR {given} --write`: Model B at the "
        f"published masses, {sizes['train']:,} training and {sizes['test']:,} test images of {size} x {size} pixels, "
        f"`{first.cell.model}` from random weights, one seed. The losses are those of the epoch whose weights were "
        f"kept; chance is 1.099. Minutes are those of {first.environment.processor}, "
        f"{counted(first.environment.threads, 'thread')} a training; simulation includes the fits."
    )
    phases = {channels_of(result): result.cell.trained_on for result in results if result.cell.phases}
    introduction += "".join(f" With {channels} it was trained on {words}." for channels, words in phases.items())
    lines = [
        "| channels | epochs | macro AUC (95 %) | training loss | validation loss | minutes of simulation "
        "| minutes of training | minutes in all |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for result in results:
        low, high = result.test.intervals["auc.macro"]
        history = (result.run_dir / "history.jsonl").read_text(encoding="utf-8").splitlines()
        kept = json.loads(history[result.val.epoch - 1])
        simulation, training = result.cost.simulation_seconds / 60, result.cost.train_seconds / 60
        area = f"{result.test.auc['macro']:.4f} ({low:.4f} to {high:.4f})"
        lines.append(
            f"| {channels_of(result)} | {result.cell.training['epochs']} | {area} | "
            f"{kept['train_loss']:.3f} | {kept['val_loss']:.3f} | {simulation:.1f} | {training:.1f} | "
            f"{simulation + training:.1f} |"
        )
    closing = (
        "`residual` fits the halo's centre, too; `residual_centred` fixes it in the middle of the image, where it lies "
        "in every image of this population."
    )
    parts = ["# The residual of a fitted smooth lens as a channel", wrapped(introduction), "\n".join(lines)]
    return "\n\n".join([*parts, wrapped(closing)]) + "\n"


def channels_of(result: Finished) -> str:
    """Return the channels of a network, as `data.channels` states them."""
    return ",".join(["image", *(name.partition("/")[2] for name in result.cell.recipe.channels)])


if __name__ == "__main__":
    main()
