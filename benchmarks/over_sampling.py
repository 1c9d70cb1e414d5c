"""Measure what accuracy costs: rendering with two rays per pixel and axis, as in version 1, and with today's number.

    uv run python benchmarks/over_sampling.py

Both render the same scenes in turn, on one thread; figures are medians of processor time, which depends little on other
programs. Noise is not part of it.
"""

from __future__ import annotations

import statistics

import numpy as np
import torch
from simulate import Side, seconds

from zoo import registry
from zoo.data.drawn import first_scenes
from zoo.host import load_plugins
from zoo.lensing.pixels import render_pixels
from zoo.lensing.scenes import Scenes
from zoo.specs import DatasetSpec

DATA, IMAGES, ROUNDS, BEFORE = "modelA", 24, 5, 2
SET = 1024
"""Images for which the seconds on two cores are stated: those of budget smoke."""


def main() -> None:
    """Print a row for each budget."""
    host = load_plugins(environment={})
    spec, engine = registry.find(host, DatasetSpec, DATA), registry.find_simulator(host)
    render = registry.load_target(engine)
    torch.set_num_threads(1)
    sides: list[tuple[str, int, Side, Scenes]] = []
    for budget in ("smoke", "laptop", "paper"):
        today = {**spec.params, **spec.budgets.get(budget, {})}
        for rays in (BEFORE, today["over_sampling"]):
            _, population, scenes = first_scenes(
                host, DATA, images=IMAGES, params={**today, "over_sampling": rays}, seed=0
            )

            def pixels(some: Scenes, instrument=population.instrument) -> torch.Tensor:
                # As for a large set, for which compiling pays.
                return render_pixels(
                    render, some, instrument, simulator=engine.id, device="cpu", expected_images=10**6
                ).rendered.source

            sides.append((budget, rays, Side(name=f"{budget}, {rays}", render=pixels, images=IMAGES), scenes))
    times: dict[str, list[float]] = {side.name: [] for _, _, side, _ in sides}
    for number in range(ROUNDS + 1):
        for _, _, side, scenes in sides:
            _, processor = seconds(side, scenes)
            if number:  # the first one compiles
                times[side.name].append(processor / IMAGES)
    print(f"| {DATA} | rays per pixel and axis | ms of a core per image | ratio | {SET:,} images on two cores, s |")
    print("|---|---:|---:|---:|---:|")
    before = np.nan
    for budget, rays, side, _ in sides:
        found = statistics.median(times[side.name])
        before = found if rays == BEFORE else before
        print(f"| {budget} | {rays} | {1e3 * found:.2f} | {found / before:.1f} | {SET * found / 2:.2f} |")


if __name__ == "__main__":
    main()
