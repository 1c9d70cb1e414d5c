"""A small run of the toy network, for tests that run cells."""

from __future__ import annotations

from pathlib import Path

TOY = Path(__file__).with_name("toyzoo.py")
SMALL = {"train_images": 300, "val_images": 90, "test_images": 120, "epochs": 3, "batch_size": 30, "augment": "none"}
