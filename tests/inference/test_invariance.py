"""Equivariance error of trained weights: on the test images of their data set, and on files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from msgspec import structs

from zoo import registry
from zoo.cli import cli
from zoo.data.open import Dataset
from zoo.errors import DataError, TrainingError
from zoo.inference.equivariance import measure_trained
from zoo.models.load import load_weights
from zoo.models.target import Target
from zoo.results.store import WEIGHTS, open_result
from zoo.specs import ModelSpec


def asked(host, *words):
    done = CliRunner().invoke(cli, ["equivariance", *words, "--device", "cpu", "--json"], obj=host)
    assert done.exit_code == 0, done.output
    [found] = json.loads(done.stdout)
    return found


def test_weights_are_measured_on_the_test_images_of_their_data_set(host, run_dir):
    result = open_result(run_dir)
    found = asked(host, str(run_dir), "-n", "50")
    assert (found["model"], found["run_id"], found["number"]) == ("toyzoo/tiny", result.run_id, 50)
    assert found["images"] == "test images of toyzoo/stripes"
    images = Dataset(host, result.cell.recipe, {**result.cell.sizes, "test": 50}).split("test").images
    again = measure_trained(host, load_weights(host, run_dir / WEIGHTS), images, about="the same")
    assert found["error"]["square"]["error"] == pytest.approx(again.error.square.error)
    names = [layer["name"] for layer in found["layers"]]
    assert names
    assert not any(name.startswith("network.") for name in names)


@pytest.mark.parametrize("estimates", [False, True])
def test_answers_of_a_regression_are_no_logits(host, run_dir, monkeypatch, estimates):
    """Mean and width have no class, and no common mean that could be taken off."""
    trained = load_weights(host, run_dir / WEIGHTS)
    if estimates:
        trained.about = structs.replace(trained.about, targets=(Target(name="mass", centre=0.0, scale=1.0),))
    images = np.random.default_rng(0).normal(size=(20, 1, 12, 12)).astype(np.float32)
    found = measure_trained(host, trained, images, about="noise", layers=False)
    assert (found.error.square.flips is None) == estimates


def test_a_run_is_found_by_its_first_digits_and_files_are_measured(host, run_dir, tmp_path):
    size = open_result(run_dir).data.image_shape[-1]
    pictures = np.random.default_rng(0).normal(size=(5, size, size)).astype(np.float32)
    np.save(tmp_path / "five.npy", pictures)
    (tmp_path / "broken.npy").write_text("nothing")
    done = CliRunner().invoke(
        cli,
        ["equivariance", run_dir.name[:6], "--store", str(run_dir.parents[2]), "--images", str(tmp_path / "five.npy"),
         "--images", str(tmp_path / "broken.npy"), "--no-layers"],
        obj=host,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert f"run {run_dir.name[:8]}; 5 images of " in done.stdout
    assert "left out: " in done.stderr
    for heading in ("d4", "class flips", "17 degrees", "45 degrees", "floor"):
        assert heading in done.stdout
    np.save(tmp_path / "one.npy", pictures[0])
    done = CliRunner().invoke(cli, ["equivariance", str(run_dir), "--images", str(tmp_path / "one.npy")], obj=host)
    assert isinstance(done.exception, DataError)
    assert "measured on at least 2 images" in str(done.exception)


def test_weights_whose_logits_are_not_finite_are_refused(host, run_dir):
    trained = load_weights(host, run_dir / WEIGHTS)
    with torch.no_grad():
        next(trained.network.parameters()).fill_(torch.nan)
    images = np.random.default_rng(0).normal(size=(4, *trained.image_shape)).astype(np.float32)
    with pytest.raises(TrainingError, match="the logits of 4 of 4 images are not finite"):
        measure_trained(host, trained, images, about="images")


def test_a_model_that_a_plugin_resolves_and_does_not_list_is_measured(host, run_dir, monkeypatch):
    trained = load_weights(host, run_dir / WEIGHTS)
    spec = registry.find(host, ModelSpec, "toyzoo/tiny")
    monkeypatch.setattr(type(host), "specs_of", lambda self, kind: [])
    monkeypatch.setattr(type(host), "resolve_model", lambda self, name: spec if name == spec.id else None)
    images = np.random.default_rng(0).normal(size=(4, *trained.image_shape)).astype(np.float32)
    assert measure_trained(host, trained, images, about="images", layers=False).model == "toyzoo/tiny"
