"""Augmentation: the group of the square, exactly; rotations against what geometry says of them."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from zoo.data.augment import augment
from zoo.data.rotation import transform_d4
from zoo.errors import UsageError

SQUARE = torch.arange(25.0).reshape(1, 1, 5, 5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def element_of(image: torch.Tensor) -> int:
    """Return which element turns SQUARE into the image."""
    (element,) = (element for element in range(8) if torch.equal(transform_d4(SQUARE, element)[0, 0], image))
    return element


def test_eight_distinct_permutations_of_the_pixels():
    images = [transform_d4(SQUARE, element) for element in range(8)]
    assert torch.equal(images[0], SQUARE)
    for image in images:
        assert sorted(image.flatten().tolist()) == SQUARE.flatten().tolist()
        assert image[0, 0, 2, 2] == SQUARE[0, 0, 2, 2]
    assert len({tuple(image.flatten().tolist()) for image in images}) == 8


def test_they_are_a_group_with_the_rotations_as_half_of_it():
    table = {
        (first, second): element_of(transform_d4(transform_d4(SQUARE, first), second)[0, 0])
        for first, second in itertools.product(range(8), repeat=2)
    }  # every product is an element: closure
    for fixed in range(8):
        assert {table[fixed, other] for other in range(8)} == set(range(8))
    rotations = range(4)
    assert {table[pair] for pair in itertools.product(rotations, repeat=2)} == set(rotations)
    order = {element: next(n for n in range(1, 9) if power(table, element, n) == 0) for element in range(8)}
    assert sorted(order.values()) == [1, 2, 2, 2, 2, 2, 4, 4]  # D4 and no other group of eight
    assert [order[element] for element in (4, 5, 6, 7)] == [2, 2, 2, 2]  # every mirror undoes itself


def power(table: dict[tuple[int, int], int], element: int, exponent: int) -> int:
    product = 0
    for _ in range(exponent):
        product = table[product, element]
    return product


def test_distances_between_pixels_are_kept():
    before = np.argwhere(np.ones((5, 5)))
    for element in range(8):
        flat = transform_d4(SQUARE, element).flatten().numpy().astype(int)
        after = before[np.argsort(flat)]
        np.testing.assert_allclose(
            np.linalg.norm(after[:, None] - after, axis=-1), np.linalg.norm(before[:, None] - before, axis=-1)
        )


def test_d4_gives_each_image_an_element_of_its_own_all_equally_often():
    count = 4000
    images = augment(SQUARE.expand(count, 2, 5, 5), "d4", generator=seeded())
    assert torch.equal(images[:, 0], images[:, 1])  # the channels of an image go together
    elements = np.array([element_of(image) for image in images[:, 0]])
    assert stats.chisquare(np.bincount(elements, minlength=8)).pvalue > 1e-3
    neighbours = np.bincount(elements[:-1] * 8 + elements[1:], minlength=64)
    assert stats.chisquare(neighbours).pvalue > 1e-3


@pytest.mark.parametrize("kind", ["d4", "rotate"])
def test_reproducible_from_the_generator_alone(kind):
    images = torch.rand(9, 1, 8, 8, generator=seeded(5))
    kept = images.clone()
    first, again, other = (augment(images, kind, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, kept)
    assert first.shape == images.shape
    generator = seeded(1)
    augment(images, kind, generator=generator)
    assert not torch.equal(augment(images, kind, generator=generator), first)  # another one in the next epoch


def test_rotation_by_quarter_turns_is_the_exact_group(monkeypatch):
    turns, mirrors = torch.arange(8) % 4 / 4, torch.arange(8) // 4
    monkeypatch.setattr(torch, "rand", lambda *args, **kwargs: turns)
    monkeypatch.setattr(torch, "randint", lambda *args, **kwargs: mirrors)
    images = augment(SQUARE.repeat(8, 1, 1, 1), "rotate", generator=seeded())
    found = [element_of(image.round()) for image in images[:, 0]]
    assert sorted(found) == list(range(8))
    for image, element in zip(images, found, strict=True):
        torch.testing.assert_close(image, transform_d4(SQUARE, element)[0], atol=1e-4, rtol=0)


def blob(angle: float, *, size: int = 33, distance: float = 7) -> torch.Tensor:
    row, column = np.mgrid[:size, :size] - (size - 1) / 2
    x, y = distance * math.cos(angle), distance * math.sin(angle)
    return torch.tensor(np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 2.0**2)), dtype=torch.float32)


def centroid(images: torch.Tensor) -> np.ndarray:
    """Return the centres of light as complex numbers, x + iy from the image's centre."""
    row, column = np.mgrid[: images.shape[-2], : images.shape[-1]] - (images.shape[-1] - 1) / 2
    light = images.numpy().astype(float)
    return (light * (column + 1j * row)).sum((-2, -1)) / light.sum((-2, -1))


def test_rotation_keeps_distances_and_takes_every_angle_and_both_hands():
    count = 600
    images = torch.stack([blob(0), blob(math.pi / 2)])  # two channels, a quarter turn apart
    rotated = augment(images.expand(count, -1, -1, -1), "rotate", generator=seeded())
    first, second = centroid(rotated).T
    assert np.abs(first) == pytest.approx(np.full(count, 7), abs=0.05)
    angles = np.angle(first) / (2 * np.pi) + 0.5
    assert stats.kstest(angles, "uniform").pvalue > 1e-3
    quarter = np.angle(second / first)
    assert np.abs(quarter) == pytest.approx(np.full(count, np.pi / 2), abs=0.02)
    assert stats.binomtest(int((quarter < 0).sum()), count).pvalue > 1e-3
    assert abs(np.corrcoef(angles[:-1], angles[1:])[0, 1]) < 4.5 / np.sqrt(count)


def test_rotation_leaves_a_radially_symmetric_image():
    image = blob(0, distance=0)
    rotated = augment(image.expand(50, 1, -1, -1), "rotate", generator=seeded())
    # Bilinear interpolation errs by up to 1/8 (|f_xx| + |f_yy|), here 1/16 of the peak.
    assert (rotated - image).abs().max() < 1 / 16
    torch.testing.assert_close(rotated.sum((-2, -1)), image.sum().expand(50, 1), rtol=5e-3, atol=0)


def test_rotation_fills_the_corners_with_what_is_at_the_edge():
    flat = torch.full((20, 1, 9, 9), 3.0)
    torch.testing.assert_close(augment(flat, "rotate", generator=seeded()), flat)


def test_none_is_nothing():
    images = torch.rand(3, 1, 5, 5, generator=seeded())
    assert augment(images, "none", generator=seeded()) is images


@pytest.mark.parametrize(("kind", "hint"), [("rotat", "Did you mean 'rotate'?"), ("D8", ""), ("flip", "")])
def test_unknown_kind(kind, hint):
    with pytest.raises(UsageError) as caught:
        augment(SQUARE, kind, generator=seeded())
    assert f"augment={kind!r} is not one of none, d4, rotate." in str(caught.value)
    assert hint in str(caught.value)
