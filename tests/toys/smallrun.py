"""A small run of the toy network, for tests that run cells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.paths import file_sha256
from zoo.results import store

TOY = Path(__file__).with_name("toyzoo.py")
SMALL = {"train_images": 300, "val_images": 90, "test_images": 120, "epochs": 3, "batch_size": 30, "augment": "none"}


def write_result(run_dir: Path, content: Mapping[str, Any]) -> None:
    """Write a result.json with the checksum of its content and the hashes of the files that lie beside it."""
    kept = {name: value for name, value in content.items() if name != store.CHECKSUM}
    if "files" in kept:
        there = {name: file_sha256(run_dir / name) for name in store.HASHED if (run_dir / name).is_file()}
        kept["files"] = {**kept["files"], **there}
    store.write_json(run_dir / store.RESULT, {**kept, store.CHECKSUM: store.content_checksum(kept)})
