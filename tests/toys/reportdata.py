"""Small made-up results for the tests of tables and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from storedata import SCORES

from zoo.data.recipe import Recipe
from zoo.paths import file_sha256
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell
from zoo.results.schema import Failed
from zoo.specs import DatasetSpec

CLASSES = ("no_substructure", "subhalo", "vortex")
STRIPES = DatasetSpec(
    id="toyzoo/stripes",
    target="toyzoo:stripes",
    classes=CLASSES,
    params={"image_size": 99},
    budget_notes={"laptop": "stripes four times as wide"},
    slices={"snr": "peak signal-to-noise ratio", "vortex_length": "length of the vortex (arcsec)"},
)
DATASETS = {STRIPES.id: STRIPES}

AFTER = {
    "square": {"error": 3e-7, "flips": 0.0, "elements": 8},
    "angles": {
        "17": {"error": 0.2, "floor": 2e-5, "flips": 0.1},
        "45": {"error": 0.3, "floor": 1e-5, "flips": 0.2},
    },
}


def make_cell(model="toyzoo/tiny", *, data="toyzoo/stripes", seed=0, params=None, **changes):
    """Return a cell; keywords are fields that differ."""
    values = {
        "model": model,
        "model_version": 1,
        "hparams": {},
        "recipe": Recipe(dataset=data, dataset_version=1, params=params or {"image_size": 32}),
        "sizes": {"train": 9216, "val": 1024, "test": 2048},
        "training": {"epochs": 8, "batch_size": 64},
        "seed": seed,
        "budget": "laptop",
        "rule": "val_auc",
        "precision": "fp32",
        "versions": {},
    }
    return Cell(**{**values, **changes})


def good(macro, cell=None, **cell_changes):
    """Return the result of a cell that ended well."""
    cell = cell or make_cell(**cell_changes)
    content = {
        **SCORES,
        "schema": SCHEMA,
        "status": "ok",
        "run_id": cell.run_id,
        "cell": cell.to_json(),
        "classes": list(CLASSES),
        "seconds": 150.0,
        "test": {
            **SCORES["test"],
            "auc": {**{name: macro + 0.001 * k for k, name in enumerate(CLASSES)}, "macro": macro, "micro": macro},
            "intervals": {"auc.macro": [macro - 0.01, macro + 0.01]},
            "accuracy": 0.75,
            "confusion": [[3, 1, 0], [0, 3, 1], [1, 0, 3]],
        },
        "cost": {**SCORES["cost"], "parameters": 51234, "macs": 3_210_000, "train_images_per_second": 1234.5},
        "equivariance": {**SCORES["equivariance"], "after": AFTER},
        "data": {
            "recipe_hash": cell.recipe.hash,
            "image_shape": [1, 32, 32],
            "counts": {split: [size, 0, 0] for split, size in cell.sizes.items()},
        },
    }
    return store.result_from(content, run_dir=Path())


def bad(error, status="failed", **cell_changes):
    """Return the result of a cell that failed."""
    cell = make_cell(**cell_changes)
    return Failed(schema=SCHEMA, status=status, run_id=cell.run_id, cell=cell, run_dir=Path(), error=error)


def stored(folder, result, *, images=30, signal=1.0):
    """Put a good result with predictions and examples into a store; return it with its folder."""
    cell = result.cell
    run_dir = store.prepare_run(folder, cell)
    generator = np.random.default_rng(cell.seed)
    labels = np.arange(images) % 3
    logits = generator.normal(size=(images, 3)) + signal * np.eye(3)[labels]
    predictions = {
        "test.logits": logits,
        "test.labels": labels,
        "test.parameter.snr": np.linspace(10, 30, images),
        "test.parameter.vortex_length": np.where(labels == 2, np.linspace(0.5, 2, images), np.nan),
    }
    ids = {"test.ids": json.dumps([f"test-{i}" for i in range(images)])}
    store.write_arrays(run_dir / store.PREDICTIONS, predictions, ids)
    pictures = generator.normal(size=(7, 1, 8, 8)).astype(np.float32)
    store.write_arrays(
        run_dir / store.EXAMPLES,
        {"images": pictures, "labels": np.array([0, 0, 0, 1, 1, 2, 2])},
        {"classes": json.dumps(CLASSES)},
    )
    files = {name: file_sha256(run_dir / name) for name in (store.PREDICTIONS, store.EXAMPLES)}
    result = replace(result, run_dir=run_dir, files=files)
    store.write_result(result)
    return result
