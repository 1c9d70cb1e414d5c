"""Draw docs/images/populations.png: one lens without substructure, with sub-haloes, and with a vortex.

    python docs/draw_populations.py

Source, shear and the mass inside the Einstein radius are the same in all rows; the halo holds a few per cent less of it
where there is substructure.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import LogNorm
from zoo_caustics.simulator import render
from zoo_deeplense.population import NO_SUBSTRUCTURE, SUBHALO, VORTEX, LensPopulation, build
from zoo_deeplense.tables import MODEL_A

from zoo.lensing.draws import Draws
from zoo.lensing.observe import observe
from zoo.lensing.scenes import Scenes

ROWS = {NO_SUBSTRUCTURE: "no substructure", SUBHALO: "sub-haloes", VORTEX: "vortex"}
STREAM = "picture/train"
POINT_WIDTH = 0.06  # arcsec; a point mass without a width would be invisible
STRETCH = 0.6  # exponent of the brightness, which makes faint arcs visible
DARK, LIGHT = "#101418", "#e8e8e8"


def choose_scenes(population: LensPopulation) -> Scenes:
    """Return three scenes that differ only in their substructure, which is on a bright ring."""
    scenes = population.sample(np.arange(6000), STREAM)
    label, points = scenes.label, scenes.points
    mass, distance = points.einstein_radius**2, np.hypot(points.x, points.y)
    offset, gamma = np.hypot(scenes.source.x, scenes.source.y), scenes.parameters["shear"]
    lens = (offset > 0.08) & (offset < 0.2) & (gamma > 0.05) & (gamma < 0.1) & (scenes.source.effective_radius < 0.35)
    base = np.flatnonzero(lens & (label == NO_SUBSTRUCTURE))[0]
    # The mass on the ring determines the visible effect.
    on_ring = (mass * (np.abs(distance - 1.6) < 0.35)).sum(1)
    length = scenes.parameters["vortex_length"]
    usual = scenes.parameters["substructure_mass_fraction"] < 0.05
    subhaloes = np.argmax(np.where((label == SUBHALO) & usual, on_ring, 0))
    vortex = np.argmax(np.where((label == VORTEX) & usual & (length > 1.0) & (length < 1.6), on_ring, 0))
    chosen = scenes[np.array([base, subhaloes, vortex])]

    def of_base(part: object) -> object:
        return replace(part, **{name: np.repeat(values[:1], 3, 0) for name, values in vars(part).items()})  # type: ignore[type-var]

    return replace(chosen, source=of_base(chosen.source), shear=of_base(chosen.shear))


def convergence(scenes: Scenes, i: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the convergence of the halo and of the point masses, which are smoothed by POINT_WIDTH."""
    kappa = scenes.halo.einstein_radius[i] / (2 * np.hypot(x, y))
    for px, py, theta in zip(scenes.points.x[i], scenes.points.y[i], scenes.points.einstein_radius[i], strict=True):
        spread = np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / POINT_WIDTH**2) / (2 * np.pi * POINT_WIDTH**2)
        kappa += np.pi * theta**2 * spread
    return kappa


