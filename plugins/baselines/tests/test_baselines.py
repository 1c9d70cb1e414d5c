"""The baselines: the same numbers as scikit-learn, deterministic, and accepted by the conformance kit."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from zoo_baselines.boosted import COLUMNS_A_SPLIT, SHRINKAGE, ScalarsBoosted
from zoo_baselines.columns import columns_of
from zoo_baselines.linear import Linear, PrincipalComponents
from zoo_baselines.plugin import zoo_models

from zoo.data.split import Split
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.models.copies import copy_of
from zoo.models.network import build_network
from zoo.models.own_fit import ImagesToFit, SplitsToFit
from zoo.testing import Options, check, require_passed

UNTRAINED = Options(sizes=(16, 17), channels=(1,), classes=(3,), trainings=False)

HOST = load_plugins(environment={})
IDS = [spec.id for spec in zoo_models()]
CLASSIFIERS = [spec.id for spec in zoo_models() if spec.tasks == ("classify",)]
OF_ANY_IMAGE = [name for name in CLASSIFIERS if "_lens" not in name]  # it takes its time where there is no lens
FITTED_LENSES = [pytest.param(name, marks=pytest.mark.slow) for name in IDS if "_lens" in name]
BOOST = {"trees": 20, "leaves": 7, "rate": 0.2, "most_images": 1000}


def splits_of(classes=3, count=90, size=12, seed=0):
    """Return spots of a size for each class, in noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    y, x = np.mgrid[:size, :size] - size / 2
    spots = np.exp(-(x**2 + y**2) / (2 * (1.0 + 0.4 * labels[:, None, None]) ** 2))
    images = (spots + 0.3 * random.normal(size=(count, size, size)))[:, None].astype(np.float32)

    def split(name, kept):
        ids = [f"{name}-{i}" for i in range(len(labels[kept]))]
        names = tuple("abcd"[:classes])
        content = Split(name=name, classes=names, chunks=[images[kept]], labels=labels[kept], ids=ids)
        return ImagesToFit(content, device=torch.device("cpu"))

    third = np.arange(count) % 4 == 0
    return SplitsToFit(
        train=split("train", ~third), val=split("val", third), params={}, instrument=None, recipe_hash="", seed=5
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "baselines/scalars_boosted" else name
        for name in (*OF_ANY_IMAGE, *FITTED_LENSES)
    ],
)
def test_the_kit_accepts_every_baseline(name):
    require_passed(check(HOST, name, options=UNTRAINED))


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_boosted_trees_have_the_probabilities_of_scikit_learn(classes):
    random = np.random.default_rng(1)
    labels = np.arange(400) % classes
    columns = random.normal(size=(400, 6)) + labels[:, None] * 0.3
    columns[:, 5] = columns[:, 5].round()  # many ties
    model = ScalarsBoosted(classes, **BOOST)
    fitted = model.fit(columns, labels, splits=splits_of())
    others = np.concatenate([random.normal(size=(300, 6)) * 2, columns[:50]])
    others[:, 5] = others[:, 5].round()
    own = HistGradientBoostingClassifier(
        max_iter=20, max_leaf_nodes=7, max_depth=8, learning_rate=0.2, max_features=COLUMNS_A_SPLIT,
        l2_regularization=SHRINKAGE, min_samples_leaf=16, early_stopping=False, random_state=5,
    ).fit(columns.astype(np.float32), labels)  # fmt: skip
    for sklearn in (fitted, own):
        # Golden predictions are computed by a copy in float32.
        for network in (model, copy_of(model).float()):
            found = network.logits_of(torch.from_numpy(others)).softmax(1).numpy()
            np.testing.assert_allclose(found, sklearn.predict_proba(others), atol=1e-6)


def test_a_value_between_float32_and_a_threshold_goes_the_way_of_scikit_learn():
    """Neighbouring float32 numbers: their middle, the threshold, is no float32 and is rounded down."""
    low = np.float32(100.0)
    high = np.nextafter(low, np.float32(200.0))
    columns = np.array([[low], [high]] * 50, dtype=np.float64)
    labels = np.arange(100) % 2
    model = ScalarsBoosted(2, **BOOST)
    fitted = model.fit(columns, labels, splits=splits_of())
    found = model.logits_of(torch.from_numpy(columns)).softmax(1).numpy()
    np.testing.assert_allclose(found, fitted.predict_proba(columns), atol=1e-6)
    assert (found.argmax(1) == labels).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_regression_has_the_probabilities_of_scikit_learn(classes):
    random = np.random.default_rng(2)
    labels = np.arange(300) % classes
    columns = random.normal(size=(300, 4)) * [1, 10, 1e4, 0] + labels[:, None] * [0.5, 1, 1e4, 0] + [0, 5, -1e5, 3]
    model = Linear(4, classes, strength=0.7)
    model.fit(torch.from_numpy(columns), torch.from_numpy(labels))
    found = model(torch.from_numpy(columns)).softmax(1).numpy()
    deviation = np.where(columns.std(0) > 0, columns.std(0), 1)
    standard = (columns - columns.mean(0)) / deviation
    expected = LogisticRegression(C=0.7, max_iter=2000).fit(standard, labels).predict_proba(standard)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_an_outlier_is_clipped_and_a_constant_is_ignored():
    columns = torch.cat([torch.randn(60, 2, dtype=torch.float64), torch.ones(60, 1)], 1)
    model = Linear(3, 3, strength=1.0)
    model.fit(columns, torch.arange(60) % 3)
    far = torch.tensor([[1e12, 0.0, 1e12], [1e30, 0.0, -1.0]], dtype=torch.float64)
    first, second = model(far)
    assert torch.equal(first, second)


