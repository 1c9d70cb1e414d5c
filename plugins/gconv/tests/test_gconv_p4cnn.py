"""The networks of Cohen & Welling: invariant at every size, with the published sizes, and one pixel at 28 pixels."""

import pytest
import torch
from zoo_gconv import p4cnn
from zoo_gconv.catalogue import NETWORKS

from zoo.errors import UsageError

GROUP_NAMES = ["p4cnn", "p4mcnn", "p4cnn_pooled"]
NAMES = [*GROUP_NAMES, "z2cnn"]


def build(name, *, classes=3, image_size=64, **hparams):
    torch.manual_seed(0)
    return p4cnn.build(model=name, in_chans=1, num_classes=classes, image_size=image_size, **hparams)


@pytest.fixture(scope="module")
def trained(train_a_little):
    return {name: train_a_little(build(name, width=3)) for name in NAMES}


@pytest.mark.parametrize("size", [28, 33, 64, 75, 150])
@pytest.mark.parametrize("state", ["untrained", "trained"])
@pytest.mark.parametrize("name", GROUP_NAMES)
@pytest.mark.slow
def test_logits_are_invariant(trained, relative_spread, name, state, size):
    network = trained[name] if state == "trained" else build(name, width=3)
    mirrors = name == "p4mcnn"
    assert relative_spread(network, size, torch.float64, mirrors=mirrors) <= 1e-9
    assert relative_spread(network, size, torch.float32, mirrors=mirrors) <= 1e-4


@pytest.mark.parametrize(("name", "mirrors"), [("z2cnn", False), ("p4cnn", True), ("p4cnn_pooled", True)])
def test_less_symmetric_networks_fail_the_same_check(trained, relative_spread, name, mirrors):
    assert relative_spread(trained[name], 64, torch.float64, mirrors=mirrors) > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("size", "left"), [(28, 1), (27, 1), (64, 19)])
def test_images_of_28_pixels_are_reduced_to_one_pixel(name, size, left):
    network = build(name, image_size=size).eval()
    with torch.no_grad():
        assert network.classifier(network.trunk(torch.zeros(1, 1, size, size))).shape[-2:] == (left, left)


def test_all_have_about_the_parameters_of_the_published_network():
    """Ten classes, as for digits: about 25,000 each."""
    counts = {name: sum(p.numel() for p in build(name, classes=10).parameters()) for name in NAMES}
    assert all(21_000 <= count <= 28_000 for count in counts.values()), counts


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name):
    network = build(name, image_size=32).train()
    network(torch.randn(4, 1, 32, 32)).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"width": 0}, "width is 0, but must be a whole number, 1 or more"),
        ({"image_size": 26}, "image_size is 26, but must be 27 or more for seven layers without padding"),
        ({"widths": 8}, "no hyper-parameter 'widths'; .* Did you mean 'width'"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_invalid_hyper_parameters_are_refused(name, hparams, message):
    with pytest.raises(UsageError, match=message):
        build(name, **hparams)


def test_the_plain_network_has_no_pooling_hyper_parameter():
    assert "pooling" not in NETWORKS["z2cnn"].defaults
