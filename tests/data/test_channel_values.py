"""Values of derived channels: beside the images, on their device, the same when they are computed again."""

from __future__ import annotations

import pytest
import torch

from zoo.data.channels import Channels, unlike
from zoo.errors import DataError
from zoo.specs import ChannelSpec


def test_a_channel_that_works_in_place_leaves_the_images_alone():
    images = torch.arange(1.0, 33).reshape(2, 1, 4, 4)
    before = images.clone()
    twice = Channels(
        names=["me/halved", "me/halved"], functions=[lambda given, _: given[:, 0].div_(2)] * 2, camera=None
    )
    found = twice.beside(images)
    assert torch.equal(images, before)
    assert torch.equal(found, torch.cat([before, before / 2, before / 2], 1))


def test_channels_are_compared_within_their_spread():
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rounded = images.repeat(1, 3, 1, 1)
    rounded[:, 1] = rounded[:, 1].mean()  # a number for all pixels, which differs by rounding
    again = rounded * (1 + 1e-7)
    again[0, 2] += 0.5  # one image of two: a fit that ends elsewhere
    assert unlike(rounded, again).tolist() == [False, False, False]
    again[1, 2] += 0.5
    assert unlike(rounded, again).tolist() == [False, False, True]


def test_a_channel_with_noise_that_a_batch_shares_is_refused():
    random = torch.Generator().manual_seed(0)

    def shaken(images, camera):
        return images[:, 0] + torch.rand(1, 8, 8, generator=random)

    channels = Channels(names=["a/shaken"], functions=[shaken], camera=None)
    images = torch.rand(4, 1, 8, 8)
    with pytest.raises(DataError, match="a/shaken differs when it is computed again"):
        channels.require_repeatable(channels.beside(images))
    channels.require_repeatable(channels.beside(images[:1]))


def test_a_channel_is_given_images_on_their_device():
    def elsewhere(images, camera):
        return images[:, 0].to("meta")

    with pytest.raises(DataError, match="same device"):
        Channels(names=["a/b"], functions=[elsewhere], camera=None).beside(torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize("limits", ["first\nwarning: forged", "one\u2028two", "   ", "x" * 1001])
def test_limits_are_one_line_of_text(limits):
    with pytest.raises(ValueError, match="a/b: limits"):
        ChannelSpec(id="a/b", target="m:f", limits=limits)
