"""`zoo predict` names no class for an image that is unlike the training images, where the weights have a detector."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

import zoo
from zoo.cli import cli
from zoo.models.weights_file import read_weights, write_weights
from zoo.results import store

pytestmark = pytest.mark.slow  # a training


@pytest.fixture
def predict(run_dir, host, tmp_path):
    """Return a function that answers ordinary images and one of another kind, by weights with or without a detector."""
    examples, _ = store.read_arrays(run_dir / store.EXAMPLES)
    images = examples["images"]
    _, _, height, width = images.shape
    other = np.full((1, 1, height, width), images.max() * 5, np.float32)
    other[..., ::2, ::2] *= -1
    np.save(tmp_path / "images.npy", np.concatenate([images, other]))
    weights = read_weights(run_dir / store.WEIGHTS)
    old = tmp_path / "old.safetensors"
    write_weights(old, weights.state, about=weights.header.about, golden=weights.golden)

    def run(*words, with_detector=True):
        path = run_dir / store.WEIGHTS if with_detector else old
        done = CliRunner().invoke(cli, ["predict", str(path), str(tmp_path / "images.npy"), *words], obj=host)
        assert done.exit_code == 0, done.output
        return done

    return run


def test_an_image_unlike_the_training_images_has_no_class(predict):
    *ordinary, other = json.loads(predict("--json").stdout)
    assert [row["unlike_training_images"] for row in ordinary] == [False] * len(ordinary)
    assert {row["class"] for row in ordinary} <= {"a", "b", "c"}
    assert (other["class"], other["share_of_validation_closer"]) == ("none of these", 1.0)
    assert "unlike the training images: more so than 99.9% of the validation images" in other["notes"]
    assert sum(other["probabilities"].values()) == pytest.approx(1)
    table = predict()
    assert table.stdout.splitlines()[-1].count("none of these") == 1
    assert f"the class of 1 of {len(ordinary) + 1} images is given as 'none of these'" in table.stderr
    *_, last = csv.DictReader(predict("--csv").stdout.splitlines())
    assert (last["class"], float(last["share_of_validation_closer"])) == ("none of these", 1.0)


def test_weights_without_a_detector_answer_as_before(predict, run_dir, host, tmp_path):
    without = predict("--json", with_detector=False)
    assert "warning: these weights have no detector" in without.stderr
    assert "have no detector" not in predict("--json").stderr
    rows = json.loads(without.stdout)
    known = json.loads(predict("--json").stdout)
    assert "share_of_validation_closer" not in rows[0]
    assert [row["probabilities"] for row in rows] == [row["probabilities"] for row in known]
    assert "share_of_validation_closer" not in predict("--csv", with_detector=False).stdout
    assert zoo.load(tmp_path / "old.safetensors", host=host).detector == {}
