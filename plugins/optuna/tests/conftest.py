"""A host with toy plugins, and studies of them that run quickly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = [ROOT / "tests/toys/toyzoo.py", ROOT / "tests/toys/toysky.py", Path(__file__).with_name("tunetoy.py")]
SMALL = {
    "train_images": 240, "val_images": 90, "test_images": 90, "epochs": 3, "batch_size": 30, "augment": "none",
    "weight_decay": 0.0,
}  # fmt: skip


@pytest.fixture(scope="session")
def host():
    from zoo.host import load_plugins

    return load_plugins(files=FILES, environment={})


@pytest.fixture
def start(host, tmp_path):
    """Begin a study of the toy in a store, and return its definition and folder."""
    from zoo_optuna.search import make_study

    from zoo.plan.request import Request

    def go(name="s", *, model="tunetoy/eye", data="toyzoo/stripes", store="store", searched=(), prune_after=5, **more):
        settings = {**SMALL, **more}
        settings = {key.replace("__", "."): value for key, value in settings.items() if value is not None}
        request = Request(
            models=[model], data=[data], budget="smoke", device="cpu", simulator="toysky/painter", settings=settings,
            store=tmp_path / store,
        )  # fmt: skip
        return make_study(host, request, name=name, searched=searched, prune_after=prune_after)

    return go


@pytest.fixture
def start_worker():
    """Start workers as `zoo tune` does, in processes of their own."""
    processes = []

    def go(folder, trials):
        plugins = [word for file in FILES for word in ("--plugin", str(file))]
        words = ["run-trials", str(folder), "--trials", str(trials), "--device", "cpu"]
        processes.append(subprocess.Popen([sys.executable, "-m", "zoo", *plugins, *words]))
        return processes[-1]

    yield go
    for process in processes:
        process.kill()
        process.wait()
