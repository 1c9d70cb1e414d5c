"""Measure what the part of the Airy pattern that the two 2019 models leave out would change.

    uv run python benchmarks/airy_pattern.py             # print the table
    uv run python benchmarks/airy_pattern.py --write     # write benchmarks/results/airy_pattern.md

Both models end their Airy pattern at its third dark ring and scale it to 1 (`psf=airy_circle`). Each scene is convolved
in float64 with this pattern and with one that reaches across the whole image and twice as far, both exposed to the SNR
of the scene. The figure of a scene is the largest difference of a pixel over its noise.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.special import j1

from zoo import registry
from zoo.host import load_plugins
from zoo.lensing.instrument import Instrument
from zoo.lensing.observe import Rendered, brightest, brightness_scale
from zoo.lensing.pixels import render_pixels
from zoo.specs import DatasetSpec, SimulatorSpec

RESULT = Path(__file__).resolve().parent / "results" / "airy_pattern.md"
MODELS = ("model_2019_ideal", "model_2019_representative")
SCENES = 48
Pattern = NDArray[np.float64]


def whole_pattern(camera: Instrument, radius: int) -> Pattern:
    """Return the light of the Airy pattern in each pixel, of which all pixels of the plane have 1 in sum."""
    offset = np.arange(-radius, radius + 1) * camera.pixel_scale
    argument = 3.8317059702075123 * np.hypot(offset[:, None], offset) / camera.psf_width
    argument[radius, radius] = 1e-9
    per_area = (2 * j1(argument) / argument) ** 2 / (4 * math.pi * (camera.psf_width / 3.8317059702075123) ** 2)
    light: Pattern = per_area * camera.pixel_scale**2
    return light


def measure(model: str, scenes: int) -> tuple[float, Pattern]:
    """Return the share of the light that is left, and the figure of each scene."""
    host = load_plugins(environment={})
    spec = registry.find(host, DatasetSpec, model)
    render = registry.load_target(registry.find(host, SimulatorSpec, "caustics"))
    build = registry.load_target(spec)
    camera = build(**spec.params).instrument
    reach = 2 * camera.image_size
    wide = build(**{**spec.params, "psf": "none", "image_size": camera.image_size + 2 * reach}).instrument
    cut, whole = camera.psf_kernel(), whole_pattern(camera, reach)
    drawn = build(**spec.params).sample(np.arange(scenes), "airy pattern")
    found = []
    for one in range(scenes):
        scene = drawn[one : one + 1]
        sharp = render_pixels(render, scene, wide, simulator="caustics", device="cpu").rendered
        lights = [sharp.source] if sharp.lens_light is None else [sharp.source, sharp.lens_light]

        def exposed(pattern: Pattern, lights: list[torch.Tensor] = lights, scene: Any = scene) -> tuple[Any, Any]:
            inner = slice(reach, reach + camera.image_size)
            blurred = [fftconvolve(light[0].double().numpy(), pattern, mode="same")[inner, inner] for light in lights]
            images = [torch.from_numpy(light)[None] for light in blurred]
            rendered = Rendered(source=images[0], lens_light=images[1] if len(images) > 1 else None)
            scale = float(brightness_scale(scene.exposure, brightest(rendered))[0])
            rate = scale * sum(blurred)
            return rate, np.sqrt((rate + scene.exposure.sky[0]) / scene.exposure.seconds[0])

        (with_cut, noise), (with_whole, _) = exposed(cut), exposed(whole)
        found.append(float((np.abs(with_whole - with_cut) / noise).max()))
    middle = slice(reach - camera.psf_radius_pixels, reach + camera.psf_radius_pixels + 1)
    return float(whole[middle, middle][cut > 0].sum()), np.array(found)


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--write", action="store_true", help="Write the page of results.")
    options = parser.parse_args()
    lines = [
        "# What the end of the Airy pattern leaves out",
        "",
        "Written by `uv run python benchmarks/airy_pattern.py --write`: the largest difference of a pixel over its",
        "noise, between images with the whole pattern and with its part inside the third dark ring, of",
        f"{options.scenes} scenes.",
        "",
        "| population | light inside | median of the scenes | largest |",
        "| --- | ---: | ---: | ---: |",
    ]
    for model in MODELS:
        share, found = measure(model, options.scenes)
        lines.append(f"| `{model}` | {share:.1%} | {np.median(found):.2f} | {found.max():.2f} |")
    page = "\n".join(lines) + "\n"
    print(page)
    if options.write:
        RESULT.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
