"""Measure the blind fit of a smooth lens: how often it finds the best fit, what its numbers show, and its cost.

    uv run python benchmarks/fitted_lens.py                     # Models A and B; minutes
    uv run python benchmarks/fitted_lens.py --images 48 --data modelA --fits shapelets
    uv run python benchmarks/fitted_lens.py --write             # also writes benchmarks/results/fitted_lens.md

The images are those of the training split at the published masses (mass_scale 1), 64 x 64 pixels of 0.1 arcsec. A blind
fit is as good as that from the true parameters, with the same noise, where its chi square is at most 3 standard
deviations, 3 sqrt(2 * pixels), higher. AUROC: smooth lenses against both kinds of substructure. The classifier is a
logistic regression, cross-validated over 4 parts. The flexible fit has an ellipsoid with multipoles and a free width of
the PSF, as `baselines/flexible_lens` and the channel `residual_flexible`; the fit with shapelets is that of
`baselines/shapelet_lens`. Where the sources are pictures of galaxies, no parameters are the true ones.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from zoo_baselines.lens_features import FEATURES, features_of
from zoo_baselines.lens_fit import Effort, fit_smooth_lens, levenberg_marquardt
from zoo_baselines.lens_noise import observed
from zoo_baselines.lens_pixels import grids, grids_with_fewer_rays
from zoo_baselines.smooth_lens import INDEX, NAMES, Kind, draw

from zoo import registry
from zoo.data.drawn import first_scenes
from zoo.data.recipe import Recipe
from zoo.data.simulate import Simulation
from zoo.data.truth import common_truth, truth_arrays
from zoo.host import load_plugins
from zoo.lensing.scenes import Scenes, Sersic
from zoo.plurals import counted
from zoo.specs import SimulatorSpec

CAMERA = {"image_size": 64, "pixel_scale": 0.1, "over_sampling": 6}
SHOWN = ("log_chi_square", "largest_smoothed", "log_rms_smoothed", "log_gain", "log_gain_mean", "halo_offset")
RESULT = Path(__file__).parent / "results" / "fitted_lens.md"
BATCH = 8
FITS = {
    "rigid": ("Sersic source, exact PSF", Kind()),
    "flexible": ("Multipoles and a free width of the PSF", Kind(ellipsoid=True, multipoles=True, psf_width=True)),
    "shapelets": ("Shapelets beside the Sersic source", Kind(shapelets=10)),
}
"""Fit -> heading of its table, and its free parameters."""


def true_parameters(scenes: Scenes, brightness: torch.Tensor) -> torch.Tensor:
    """Return [n, len(NAMES)] of the scenes without their substructure; `brightness` [n] is the unit of intensity."""
    source = scenes.source
    assert isinstance(source, Sersic)
    flattening = -np.log(source.axis_ratio)
    values: dict[str, Any] = {
        "log_einstein_radius": np.log(scenes.parameters["total_einstein_radius"]),
        "gamma_1": scenes.shear.gamma_1,
        "gamma_2": scenes.shear.gamma_2,
        "halo_x": scenes.halo.x,
        "halo_y": scenes.halo.y,
        "source_x": source.x,
        "source_y": source.y,
        "source_log_radius": np.log(source.effective_radius),
        "source_log_index": np.log(source.index),
        "source_e1": flattening * np.cos(2 * source.angle),
        "source_e2": flattening * np.sin(2 * source.angle),
        "source_log_intensity": np.log(source.intensity * brightness.numpy()),
        "shapelet_log_width": -1.0,
    }
    parameters = torch.zeros(len(scenes), len(NAMES))
    for name, value in values.items():
        parameters[:, INDEX[name]] = torch.as_tensor(value)
    return parameters


def measure(host: Any, data: str, kind: Kind, *, images: int) -> dict[str, float]:
    """Return the figures of a population and a kind of fit."""
    spec, population, scenes = first_scenes(host, data, images=images, params=CAMERA, seed=0)
    simulator = registry.find(host, SimulatorSpec, "caustics/caustics")
    simulation = Simulation(
        recipe=Recipe(dataset=spec.id, dataset_version=spec.version, simulator=simulator.id, params=CAMERA),
        classes=spec.classes, population=population, render=registry.load_target(simulator), device="cpu",
        expected_images=images, masses=simulator.masses,
    )  # fmt: skip
    shown = simulation.observe("train", np.arange(images), scenes)
    levels = (grids if kind.shapelets is None else grids_with_fewer_rays)(population.instrument)
    fine = levels[-1]
    common = common_truth(truth_arrays(scenes))
    seconds, sky = common.exposure_seconds or 0.0, common.sky or 0.0
    pixels = fine.size**2
    columns, excess, spent = [], [], 0.0
    for start in range(0, images, BATCH):
        part = slice(start, start + BATCH)
        cpu = time.process_time()
        seen = observed(shown.image[part], seconds=seconds, sky=sky)
        fitted = fit_smooth_lens(seen, levels, kind, Effort())
        columns.append(features_of(seen, fitted, fine, kind).numpy())
        spent += time.process_time() - cpu
        if not isinstance(scenes.source, Sersic):
            continue
        weight = 1 / fitted.law.variance(draw(fitted.parameters, fine, kind).images)
        exact = true_parameters(scenes[part], shown.scale[part] / seen.scale)
        best, blind = (
            levenberg_marquardt(parameters, seen.images, weight, fine, kind, steps=steps, tolerance=0.01)[1]
            for parameters, steps in ((exact, 40), (fitted.parameters, 0))
        )
        excess.append(((blind - best) / (2 * pixels) ** 0.5).numpy())
    features, smooth = np.concatenate(columns), scenes.label == 0
    above = np.concatenate(excess) if excess else None
    chi_square = np.exp(features[smooth, FEATURES.index("log_chi_square")])
    figures = {
        "images": float(images),
        "smooth lenses whose blind fit is as good as that from the truth": share_of(above, smooth),
        "lenses with substructure, likewise": share_of(above, ~smooth),
        "mean reduced chi square of smooth lenses": float(chi_square.mean()),
        "its scatter": float(chi_square.std()),
    }
    for name in SHOWN:
        figures[f"AUROC of {name}"] = float(roc_auc_score(~smooth, features[:, FEATURES.index(name)]))
    without = [number for number, name in enumerate(FEATURES) if name != "halo_offset"]
    for label, chosen in (("classifier", list(range(len(FEATURES)))), ("classifier without halo_offset", without)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000))
        found = cross_val_predict(model, features[:, chosen], scenes.label, cv=4, method="predict_proba")
        figures[f"AUROC of the {label}"] = float(roc_auc_score(~smooth, 1 - found[:, 0]))
        figures[f"macro AUC of the {label}"] = float(roc_auc_score(scenes.label, found, multi_class="ovr"))
    figures["ms of one core per image"] = 1e3 * spent / images
    return figures


def share_of(above: np.ndarray | None, chosen: np.ndarray) -> float:
    """Return the share of chosen images whose chi square is at most 3 standard deviations above that from the truth."""
    return math.nan if above is None else float((above[chosen] <= 3).mean())


def table(results: dict[str, dict[str, float]]) -> str:
    """Return the figures as Markdown."""
    lines = [f"| | {' | '.join(results)} |", f"| --- |{' ---: |' * len(results)}"]
    for name in next(iter(results.values())):
        digits = 0 if name == "images" else 1 if name.startswith("ms ") else 4
        values = (figures[name] for figures in results.values())
        cells = " | ".join("-" if math.isnan(value) else f"{value:.{digits}f}" for value in values)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="modelA,modelB", help="populations of spherical haloes without lens light")
    parser.add_argument("--images", type=int, default=240, help="number of images of each population")
    parser.add_argument("--fits", default="rigid,flexible,shapelets", help="kinds of fit")
    parser.add_argument("--threads", type=int, default=1, help="threads of a fit; time on a busy machine needs one")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    host = load_plugins()
    parts = []
    for fit in options.fits.split(","):
        heading, kind = FITS[fit]
        results = {name: measure(host, name, kind, images=options.images) for name in options.data.split(",")}
        parts.append(f"## {heading}\n\n{table(results)}")
        print(parts[-1])
    text = "\n\n".join(parts)
    if options.write:
        command = (
            f"uv run python benchmarks/fitted_lens.py --data {options.data} --fits {options.fits} "
            f"--images {options.images} --write"
        )
        RESULT.write_text(
            "# The fitted smooth lens\n\n"
            f"Written by `{command}`, {counted(options.threads, 'thread')}, on a machine of two cores that other "
            "programs used as well: times are indicative only. The script's first lines define the figures.\n\n"
            "`halo_offset`, the distance of the fitted halo from the image's middle, shows substructure by itself "
            "where the halo lies exactly in the middle of every image, as in Models A and B and `real_sources`; the "
            "rows without it do not use that.\n\n"
            f"{text}\n"
        )


if __name__ == "__main__":
    main()
