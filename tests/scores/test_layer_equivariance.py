"""The equivariance of each layer: which one of a network breaks the symmetry."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from zoo.scores.equivariance import blob_images
from zoo.scores.layer_equivariance import measure_layers


def test_a_layer_without_output_has_no_error():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.fill_(-1)
    errors = {layer.kind: layer.exact for layer in measure_layers(network, blob_images(2, 1, 16), "p4m")}
    assert errors["Conv2d"] == 0
    assert errors["ReLU"] is None


def test_layers_name_the_one_that_breaks_the_symmetry():
    torch.manual_seed(0)
    round_filter = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    edge = nn.Conv2d(2, 2, 3, padding=1, bias=False)
    with torch.no_grad():
        round_filter.weight[:] = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    network = nn.Sequential(round_filter, nn.ReLU(), edge, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    errors = {layer.name: layer for layer in measure_layers(network, blob_images(4, 1, 32), "p4m")}
    assert list(errors) == ["0", "1", "2", "3", "4"]
    assert errors["0"].exact < 1e-6
    assert errors["1"].exact < 1e-6
    assert errors["2"].exact > 0.01
    assert errors["0"].rotations is None
    assert errors["2"].shape == (2, 32, 32)
    rounded = {layer.name: layer for layer in measure_layers(network, blob_images(4, 1, 32), "c8")}
    assert rounded["0"].rotations < 0.1 < rounded["2"].rotations


def test_layers_that_put_out_a_wrapped_tensor_or_hold_only_parts_without_output_are_measured():
    """As those of e2cnn and escnn do: a GeometricTensor, and a convolution that holds its basis."""

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.basis = nn.Identity()

        def forward(self, images):
            return SimpleNamespace(tensor=images.square())

    class Head(nn.Module):
        def forward(self, wrapped):
            return wrapped.tensor.mean((2, 3))

    network = nn.Sequential(nn.Sequential(Wrapped()), Head())
    assert [layer.name for layer in measure_layers(network, blob_images(4, 1, 16), "p4")] == ["0.0", "1"]
