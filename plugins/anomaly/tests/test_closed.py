"""Methods that fit themselves: the distances of numpy and scikit-learn, equal fits for equal seeds, anomalies found."""

import copy

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from zoo_anomaly.closed import build_mahalanobis_pixels, build_mahalanobis_scalars, build_pca_residual
from zoo_anomaly.features import build_mahalanobis_features, build_mahalanobis_truths
from zoo_anomaly.fitting import Gaussian, fit_photon_noise
from zoo_anomaly.plugin import zoo_models
from zoo_anomaly.pyod_detectors import DETECTORS, build_pyod

from zoo.data.split import Split
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.models.own_fit import ImagesToFit, SplitsToFit
from zoo.models.residual import Residual
from zoo.scores.scalars import scalars_of
from zoo.testing import Options, check, require_passed

SHAPE = {"in_chans": 1, "num_classes": 3}
METHODS = {
    "pca_residual": (build_pca_residual, {"components": 12, "most_images": 500, "residual": "chi_square"}),
    "pca_mean_square": (build_pca_residual, {"components": 12, "most_images": 500, "residual": "mean_square"}),
    "mahalanobis_pixels": (build_mahalanobis_pixels, {"components": 12, "most_images": 500}),
    "mahalanobis_scalars": (build_mahalanobis_scalars, {"most_images": 500}),
    **{f"pyod {one}": (build_pyod, {"detector": one, "most_images": 120}) for one in DETECTORS},
    "mahalanobis_features": (build_mahalanobis_features, {"passes": 4, "most_images": 500, "latent": 8}),
    "mahalanobis_truths": (
        build_mahalanobis_truths,
        {"passes": 4, "most_images": 500, "latent": 8, "truths": ["brightness", "unknown", "constant"]},
    ),
}
names = pytest.mark.parametrize("name", METHODS)


def build(name, *, image_size=24, **hparams):
    builder, defaults = METHODS[name]
    return builder(**SHAPE, image_size=image_size, **{**defaults, **hparams})


def splits_of(images, *, val=None, seed=5):
    def split(name, pixels):
        ids = [f"{name}-{i}" for i in range(len(pixels))]
        labels = np.zeros(len(pixels), np.int64)
        brightness = pixels.mean((1, 2, 3)).double().numpy()
        truths = {"brightness": brightness, "unknown": np.nan * brightness, "constant": 0 * brightness + 3}
        content = Split(
            name=name, classes=("a", "b", "c"), chunks=[pixels.numpy()], labels=labels, ids=ids, parameters=truths
        )
        return ImagesToFit(content, device=torch.device("cpu"))

    val = images[: len(images) // 4] if val is None else val
    train, held = split("train", images), split("val", val)
    return SplitsToFit(train=train, val=held, params={}, instrument=None, recipe_hash="", seed=seed)


@pytest.fixture(scope="module")
def fitted(rings):
    """Return each method, fitted to 256 rings."""
    splits = splits_of(rings(256), val=rings(64, seed=1))
    methods = {}
    for name in METHODS:
        torch.manual_seed(0)
        methods[name] = build(name)
        methods[name].fit_splits(splits)
    return methods


@pytest.mark.slow
@names
def test_an_obvious_anomaly_is_found(fitted, auc_of, name):
    assert auc_of(fitted[name]) > 0.9


@pytest.mark.slow
@names
def test_an_image_is_scored_by_itself_in_float32_and_reproducibly(fitted, rings, name):
    method, images = fitted[name], rings(5, seed=3)
    with torch.no_grad():
        scores = method(images)
        assert (scores.shape, scores.dtype) == ((5,), torch.float32)
        torch.testing.assert_close(torch.cat([method(image[None]) for image in images]), scores, rtol=1e-4, atol=1e-5)
        assert torch.equal(copy.deepcopy(method)(images), scores)
        other = build(name)
        other.load_state_dict(method.state_dict())
        assert torch.equal(other.eval()(images), scores)


@pytest.mark.slow
@names
def test_two_fits_with_the_same_seed_are_equal(rings, name):
    splits = splits_of(rings(40))
    few = {"passes": 1} if name in ("mahalanobis_features", "mahalanobis_truths") else {}
    first, second = build(name, **few), build(name, **few)
    for method in (first, second):
        method.fit_splits(splits)
    state = second.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in first.state_dict().items())


@pytest.mark.slow
@names
@pytest.mark.parametrize("image_size", [17, 64])
def test_few_images_and_other_sizes(rings, name, image_size):
    """Fewer images than components, pixels and scalars."""
    method = build(name, image_size=image_size)
    with torch.no_grad():
        assert method(rings(2, size=image_size)).isfinite().all()  # before the fit, too
    method.fit_splits(splits_of(rings(5, size=image_size)))
    with torch.no_grad():
        assert method(rings(3, size=image_size, seed=4)).isfinite().all()


def test_random_numbers_of_the_process_do_not_change(rings):
    before = torch.random.get_rng_state()
    method = build("mahalanobis_features", passes=1)
    torch.random.set_rng_state(before)
    method.fit_splits(splits_of(rings(8)))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_residual_is_that_of_the_components(rings):
    images = rings(80)
    method = build("pca_mean_square", components=4)
    method.fit_splits(splits_of(images))
    pixels = images.flatten(1).double().numpy()
    exact = PCA(4, svd_solver="full").fit(pixels)
    expected = ((pixels - exact.inverse_transform(exact.transform(pixels))) ** 2).mean(1)
    np.testing.assert_allclose(method(images), expected, rtol=0.02)


