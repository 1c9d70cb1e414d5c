"""What a result must hold to be shown, besides who it belongs to."""

SCORES = {
    "classes": ["x", "y"],
    "seconds": 1.0,
    "test": {"auc": {"x": 0.5, "y": 0.5, "macro": 0.5}, "intervals": {"auc.macro": [0.4, 0.6]}, "accuracy": 0.5},
    "cost": {"parameters": 1, "macs": 1, "train_images_per_second": 1.0},
    "equivariance": {"trained": {"error": 0.0}},
    "data": {"recipe_hash": "0"},
}
