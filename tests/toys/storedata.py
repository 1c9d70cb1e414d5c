"""Contents of result.json for tests."""

from zoo.results.cell import SCHEMA

SCORES = {
    "classes": ["x", "y"],
    "seconds": 1.0,
    "test": {
        "auc": {"x": 0.5, "y": 0.5, "macro": 0.5, "micro": 0.5},
        "intervals": {"auc.macro": [0.4, 0.6]},
        "accuracy": 0.5,
        "log_loss": 0.7,
        "ece": 0.1,
        "brier": 0.25,
        "confusion": [[1, 0], [1, 0]],
        "images": 2,
        "extra": {},
    },
    "val": {"auc": 0.5, "epoch": 1},
    "probe": None,
    "equivariance": {
        "group": None,
        "declared": None,
        "before": {"square": {"error": 0.0, "flips": 0.0, "elements": 8}, "angles": {}},
        "after": {"square": {"error": 0.0, "flips": 0.0, "elements": 8}, "angles": {}},
    },
    "cost": {
        "parameters": 1,
        "macs": 1,
        "train_images_per_second": 1.0,
        "train_seconds": 1.0,
        "inference_images_per_second": 1.0,
        "peak_memory_bytes": 1,
        "micro_batches": 1,
        "resident": True,
        "processes": 1,
        "simulated_images": 0,
        "simulation_seconds": 0.0,
    },
    "data": {"recipe_hash": "0", "image_shape": [1, 8, 8], "counts": {"train": [1, 0], "val": [0, 1], "test": [1, 1]}},
    "init": None,
    "device": "cpu",
    "files": {},
    "environment": {
        "python": "3.11.9",
        "platform": "Linux",
        "processor": "some processor",
        "cores": 2,
        "libraries": {"torch": "2.6.0"},
        "threads": 2,
        "cuda": None,
        "gpu": None,
    },
}
"""Files of a run that ended well, beside its cell."""


def content_of(cell, status="ok", *, error="", **changes):
    """Return what the result.json of a cell holds; keywords are fields that differ."""
    own = {"schema": SCHEMA, "status": status, "run_id": cell.run_id, "cell": cell.to_json()}
    return {**own, **SCORES, **changes} if status == "ok" else {**own, "error": error}
