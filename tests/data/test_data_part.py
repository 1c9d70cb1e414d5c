"""The parts of a batch: together they are the batch, in images, order and augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.data.augment import augment
from zoo.data.loader import Batches
from zoo.data.part import BatchPart
from zoo.data.split import Split


@pytest.mark.parametrize(("processes", "whole"), [(1, 5), (2, 31), (3, 3), (7, 64)])
def test_parts_are_disjoint_complete_and_even(processes, whole):
    parts = [BatchPart.of_process(rank, processes=processes, whole=whole) for rank in range(processes)]
    assert [i for part in parts for i in part.take(torch.arange(whole)).tolist()] == list(range(whole))
    assert {len(part) for part in parts} <= {whole // processes, -(-whole // processes)}


@pytest.mark.parametrize("kind", ["none", "d4", "rotate"])
def test_each_image_is_augmented_as_in_the_whole_batch(kind):
    images = torch.randn(11, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    expected = augment(images, kind, generator=torch.Generator().manual_seed(0))
    parts = [BatchPart.of_process(rank, processes=3, whole=11) for rank in range(3)]
    found = [augment(part.take(images), kind, generator=torch.Generator().manual_seed(0), part=part) for part in parts]
    assert torch.allclose(torch.cat(found), expected, atol=1e-6)


@pytest.mark.parametrize("resident", [True, False])
def test_batches_are_shared_in_the_same_order(resident):
    images = np.random.default_rng(0).normal(size=(23, 1, 4, 4)).astype(np.float32)
    split = Split(
        name="train", classes=("a", "b"), chunks=[images[:9], images[9:]], labels=np.arange(23) % 2,
        ids=[str(i) for i in range(23)],
    )  # fmt: skip
    batches = Batches(split, device=torch.device("cpu"), resident=resident)

    def epoch(part=None, skip=0):
        return list(batches.epoch(1, 7, shuffle=torch.Generator().manual_seed(0), part=part, skip=skip))

    shares = [epoch(BatchPart.of_process(rank, processes=2, whole=7)) for rank in range(2)]
    assert len(epoch()) == 3
    for (images, labels), (skipped, others) in zip(epoch(skip=1), epoch()[1:], strict=True):
        assert torch.equal(images, skipped)
        assert torch.equal(labels, others)
    for whole, *parts in zip(epoch(), *shares, strict=True):
        assert [len(labels) for _, labels in parts] == [3, 4]
        assert torch.equal(torch.cat([images for images, _ in parts]), whole[0])
        assert torch.equal(torch.cat([labels for _, labels in parts]), whole[1])
