"""The leak probe: it finds what scalars tell, and nothing where there is nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from zoo.cli import cli
from zoo.data.split import Split
from zoo.errors import UsageError
from zoo.scores import probe as module
from zoo.scores.probe import best_scalars, describe_probe, probe, probe_splits
from zoo.scores.scalars import NAMES, scalars_of
from zoo.scores.schema import Probe

CLASSES = ("a", "b", "c")


def rings(count: int, *, seed: int, leak: str = "", size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy rings of random radius, width and brightness, one of them made larger, brighter, ... by class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    random.shuffle(labels)
    axis = np.arange(size) - (size - 1) / 2
    distance = np.hypot(axis[:, None], axis)
    radius, brightness = random.uniform(5, 8, count), random.uniform(1, 2, count)
    radius = radius + (leak == "radius") * labels
    brightness = brightness + (leak == "flux") * labels
    images = brightness[:, None, None] * np.exp(-((distance - radius[:, None, None]) ** 2) / 2)
    images = images + (leak == "peak") * 1.2 * labels[:, None, None] * (distance > 16)
    images += random.normal(0, 0.05, images.shape)
    return images[:, None].astype(np.float32), labels


def split(name: str, images: np.ndarray, labels: np.ndarray, chunks: int = 3) -> Split:
    return Split(
        name=name, classes=CLASSES, chunks=np.array_split(images, chunks), labels=labels, ids=list(map(str, labels))
    )


def test_an_interval_is_over_groups_of_test_images():
    train, test = rings(900, seed=0), rings(300, seed=1)
    copied = split("test", np.tile(test[0], (3, 1, 1, 1)), np.tile(test[1], 3))
    lens = {"lens": np.tile(np.arange(300.0), 3)}
    alone, in_groups, wrong = (
        probe_splits(split("train", *train), one)
        for one in (split("test", *test), replace(copied, parameters=lens, grouped_by="lens"), copied)
    )
    widths = [high - low for low, high in (alone.interval, in_groups.interval, wrong.interval)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
    assert widths[2] < 0.7 * widths[0]
    assert in_groups.boosted_interval[0] < wrong.boosted_interval[0]


def measured(leak: str = "") -> Probe:
    found = probe_splits(split("train", *rings(900, seed=0, leak=leak)), split("test", *rings(900, seed=1, leak=leak)))
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("leak", "feature"), [("radius", "ring radius"), ("flux", "flux"), ("peak", "peak")])
def test_a_planted_leak_is_found_and_named(leak, feature):
    found = measured(leak)
    low, high = found.interval
    assert 0.62 < low <= found.auc["macro"] <= high
    assert found.boosted_interval[0] <= found.boosted["macro"] <= found.boosted_interval[1]
    assert found.boosted["macro"] > 0.62
    assert found.single[feature] > 0.62
    assert found.shuffled == pytest.approx(0.5, abs=0.03)
    assert found.boosted_shuffled == pytest.approx(0.5, abs=0.06)
    assert f"linear {found.auc['macro']:.3f}" in describe_probe(found)
    assert f"boosted trees {found.boosted['macro']:.3f}" in describe_probe(found)
    name, area = best_scalars(found)[0]
    assert area == max(found.single.values())
    assert f"alone: {name} {area:.3f}" in describe_probe(found)


@pytest.mark.slow
def test_nothing_is_found_where_nothing_is():
    found = measured()
    low, high = found.interval
    assert low < 0.52
    assert high > 0.48
    assert found.shuffled == pytest.approx(0.5, abs=0.03)


@pytest.mark.slow
def test_areas_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = random.normal(size=(300, 4)) + labels[:, None] * 0.4
    found = probe(features, labels, features, labels, classes=CLASSES, names=tuple("abcd"))
    from sklearn.linear_model import LogisticRegression

    standardised = (features - features.mean(0)) / features.std(0)
    expected = LogisticRegression(max_iter=1000).fit(standardised, labels).predict_proba(standardised)
    assert found.auc["macro"] == pytest.approx(roc_auc_score(labels, expected, multi_class="ovr"), abs=1e-9)


def test_constants_and_missing_classes_are_survived():
    labels = np.arange(60) % 3
    constant = np.ones((60, 4))
    found = probe(constant, labels, constant, labels, classes=CLASSES, names=tuple("abcd"))
    assert found.auc["macro"] == found.boosted["macro"] == 0.5
    assert probe(constant, labels, constant, labels * 0, classes=CLASSES, names=tuple("abcd")) is None
    assert "not possible" in describe_probe(None)


def test_pieces_and_limits_do_not_change_the_features(monkeypatch):
    images, labels = rings(700, seed=3)
    whole = scalars_of(torch.from_numpy(images)).numpy()
    assert whole.shape == (700, len(NAMES))
    features, _ = module._features_of(split("train", images, labels, chunks=2))
    np.testing.assert_allclose(features, whole, rtol=1e-9, atol=1e-9)
    monkeypatch.setattr(module, "MOST_IMAGES", 300)
    features, some = module._features_of(split("train", images, labels, chunks=7))
    np.testing.assert_allclose(features, whole[:300], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(some, labels[:300])


@pytest.mark.slow
def test_command(tmp_path, monkeypatch):
    """With and without conserved mass; the ring is larger where mass is added, which the scalars find."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    words = [
        "data", "probe", "modelA", "--images", "384", "--json",
        "--set", "data.image_size=24", "--set", "data.pixel_scale=0.28", "--set", "data.over_sampling=1",
    ]  # fmt: skip
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    conserved, components, added = json.loads(done.stdout)["probes"]
    assert [found["conserve_mass"] for found in (conserved, components, added)] == ["ring", "components", "none"]
    assert [found["default"] for found in (conserved, components, added)] == [True, False, False]
    assert max(conserved["auc"]["macro"], components["auc"]["macro"]) < added["auc"]["macro"]
    assert added["auc"]["macro"] > 0.66
    assert added["boosted"]["macro"] > 0.66
    for found in (conserved, components, added):
        assert found["shuffled"] == pytest.approx(0.5, abs=0.03)
        assert found["images"] == {"train": 384, "test": 384}


def test_an_unknown_parameter_is_refused():
    with pytest.raises(UsageError, match=r"Did you mean 'data\.snr'") as refused:
        cli.main(["data", "probe", "modelA", "--set", "data.snrr=3"], standalone_mode=False)
    assert refused.value.exit_code == 2
