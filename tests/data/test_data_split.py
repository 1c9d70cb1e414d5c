"""A split of several chunks: moments of its pixels, its first images, and a selection."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.data.split import Split


def test_moments_of_a_bright_flat_image_and_of_each_channel():
    random = np.random.default_rng(0)
    chunks = [
        (random.normal(size=(n, 2, 4, 4)) * [[[1e-3]], [[2]]] + [[[1e4]], [[-3]]]).astype(np.float32) for n in (5, 3)
    ]
    split = Split(
        name="train", classes=("a",), chunks=chunks, labels=np.zeros(8, np.int64), ids=[str(i) for i in range(8)]
    )
    stacked = np.concatenate(chunks).astype(np.float64)
    mean, deviation = split.moments()
    assert mean == pytest.approx(stacked.mean((0, 2, 3)), rel=1e-12)
    assert deviation == pytest.approx(stacked.std((0, 2, 3)), rel=1e-6)


def test_what_a_network_is_given_is_a_copy_of_the_labels():
    split = Split(
        name="val", classes=("a", "b"), chunks=[np.zeros((4, 1, 2, 2), np.float32)], labels=np.arange(4) % 2,
        ids=list("0123"),
    )  # fmt: skip
    split.asked.fill(7)
    assert split.labels.tolist() == [0, 1, 0, 1]


def test_the_first_images_and_a_selection_of_several_chunks():
    """A task that trains on some classes may leave a first chunk of one image."""
    images = np.arange(600, dtype=np.float32).reshape(600, 1, 1, 1)
    split = Split(
        name="train", classes=("a", "b"), chunks=np.split(images, [3, 3, 256]),
        labels=np.arange(600) % 2, ids=[str(i) for i in range(600)],
    )  # fmt: skip
    for index in (np.array([2, 3, 255, 256, 599]), np.arange(0, 600, 7), np.array([300]), np.array([], np.int64)):
        chosen = split.select(index)
        assert [value for chunk in chosen.chunks for value in np.asarray(chunk).ravel()] == index.tolist()
        assert chosen.ids == [str(i) for i in index]
    few = split.select(np.array([2, 3, 255, 256, 599])).select(np.array([0, 2, 3]))
    assert len(few.chunks[0]) == 1
    assert few.first(2).ravel().tolist() == [2, 255]
    assert few.first(64).shape == (3, 1, 1, 1)
