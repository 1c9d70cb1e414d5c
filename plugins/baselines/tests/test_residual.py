"""The residual of principal components against scikit-learn's reconstruction, and as a detector of spots."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from zoo_baselines.residual import ComponentResidual, pca_residual

from zoo.data.split import Split
from zoo.errors import UsageError
from zoo.models.own_fit import ImagesToFit, SplitsToFit


def pixels(count: int, *, seed: int, spot: float = 0.0) -> np.ndarray:
    """Return images of three patterns in noise, with or without a spot that the patterns do not hold."""
    random = np.random.default_rng(seed)
    patterns = np.random.default_rng(0).normal(size=(3, 8, 8))
    images = np.einsum("nk,khw->nhw", random.normal(size=(count, 3)), patterns) + 0.1 * random.normal(
        size=(count, 8, 8)
    )
    images[:, 4, 4] += spot
    return images[:, None].astype(np.float32)


def splits(count: int = 60) -> SplitsToFit:
    def of(name: str, seed: int) -> ImagesToFit:
        split = Split(
            name=name, classes=("plain", "spot"), chunks=[pixels(count, seed=seed)], labels=np.zeros(count, np.int64),
            ids=[f"{name}-{i}" for i in range(count)],
        )  # fmt: skip
        return ImagesToFit(split, device=torch.device("cpu"))

    return SplitsToFit(train=of("train", 1), val=of("val", 2), params={}, instrument=None, recipe_hash="", seed=0)


def fitted(**settings: int) -> ComponentResidual:
    network = pca_residual(
        in_chans=1, num_classes=1, image_size=8, **{"components": 3, "most_images": 1000, **settings}
    )
    network.fit_splits(splits())
    return network


def test_the_score_is_the_residual_of_a_reconstruction() -> None:
    network, images = fitted(), pixels(20, seed=3)
    model = PCA(3, svd_solver="full").fit(pixels(60, seed=1).reshape(60, -1))
    flat = images.reshape(20, -1)
    residual = ((model.inverse_transform(model.transform(flat)) - flat) ** 2).mean(1)
    scores = network(torch.from_numpy(images)).numpy()
    assert scores / scores.mean() == pytest.approx(residual / residual.mean(), rel=1e-3)
    assert float(network(torch.from_numpy(pixels(60, seed=2))).mean()) == pytest.approx(1.0, rel=1e-5)


def test_a_spot_is_an_anomaly() -> None:
    network = fitted()
    plain, spotted = (network(torch.from_numpy(pixels(40, seed=4, spot=spot))) for spot in (0.0, 1.0))
    assert plain.max() < spotted.min()


def test_components_beyond_the_images_stay_zero_and_the_images_are_limited() -> None:
    network = fitted(components=100, most_images=10)
    assert network.components[10:].count_nonzero() == 0


@pytest.mark.parametrize("settings", [{"components": 0}, {"most_images": 0}])
def test_impossible_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must be a whole number"):
        fitted(**settings)
