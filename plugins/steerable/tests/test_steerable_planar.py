"""The planar form of a steerable network, and discs on the device of the maps."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from zoo_steerable import networks
from zoo_steerable.layers import SteerableConv


def built(name):
    torch.manual_seed(0)
    library, _, group = name.partition("/")
    return networks.build(
        library=library, group=group, in_chans=1, num_classes=3, image_size=17,
        widths=[2, 3], kernel_sizes=5, strides=[2, 1],
    )  # fmt: skip


def logits_of(network, images):
    with torch.no_grad():
        return network(images)


@pytest.mark.parametrize("name", ["e2cnn/d4", "escnn/c8", "e2cnn/o2"])
def test_the_planar_form_computes_the_same(name):
    network, images = built(name).eval(), torch.randn(2, 1, 17, 17)
    network.trunk[1](torch.randn(1, network.trunk[0].expand().shape[0], 9, 9))
    exported = network.export()
    assert not any(isinstance(module, SteerableConv) for module in exported.modules())
    torch.testing.assert_close(logits_of(exported, images), logits_of(network, images))
    weight = network.trunk[0].weight
    with torch.no_grad():
        weight.zero_()
    assert not torch.allclose(logits_of(exported, images), logits_of(network, images))  # it is a copy


def test_the_planar_form_takes_the_image_sizes_of_the_network_and_shares_nothing_with_it():
    network = built("escnn/c8").eval()
    exported, images = network.export(), torch.randn(2, 1, 21, 21)
    assert images.shape[-2:] != network.disc.shape
    torch.testing.assert_close(logits_of(exported, images), logits_of(network, images))
    exported.double()
    assert logits_of(network, images).dtype == torch.float32


class _CopiesFromTheProcessor(TorchDispatchMode):
    """Names of the operations that take tensors of the processor and return one of another device."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        given = {value.device.type for value in args if isinstance(value, torch.Tensor) and value.ndim}
        if given == {"cpu"} and isinstance(found, torch.Tensor) and found.device.type != "cpu":
            self.names.append(str(function))
        return found


def test_discs_are_made_on_the_device_of_the_maps():
    """A copy from the processor in every step would refuse the capture of a CUDA graph."""
    maps, usual = torch.zeros(2, 3, 9, 9, device="meta"), torch.zeros(8, 8, device="meta")
    with _CopiesFromTheProcessor() as copies:
        torch.zeros(4).to("meta")
        assert len(copies.names) == 1  # it sees one
        networks.SpatialMean(round=True)(maps)
        networks._disc_for(maps, usual)
    assert len(copies.names) == 1
