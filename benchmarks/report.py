"""Measure the time of the first report of a large store, and of a second report without changes.

Writes a store of cells with random predictions (without training), with the curves that a cell keeps, and times
`zoo report` once, `zoo report --html` as a first report and again, each in a separate process, and `zoo report --json`,
which only reads the results. With --old the page is timed without the curves, too, as of cells of an earlier version.

    uv run python benchmarks/report.py [--cells 500] [--images 7500] [--old] [--json]

The target is 20 s of processor time for 5,000 cells with 7,500 test images each; it is comparable even on a busy
machine. The store takes about a megabyte per cell and is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.recipe import Recipe
from zoo.environment import describe
from zoo.paths import file_sha256
from zoo.processor import usable_cores
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.digest import DIGEST, read_digest
from zoo.results.schema import Cost, DataSummary, Finished, Validation
from zoo.scores.schema import Change, Equivariance, Invariance, Scores
from zoo.scores.stats import macro_components, softmax

CLASSES = ("no_substructure", "subhalo", "vortex")
DATASETS, MODELS = 5, 10


def make_store(folder: Path, *, cells: int, images: int) -> None:
    """Write results of 5 data sets x 10 networks x the required number of seeds."""
    for number in range(cells):
        dataset, model, seed = number % DATASETS, number // DATASETS % MODELS, number // (DATASETS * MODELS)
        world = np.random.default_rng(dataset)
        labels = np.arange(images) % len(CLASSES)
        parameters = {
            "snr": world.uniform(10, 30, images),
            "substructure_mass_fraction": np.where(labels, world.uniform(0.01, 0.2, images), 0.0),
            "substructure_count": np.where(labels == 1, world.poisson(25, images), 0.0),
            "vortex_length": np.where(labels == 2, world.uniform(0.5, 2, images), np.nan),
        }
        own = np.random.default_rng([dataset, model, seed])
        signal = (1.0 + 0.15 * model + 0.05 * own.normal()) * parameters["snr"] / 20
        logits = own.normal(size=(images, len(CLASSES))) + signal[:, None] * np.eye(len(CLASSES))[labels]
        write_cell(
            folder, f"made/data{dataset}", f"made/net{model}", seed, logits.astype(np.float32), labels, parameters
        )


def write_cell(
    folder: Path,
    dataset: str,
    model: str,
    seed: int,
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    parameters: dict[str, NDArray[np.float64]],
) -> None:
    """Write one result with its predictions."""
    cell = Cell(
        model=model,
        model_version=1,
        hparams={},
        recipe=Recipe(dataset=dataset, dataset_version=1, params={"image_size": 150}),
        sizes={"train": 67_500, "val": 7_500, "test": len(labels)},
        training={"batch_size": 128},
        seed=seed,
        budget="paper",
        rule="val_auc",
        precision="bf16",
        versions={},
    )
    run_dir = store.prepare_run(folder, cell)
    arrays: dict[str, NDArray[Any]] = {"test.logits": logits, "test.labels": labels}
    arrays |= {f"test.parameter.{name}": values for name, values in parameters.items()}
    store.write_arrays(
        run_dir / store.PREDICTIONS, arrays, {"test.ids": json.dumps([f"test-{i:07d}" for i in range(len(labels))])}
    )
    probabilities = softmax(logits)
    areas, components = macro_components(probabilities, labels)
    reach = 1.96 * np.sqrt((components**2).sum(1))
    names = [*CLASSES, "macro"]
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(1)), 1)
    measured = Invariance(square=Change(error=0.2, flips=0.1, elements=8), angles={})
    result = Finished(
        schema=SCHEMA,
        status="ok",
        run_id=cell.run_id,
        cell=cell,
        run_dir=run_dir,
        classes=CLASSES,
        test=Scores(
            auc=dict(zip(names, areas.tolist(), strict=True)) | {"micro": float(areas[-1])},
            intervals={f"auc.{n}": (float(a - r), float(a + r)) for n, a, r in zip(names, areas, reach, strict=True)},
            accuracy=float((probabilities.argmax(1) == labels).mean()),
            log_loss=0.5,
            ece=0.02,
            confusion=tuple(map(tuple, confusion.tolist())),
            images=len(labels),
        ),
        val=Validation(auc=float(areas[-1]), epoch=20),
        equivariance=Equivariance(group=None, declared=None, before=measured, after=measured),
        cost=Cost(
            parameters=30_000,
            macs=60_000_000,
            train_images_per_second=9e3,
            train_seconds=3000.0,
            inference_images_per_second=3e4,
            peak_memory_bytes=2**30,
            micro_batches=1,
            resident=True,
            processes=1,
            simulated_images=0,
            simulation_seconds=0.0,
        ),
        data=DataSummary(
            recipe_hash=cell.recipe.hash,
            image_shape=(1, 150, 150),
            counts={split: (size, 0, 0) for split, size in cell.sizes.items()},
        ),
        init=None,
        device="cpu",
        files={store.PREDICTIONS: file_sha256(run_dir / store.PREDICTIONS)},
        seconds=3600.0,
        environment=describe(accelerator=False),
    )
    read_digest(result)  # keeps the curves, as a cell does
    store.write_result(result)


def seconds(arguments: list[str]) -> tuple[float, float]:
    """Run zoo with these arguments and return wall and processor time; exit if the command fails."""
    started, used = time.perf_counter(), os.times()
    words = [sys.executable, "-m", "zoo", *arguments]
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    now = os.times()
    children = now.children_user + now.children_system - used.children_user - used.children_system
    return time.perf_counter() - started, children


def main() -> None:
    """Write the store, run the reports and print their times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--images", type=int, default=7500)
    parser.add_argument("--old", action="store_true", help="also without the curves that cells keep")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.cells < 1 or arguments.images < 30:
        parser.error("--cells must be at least 1 and --images at least 30")
    with tempfile.TemporaryDirectory() as folder:
        place, page = Path(folder, "store"), Path(folder, "page.html")
        make_store(place, cells=arguments.cells, images=arguments.images)
        seconds(["--help"])  # compiles bytecode
        write = ["report", "--store", str(place), "--html", str(page)]
        measured = {"first report": seconds(["report", "--store", str(place)])}
        for kept in place.glob(".report/*"):  # the comparisons
            kept.unlink()
        measured |= {
            "first report with page": seconds(write),
            "second report": seconds(write),
            "reading the results only": seconds(["report", "--store", str(place), "--json"]),
        }
        if arguments.old:
            for kept in place.glob(f"*/*/*/{DIGEST}"):
                kept.unlink()
            measured["page without kept curves"] = seconds(write)
        settings = {
            "cells": arguments.cells,
            "images": arguments.images,
            "page_megabytes": round(page.stat().st_size / 1e6, 2),
            "python": platform.python_version(),
            "cores": usable_cores(),
            "load": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        }
    if arguments.json:
        rows = [
            {"what": name, "seconds": round(wall, 2), "processor_seconds": round(processor, 2)}
            for name, (wall, processor) in measured.items()
        ]
        print(json.dumps({"settings": settings, "rows": rows}, indent=2))
        return
    print(" ".join(f"{key}={value}" for key, value in settings.items()))
    print(f"{'':28}{'wall s':>8}{'processor s':>13}")
    for name, (wall, processor) in measured.items():
        print(f"{name:28}{wall:8.2f}{processor:13.2f}")


if __name__ == "__main__":
    main()