def deflection(scenes: Scenes, i: int, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the deflection by the point masses in arcsec."""
    alpha = np.zeros((2, *x.shape))
    for px, py, theta in zip(scenes.points.x[i], scenes.points.y[i], scenes.points.einstein_radius[i], strict=True):
        alpha += theta**2 * np.stack([x - px, y - py]) / ((x - px) ** 2 + (y - py) ** 2 + 1e-4)
    return alpha[0], alpha[1]


def draw(path: Path) -> None:
    """Draw the figure into a PNG file."""
    population = build(**MODEL_A)
    scenes, camera = choose_scenes(population), population.instrument
    rendered = render(scenes, camera, device="cpu", dtype=torch.float64)
    observed = observe(rendered, scenes.exposure, draws=Draws(STREAM, np.arange(3)))
    clean = (rendered.source * observed.scale.double()[:, None, None]).numpy()
    sky, seconds = scenes.exposure.sky[0], scenes.exposure.seconds[0]
    images = observed.image.numpy()
    residual = (images - clean[0]) / np.sqrt((clean[0] + sky) / seconds)

    half = 2.9  # arcsec, the part of the field that is shown
    cut = round((camera.field_of_view / 2 - half) / camera.pixel_scale)
    images, residual = images[:, cut:-cut, cut:-cut], residual[:, cut:-cut, cut:-cut]
    axis = np.linspace(-half, half, 300)
    x, y = np.meshgrid(axis, axis)
    arrows = np.meshgrid(*[np.linspace(-half, half, 17)[1:-1]] * 2)
    alphas = [deflection(scenes, i, x, y) for i in range(3)]
    largest = max(np.quantile(np.hypot(*alpha), 0.995) for alpha in alphas)

    plt.rcParams.update({"text.color": LIGHT, "axes.labelcolor": LIGHT, "xtick.color": LIGHT, "ytick.color": LIGHT,
                         "axes.edgecolor": "#5a6470", "font.size": 11})  # fmt: skip
    figure, axes = plt.subplots(3, 4, figsize=(12.6, 9.7), facecolor=DARK, layout="constrained")
    where = {"origin": "lower", "extent": (-half, half, -half, half)}
    for i, name in enumerate(ROWS.values()):
        panels = axes[i]
        shown = [
            panels[0].imshow(convergence(scenes, i, x, y), norm=LogNorm(0.15, 10), cmap="magma", **where),
            panels[1].imshow(np.hypot(*alphas[i]), vmin=0, vmax=largest, cmap="viridis", **where),
            panels[2].imshow(np.clip(images[i], 0, None) ** STRETCH, vmin=0, vmax=clean.max() ** STRETCH,
                             cmap=plt.get_cmap("inferno", 64), interpolation="nearest", **where),
            panels[3].imshow(residual[i], vmin=-12, vmax=12, cmap=plt.get_cmap("RdBu_r", 25),
                             interpolation="nearest", **where),
        ]  # fmt: skip
        if i:
            arrow_x, arrow_y = deflection(scenes, i, *arrows)
            length = np.hypot(arrow_x, arrow_y)
            shorter = -np.minimum(1, 0.12 / length)  # rays are bent towards the mass
            panels[1].quiver(*arrows, arrow_x * shorter, arrow_y * shorter, color="white", alpha=0.8, scale=2.0,
                             width=0.005)  # fmt: skip
            percent = 100 * scenes.parameters["substructure_mass_fraction"][i]
            name += f"\n{percent:.1f} % of the mass"
        else:
            panels[1].text(0, 0, "none", ha="center", va="center", fontsize=13)
        panels[0].set_ylabel(name, fontsize=13, labelpad=10)
        for panel in panels:
            panel.set(xticks=[], yticks=[])
    panels[0].plot([-half + 0.5, -half + 1.5], [-half + 0.5] * 2, color="white", lw=2)
    panels[0].text(-half + 1.0, -half + 0.65, "1″", color="white", ha="center", va="bottom")
    titles = ("convergence", "deflection by the\nsubstructure (arcsec)", "image",
              "difference to the smooth lens\n(in units of the noise)")  # fmt: skip
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, fontsize=13)
    for column, (picture, ticks) in enumerate(zip(shown, ([0.2, 1, 5], None, None, [-12, -6, 0, 6, 12]), strict=True)):
        bar = figure.colorbar(picture, ax=axes[:, column], orientation="horizontal", shrink=0.9, aspect=28, pad=0.015)
        bar.outline.set_visible(False)
        if ticks:
            bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks], minor=False)
            bar.minorticks_off()
        if column == 2:
            counts = np.array([0, 1, 2, 4])
            bar.set_ticks(counts**STRETCH, labels=[str(count) for count in counts])
            bar.set_label("counts per second", fontsize=10)
    figure.savefig(path, dpi=80, facecolor=DARK, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw one lens of each class.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images" / "populations.png")
    draw(parser.parse_args().out)
