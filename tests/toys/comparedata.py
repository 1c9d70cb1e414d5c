"""Results with stored predictions, as comparisons need them."""

from __future__ import annotations

import json

import numpy as np
from storedata import SCORES

from zoo.data.recipe import Recipe
from zoo.paths import file_sha256
from zoo.results import store
from zoo.results.cell import SCHEMA, Cell
from zoo.scores.stats import macro_components, softmax

CLASSES = ("none", "subhalo", "vortex")
CELL = Cell(
    model="toy/a",
    model_version=1,
    hparams={"width": 4},
    recipe=Recipe(dataset="toy/set", dataset_version=1),
    sizes={"train": 100, "val": 10, "test": 300},
    training={"lr": 0.1},
    seed=0,
    budget="smoke",
    rule="last",
    precision="fp32",
    versions={},
)


def result_of(folder, cell, logits, labels, ids=None):
    """Store predictions; return a result with the areas that follow from them."""
    run_dir = store.prepare_run(folder, cell)
    arrays = {"test.logits": logits.astype(np.float32), "test.labels": labels}
    store.write_arrays(
        run_dir / store.PREDICTIONS, arrays, {"test.ids": json.dumps(ids or [f"{i}" for i in range(len(labels))])}
    )
    areas, components = macro_components(softmax(logits), labels)
    reach = 1.96 * np.sqrt((components[-1] ** 2).sum())
    content = {
        **SCORES,
        "files": {store.PREDICTIONS: file_sha256(run_dir / store.PREDICTIONS)},
        "schema": SCHEMA,
        "status": "ok",
        "run_id": cell.run_id,
        "cell": cell.to_json(),
        "classes": list(CLASSES),
        "test": {
            **SCORES["test"],
            "auc": dict(zip([*CLASSES, "macro"], areas.tolist(), strict=True)),
            "intervals": {"auc.macro": [float(areas[-1] - reach), float(areas[-1] + reach)]},
            "confusion": [[0] * 3] * 3,
        },
        "data": {**SCORES["data"], "counts": {"val": [0] * 3, "test": [0] * 3}},
    }
    return store.result_from(content, run_dir=run_dir)
