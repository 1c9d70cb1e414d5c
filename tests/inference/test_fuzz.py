"""The reduced form of benchmarks/fuzz_predict.py: every file is answered or named, and none takes memory."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from zoo.inference.predict import predict
from zoo.inference.read import Skipped, expand, read_pictures

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz_predict.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("fuzz_predict", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_file_is_answered_or_named(script, tmp_path, run_dir, host):
    import zoo

    script.write_files(tmp_path / "files", 64, seed=1)
    model = zoo.load(run_dir / "weights.safetensors", host=host)
    pictures = read_pictures(expand([str(tmp_path / "files")], stdin=()), channels=1)
    found = list(predict(model, pictures))
    assert {Path(each.name.partition("[")[0]).name for each in found} == {
        path.name for path in (tmp_path / "files").iterdir()
    }
    answers = [each for each in found if not isinstance(each, Skipped)]
    assert len(answers) > 5
    assert all(np.isfinite(each.probabilities).all() for each in answers)
    large = [each for each in found if "-large" in each.name]
    assert large
    assert all(isinstance(each, Skipped) for each in large)


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the peak memory of one process alone is known on Linux only"
)
def test_one_process_stays_within_its_memory(script):
    figures = script.measure(files=88, seed=2, weights="p4m.modelA")
    assert script.wrong(figures) == {}, figures["stderr"]
    assert figures["images answered"] > 10
    assert figures["peak memory, MB"] > 100
