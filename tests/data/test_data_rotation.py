"""Every rotation of an image has one sense: counter-clockwise with row 0 at the bottom."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo_rotmnist.digits import rotate as rotate_digit

from zoo.data.rotation import inverse_rotation, rotate, rotate_quarters, rotate_smooth, transform_d4
from zoo.inference.evaluate import _rotated

SIZE = 41
RIGHT_OF_CENTRE = (0.0, 9.0)


def blob(row: float, column: float) -> Tensor:
    """Return a Gaussian [1, 1, SIZE, SIZE] at an offset from the centre, exact at every point."""
    x = torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2
    return (-((x[:, None] - row) ** 2 + (x - column) ** 2) / 12).exp()[None, None].float()


def digit(image: Tensor, degrees: float) -> Tensor:
    return torch.from_numpy(rotate_digit(image[0, 0].numpy(), math.radians(degrees)))[None, None]


ROTATIONS = {
    "bilinear": lambda image, degrees: rotate(image, math.radians(degrees)),
    "bicubic": lambda image, degrees: rotate(image, math.radians(degrees), interpolation="bicubic"),
    "one angle an image": lambda image, degrees: rotate(image, torch.tensor([math.radians(degrees)])),
    "smooth": rotate_smooth,
    "evaluate": _rotated,
    "digits": digit,
}


@pytest.mark.parametrize("degrees", [25.0, 90.0, -90.0, 160.0])
@pytest.mark.parametrize("name", ROTATIONS)
def test_right_of_the_centre_goes_up_to_higher_rows(name, degrees):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    expected = blob(9 * sin, 9 * cos)
    found = ROTATIONS[name](blob(*RIGHT_OF_CENTRE), degrees)
    assert (found - expected).abs().max() < 0.05
    assert (found - blob(-9 * sin, 9 * cos)).abs().max() > 0.5  # the other sense


def test_quarter_turns_have_the_same_sense():
    assert torch.equal(rotate_quarters(blob(0, 9), 1), blob(9, 0))
    assert torch.equal(rotate_quarters(blob(0, 9), -1), blob(-9, 0))
    assert torch.equal(rotate_quarters(blob(2, 9), 2), blob(-2, -9))


def test_elements_of_d4_turn_backwards_and_then_mirror():
    assert torch.equal(transform_d4(blob(2, 9), 1), rotate_quarters(blob(2, 9), -1))
    assert torch.equal(transform_d4(blob(2, 9), 4), blob(2, -9))
    assert torch.equal(transform_d4(blob(2, 9), 5), rotate_quarters(blob(2, 9), -1).flip(-1))


def test_the_mirror_follows_the_rotation():
    images = blob(0, 9).repeat(2, 1, 1, 1)
    found = rotate(images, torch.full((2,), math.radians(25)), mirrored=torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(found[1], found[0].flip(-1), rtol=0, atol=1e-5)


def test_the_inverse_takes_a_pixel_back_to_its_origin():
    assert inverse_rotation(math.pi / 2).numpy() @ [0, 9] == pytest.approx([9, 0])  # what is above came from the right
    both = inverse_rotation(torch.tensor([0.3, 0.4]))
    assert both.shape == (2, 2, 2)
    np.testing.assert_allclose(both[1], inverse_rotation(0.4), atol=1e-6)