def test_the_distance_of_pixels_is_that_of_their_covariance(rings):
    images = rings(80, size=8)
    method = build("mahalanobis_pixels", image_size=8, components=6)
    method.fit_splits(splits_of(images))
    pixels = images.flatten(1).double().numpy()
    # The likelihood of scikit-learn's PCA is that of Tipping & Bishop.
    exact = PCA(6, svd_solver="full").fit(pixels)
    centred = pixels - exact.mean_
    expected = (centred @ exact.get_precision() * centred).sum(1) / 64
    np.testing.assert_allclose(method(images), expected, rtol=0.01)


def test_the_distance_of_columns_is_that_of_ledoit_and_wolf():
    random = np.random.default_rng(0)
    columns = random.normal(size=(300, 6)) @ random.normal(size=(6, 6)) + random.normal(size=6)
    columns = np.concatenate([columns, np.full((300, 1), 3.0)], 1)  # a constant column does not count
    gaussian = Gaussian(7)
    gaussian.fit(columns)
    standard = (columns[:, :6] - columns[:, :6].mean(0)) / columns[:, :6].std(0)
    shrunk = LedoitWolf(assume_centered=True).fit(np.concatenate([standard, np.zeros((300, 1))], 1)).covariance_
    whole = np.concatenate([standard, np.zeros((300, 1))], 1)
    expected = (whole @ np.linalg.inv(shrunk) * whole).sum(1) / 7
    np.testing.assert_allclose(gaussian(torch.from_numpy(columns)), expected, rtol=1e-4)


def test_a_column_that_is_far_away_gives_a_finite_score():
    gaussian = Gaussian(2, farthest=10.0)
    assert gaussian(torch.tensor([[1e30, 0.0]])) == pytest.approx(50)


def test_photon_noise_is_found_in_any_unit():
    generator = torch.Generator().manual_seed(0)
    light = torch.zeros(8, 1, 32, 32, dtype=torch.float64)
    light[..., :12, :12] = 100.0
    noise = torch.randn(light.shape, generator=generator, dtype=torch.float64)
    images = light + (1 + 0.5 * light).sqrt() * noise
    for unit in (1.0, 1e-6, 1e6):
        residual = Residual().requires_grad_(False).double()
        fit_photon_noise(residual, unit * images, unit * light)
        assert (10 * residual.log_gain).exp() / unit == pytest.approx(0.5, rel=0.3)
        assert residual(unit * images, unit * light).mean() == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize(
    ("name", "hparams"),
    [
        ("pca_residual", {"components": 0}),
        ("pca_residual", {"residual": "chi"}),
        ("mahalanobis_pixels", {"components": 2.5}),
        ("mahalanobis_features", {"passes": 0}),
        ("mahalanobis_truths", {"truths": []}),
        ("mahalanobis_truths", {"truths": "shear"}),
    ],
)
def test_impossible_values_are_refused(name, hparams):
    with pytest.raises(UsageError, match=f"{next(iter(hparams))}="):
        build(name, **hparams)


@names
def test_a_fit_to_one_image_is_refused(rings, name):
    with pytest.raises(UsageError, match="most_images=1 must be a whole number, at least 2"):
        build(name, most_images=1).fit_splits(splits_of(rings(4)))


@pytest.mark.slow
def test_truths_are_estimated_and_those_without_a_difference_are_left_out(rings):
    method = build("mahalanobis_truths", passes=12)
    method.fit_splits(splits_of(rings(256), val=rings(64, seed=1)))
    estimated, left = method.fit_notes()
    assert float(estimated.rpartition(" ")[2]) > 0.7
    assert left.endswith("left out: unknown, constant")
    for truths, words in ((["constant"], "constant: each is undefined, or the same"), (["mass"], "No truth 'mass'")):
        with pytest.raises(UsageError, match=words):
            build("mahalanobis_truths", truths=truths).fit_splits(splits_of(rings(8)))


def test_a_score_of_pyod_is_that_of_the_library(rings):
    from pyod.models.knn import KNN

    images, others = rings(60), rings(7, seed=2)
    method = build("pyod knn")
    assert torch.equal(method(others), torch.zeros(7))  # before its fit
    method.fit_splits(splits_of(images))
    columns, asked = (scalars_of(some).double().numpy() for some in (images, others))
    mean, deviation = columns.mean(0), columns.std(0)
    kept = deviation > 1e-6 * abs(mean)
    columns, asked = ((some - mean)[:, kept] / deviation[kept] for some in (columns, asked))
    np.testing.assert_allclose(method(others), KNN().fit(columns).decision_function(asked), rtol=1e-4)


def test_a_detector_that_pyod_is_not_asked_for_is_refused():
    with pytest.raises(UsageError, match=r"detector='ecod' must be one of gmm, hbos"):
        build("pyod knn", detector="ecod")
    [spec] = [spec for spec in zoo_models() if spec.name == "pyod"]
    assert spec.search_space["detector"] == list(DETECTORS)


@pytest.mark.slow
def test_padim_finds_an_anomaly_is_the_same_after_loading_and_keeps_the_contract(rings, auc_of):
    pytest.importorskip("anomalib", reason='anomalib is absent: pip install "lens-zoo-anomaly[anomalib]"')
    from zoo_anomaly.padim import build_padim

    settings = {"image_size": 32, "features": 20, "most_images": 200, "pretrained": False}
    torch.manual_seed(0)
    method, other = (build_padim(**SHAPE, **settings) for _ in range(2))
    method.fit_splits(splits_of(rings(200, size=32)))
    assert auc_of(method, size=32) > 0.9
    images = rings(5, size=32, seed=3)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.eval()(images), method(images))
    options = Options(sizes=(33,), channels=(1,), classes=(3,), params={"features": 20}, trainings=False)
    require_passed(check(load_plugins(environment={}), "anomaly/padim", options=options))
