"""The temperature from a run's validation split to its result, its weights file and the answers of `zoo predict`."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from msgspec.structs import replace

import zoo
from zoo.cli import cli
from zoo.models.weights_file import read_header, read_weights, write_weights
from zoo.results import store
from zoo.results.find import good_result
from zoo.results.verify import verify_run
from zoo.scores.calibration import fit_temperature
from zoo.scores.score import score


def without_temperature(run_dir, path):
    """Write the weights of a run as earlier versions did, without the field."""
    content = read_weights(run_dir / store.WEIGHTS)
    about = replace(content.header.about, temperature=None)
    write_weights(path, content.state, about=about, golden=content.golden)
    assert b"temperature" not in path.read_bytes()
    return path


def test_a_run_stores_the_temperature_of_its_validation_split(run_dir):
    result = good_result(run_dir)
    arrays, _ = store.read_arrays(run_dir / store.PREDICTIONS)
    val, test = ([torch.from_numpy(arrays[f"{split}.{name}"]) for name in ("logits", "labels")]
                 for split in ("val", "test"))  # fmt: skip
    found = result.calibration
    assert found.temperature == pytest.approx(fit_temperature(*val), rel=1e-6)
    assert found.temperature == read_header(run_dir / store.WEIGHTS).about.temperature
    again = score(test[0].double() / found.temperature, test[1], result.classes)
    assert (found.log_loss, found.ece, found.macro_auc) == (again.log_loss, again.ece, again.macro)
    assert result.test.log_loss == score(*test, result.classes).log_loss


def test_answers_are_calibrated_and_scores_are_not(run_dir, host, tmp_path):
    trained = zoo.load(run_dir, host=host)
    old = zoo.load(without_temperature(run_dir, tmp_path / "old.safetensors"), host=host)
    images = np.random.default_rng(0).normal(size=(5, 1, 12, 12)).astype(np.float32)
    logits = trained(torch.from_numpy(images)).detach()
    assert torch.equal(logits, old(torch.from_numpy(images)))
    temperature = trained.about.temperature
    expected = (logits / temperature).softmax(1).numpy()
    assert trained.predict_proba(images) == pytest.approx(expected, abs=1e-6)
    for raw in (trained.predict_proba(images, calibrated=False), old.predict_proba(images)):
        assert raw == pytest.approx(logits.softmax(1).numpy(), abs=1e-6)
    result = good_result(run_dir)
    evaluated = zoo.evaluate(run_dir, images=90, host=host)
    assert evaluated.log_loss == pytest.approx(result.test.log_loss, abs=1e-5)


@pytest.mark.parametrize("temperature", [True, False])
def test_predict_states_whether_probabilities_are_calibrated(run_dir, host, tmp_path, temperature):
    weights = run_dir / store.WEIGHTS if temperature else without_temperature(run_dir, tmp_path / "old.safetensors")
    images = np.random.default_rng(0).normal(size=(2, 12, 12)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)

    def predict(*words):
        done = CliRunner().invoke(cli, ["predict", str(weights), str(tmp_path / "images.npy"), *words], obj=host)
        assert done.exit_code == 0, done.output
        return done

    rows = json.loads(predict("--json").stdout)
    assert [row["calibrated"] for row in rows] == [temperature] * 2
    expected = zoo.load(weights, host=host).predict_proba(images)
    assert [list(row["probabilities"].values()) for row in rows] == [pytest.approx(row, abs=1e-5) for row in expected]
    assert ("calibrated on its validation images" in predict().stderr) == temperature
    lines = predict("--csv").stdout.splitlines()
    assert lines[0].endswith(",calibrated")
    assert all(line.endswith(",yes" if temperature else ",no") for line in lines[1:])


def test_an_altered_temperature_is_found(run_dir):
    result = good_result(run_dir)
    assert verify_run(run_dir).state == "true"
    wrong = replace(result.calibration, temperature=2 * result.calibration.temperature)
    store.write_result(replace(result, calibration=wrong))
    problems = " ".join(verify_run(run_dir).problems)
    assert "states the temperature" in problems
    assert "calibration.temperature is" in problems
    assert "calibration.log_loss is" in problems


def test_a_result_of_an_earlier_version_has_no_calibration(run_dir):
    result = good_result(run_dir)
    content = store.plain_result(replace(result, calibration=None))
    assert "calibration" not in content
    assert store.result_from(content, run_dir=run_dir).calibration is None
