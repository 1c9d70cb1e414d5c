"""Copies of images that are found between two splits, and images that are not taken for copies."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.testing.leaks import near_copy

COPIES = {
    "turned": lambda image: np.rot90(image, 3, axes=(1, 2)),
    "mirrored": lambda image: image[:, ::-1],
    "rescaled": lambda image: 3 * image + 2,
    "shifted": lambda image: np.roll(image, (1, -1), axis=(1, 2)),
}


@pytest.mark.parametrize("copy", COPIES)
def test_copies_between_splits_are_found_and_smooth_images_are_none(copy):
    generator, axis = np.random.default_rng(0), np.linspace(-1, 1, 24)
    x, y, size = generator.uniform(-0.3, 0.3, (3, 80, 1, 1, 1)).astype(np.float32)
    images = np.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / (0.5 + size)).astype(np.float32)
    first, second = images[:40], images[40:]
    assert near_copy(first, second) is None
    second[7] = COPIES[copy](first[23])
    assert near_copy(first, second) == (23, 7)