def test_principal_components_are_those_of_the_centred_pixels():
    splits = splits_of(count=120, size=8)
    model = PrincipalComponents(64, 3, components=5, strength=1.0, most_images=1000)
    model.fit_splits(splits)
    pixels = np.concatenate([images.flatten(1).numpy() for images, _ in splits.train.batches()]).astype(np.float64)
    centred = pixels - pixels.mean(0)
    exact = np.linalg.svd(centred, full_matrices=False)[2][:2]
    np.testing.assert_allclose(model.centre, pixels.mean(0), atol=1e-5)
    assert abs(np.einsum("kp,kp->k", model.components[:1].numpy(), exact[:1])) == pytest.approx(1, abs=1e-3)


def test_the_images_are_in_memory_once():
    splits = splits_of(count=4000, size=32)
    model = PrincipalComponents(32 * 32, 3, components=2, strength=1.0, most_images=4000)
    pixels = 4 * 32 * 32 * len(splits.train)
    tracemalloc.start()  # of NumPy's arrays; torch's are not traced
    try:
        model.fit_splits(splits)
        assert tracemalloc.get_traced_memory()[1] < 1.6 * pixels
    finally:
        tracemalloc.stop()


def test_fewer_images_than_components_leave_the_others_at_0():
    model = PrincipalComponents(144, 3, components=100, strength=1.0, most_images=1000)
    model.fit_splits(splits_of(count=24))
    assert model.components[18:].abs().max() == 0
    assert model(torch.randn(4, 1, 12, 12)).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_ANY_IMAGE)
@pytest.mark.parametrize("classes", [2, 3])
def test_every_baseline_learns_an_easy_problem_and_repeats_itself(name, classes):
    spec = next(spec for spec in zoo_models() if spec.id == name)
    splits = splits_of(classes, count=240)
    logits = []
    for _ in range(2):
        network = build_network(spec, in_chans=1, num_classes=classes, image_size=12, hparams={})
        network.fit_splits(splits)
        images, labels = next(splits.val.batches(1000))
        logits.append(network(images))
    assert torch.equal(*logits)
    assert logits[0].dtype == torch.float32
    assert (logits[0].argmax(1) == labels).float().mean() > 1.4 / classes


def test_the_number_of_images_is_limited_and_progress_is_reported():
    splits = splits_of(count=600)
    told = []
    reporting = SplitsToFit(
        train=splits.train, val=splits.val, params={}, instrument=None, recipe_hash="", seed=0,
        progress=lambda done, total, what="fit": told.append((done, total, what)),
    )  # fmt: skip
    columns, labels = columns_of(lambda images: images[:, 0, 0], reporting, most=300)
    assert (len(columns), len(labels)) == (300, 300)
    assert told == [(256, 300, "scalars"), (300, 300, "scalars")]


@pytest.mark.parametrize(
    ("name", "hparams"),
    [
        ("scalars_linear", {"strength": 0}),
        ("scalars_boosted", {"trees": 0}),
        ("scalars_boosted", {"leaves": 1}),
        ("scalars_boosted", {"rate": 2.0}),
        ("scalars_boosted", {"most_images": 0}),
        ("pca_linear", {"components": 1.5}),
    ],
)
def test_impossible_hyper_parameters_are_refused(name, hparams):
    spec = next(spec for spec in zoo_models() if spec.name == name)
    with pytest.raises(UsageError, match=next(iter(hparams))):
        build_network(spec, in_chans=1, num_classes=3, image_size=12, hparams=hparams)


def test_principal_components_are_the_same_under_autocast():
    network = PrincipalComponents(144, 3, components=8, strength=1.0, most_images=1000)
    network.fit_splits(splits_of())
    images = torch.randn(5, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    expected = network(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(images), expected)


@pytest.mark.parametrize("name", OF_ANY_IMAGE)
def test_a_class_that_is_missing_among_the_images_is_named(name):
    spec = next(spec for spec in zoo_models() if spec.id == name)
    network = build_network(spec, in_chans=1, num_classes=3, image_size=12, hparams={"most_images": 2})
    with pytest.raises(UsageError, match=r"No training image to fit \(the first 2: most_images\) is of: "):
        network.fit_splits(splits_of())
