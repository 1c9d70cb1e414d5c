"""Pieces of channels; the kernels themselves are tested on a GPU, in tests/test_cuda.py."""

import torch
import torch.nn.functional as F

from zoo.train.few_channels import MOST_PIECES, FewChannelsInPieces, pieces_of


def test_pieces_divide_the_pixels_and_are_many_where_channels_are_few():
    for shape in ((128, 10, 256, 32), (64, 4, 600, 75), (128, 80, 75, 75)):
        pieces = pieces_of(torch.Size(shape))
        assert 1 < pieces <= MOST_PIECES // shape[1]
        assert (shape[2] * shape[3]) % pieces == 0
    assert pieces_of(torch.Size((128, 10, 256, 32))) == 64  # the largest power of two up to 102
    assert pieces_of(torch.Size((2, 10, 8, 8))) == 1  # too few values
    assert pieces_of(torch.Size((128, 512, 64, 64))) == 1  # channels enough


def test_a_cpu_keeps_its_own():
    maps, weight = torch.randn(64, 4, 64, 64), torch.ones(4)
    arguments = (maps, torch.zeros(4), torch.ones(4), weight, torch.zeros(4), True)
    with FewChannelsInPieces():
        there = F.batch_norm(*arguments)
    assert torch.equal(there, F.batch_norm(*arguments))
