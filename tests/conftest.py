"""One small trained run, for tests that need weights, predictions or a result; scripts of benchmarks/ as modules."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest

# What imports torch is imported by the fixtures: the process that starts the workers reads this file, too, and runs no
# tests.

TOY = Path(__file__).parent / "toys" / "toyzoo.py"
SETTINGS = {"train_images": 300, "val_images": 60, "test_images": 90, "epochs": 2, "batch_size": 30, "lr": 0.02}


@pytest.fixture(scope="session")
def host():
    from zoo.host import load_plugins

    return load_plugins(files=[TOY], environment={})


@pytest.fixture(scope="session")
def run_toy(host):
    from zoo.plan.cells import make_plan
    from zoo.plan.request import Request
    from zoo.results import store
    from zoo.run.cell import run_cell

    def go(folder, *, data="toyzoo/stripes", model="toyzoo/tiny", **settings):
        request = Request(
            models=[model],
            data=[data],
            budget="smoke",
            device="cpu",
            settings={**SETTINGS, "augment": "none", **settings},
            store=folder,
        )
        [cell] = make_plan(host, request)
        run_dir = store.prepare_run(folder, cell)
        return run_cell(host, cell, run_dir, device="cpu"), run_dir

    return go


@pytest.fixture(scope="session")
def trained_once(run_toy, tmp_path_factory):
    result, run_dir = run_toy(tmp_path_factory.mktemp("store"))
    assert result.status == "ok", result.error
    return run_dir


@pytest.fixture
def run_dir(trained_once, tmp_path, monkeypatch):
    """A copy of the trained run in the store tmp_path/results; the tests may damage it."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    copy = tmp_path / "results" / trained_once.relative_to(trained_once.parents[2])
    shutil.copytree(trained_once, copy)
    return copy


@pytest.fixture
def benchmark_script(monkeypatch):
    """Return a function that imports a script of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module


@pytest.fixture
def headline(benchmark_script):
    return benchmark_script("headline")


@pytest.fixture
def page(benchmark_script):
    return benchmark_script("headline_page")


@pytest.fixture
def readme(benchmark_script):
    return benchmark_script("headline_readme")


@pytest.fixture
def notes(benchmark_script):
    return benchmark_script("headline_notes")


@pytest.fixture
def difficulty(benchmark_script):
    return benchmark_script("headline_difficulty")


@pytest.fixture
def tables(benchmark_script):
    return benchmark_script("headline_tables")
