"""ConvNeXt on p4m and the octic network: invariant at every size, and equal as functions."""

import pytest
import torch
from zoo_gconv import convnext
from zoo_gconv.convnext import DepthwiseGroupConv, GroupLayerNorm
from zoo_gconv.groups import P4M
from zoo_gconv.layers import P4MConvP4M

from zoo.errors import UsageError

pytestmark = pytest.mark.slow  # large networks

NAMES = ["p4m_convnext", "octic"]
NARROW = {"widths": [2, 3, 4], "blocks": [1, 2, 1]}


def build(name, *, image_size=64, **hparams):
    torch.manual_seed(0)
    return convnext.build(model=name, in_chans=1, num_classes=3, image_size=image_size, **{**NARROW, **hparams})


@pytest.fixture(scope="module")
def trained(train_a_little):
    return {name: train_a_little(build(name)) for name in NAMES}


@pytest.mark.parametrize("size", [33, 64, 75, 150])
@pytest.mark.parametrize("state", ["untrained", "trained"])
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_invariant(trained, relative_spread, name, state, size):
    network = trained[name] if state == "trained" else build(name)
    assert relative_spread(network, size, torch.float64, mirrors=True) <= 1e-9
    assert relative_spread(network, size, torch.float32, mirrors=True) <= 1e-4


def test_octic_network_is_the_dense_one_of_mapped_weights():
    fast, plain = build("octic").double().eval(), build("p4m_convnext").double().eval()
    state = {name: value for name, value in fast.state_dict().items() if name in plain.state_dict()}
    for name, layer in fast.named_modules():
        if isinstance(layer, convnext.OcticLinear):
            state[f"{name}.weight"] = layer.dense().permute(2, 1, 0)
    plain.load_state_dict(state)
    images = torch.randn(2, 1, 37, 37, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(fast(images), plain(images), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [8, 9])
def test_depthwise_layer_is_the_group_convolution_with_a_filter_at_the_identity(stride, size):
    depthwise = DepthwiseGroupConv(3, 5, stride=stride).double()
    torch.nn.init.normal_(depthwise.bias)
    full = P4MConvP4M(3, 3, 5, stride=stride, bias=True).double()
    with torch.no_grad():
        full.weight.zero_()
        for feature in range(3):
            full.weight[feature, feature, 0] = depthwise.weight[feature]
        full.bias.copy_(depthwise.bias)
    maps = torch.randn(2, 3, P4M.order, size, size, dtype=torch.float64)
    ours = depthwise(maps.transpose(1, 2).flatten(1, 2)).unflatten(1, (P4M.order, 3)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(ours, full(maps.flatten(1, 2)), rtol=1e-12, atol=1e-12)


def test_layer_norm_normalises_a_pixel_over_features_and_elements():
    norm = GroupLayerNorm(3).double()
    torch.nn.init.normal_(norm.weight)
    pixels = torch.randn(5, P4M.order, 3, dtype=torch.float64) * 3 + 1
    expected = (pixels - pixels.mean((1, 2), keepdim=True)) / pixels.std((1, 2), keepdim=True, correction=0)
    ours = norm(pixels.flatten(1)).unflatten(1, (P4M.order, 3))
    torch.testing.assert_close(ours, expected * norm.weight, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name):
    network = build(name, image_size=32).train()
    network(torch.randn(4, 1, 32, 32)).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"widths": []}, r"widths is \[\], but must be a list of whole numbers, 1 or more, one for each stage"),
        ({"blocks": [1, 1]}, r"blocks is \[1, 1\], .* one for each of the widths \["),
        ({"kernel_size": 4}, "kernel_size is 4, but must be odd"),
        ({"kernel_sizes": 3}, "no hyper-parameter 'kernel_sizes'; .* Did you mean 'kernel_size'"),
        ({"image_size": 15}, "image_size is 15, but must be 16 or more, for 4 halvings and a kernel of 7"),
        ({"image_size": 16, "kernel_size": 17}, "image_size is 16, but must be 17 or more"),
        ({"pooling": "sum"}, "pooling is 'sum'"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_invalid_hyper_parameters_are_refused(name, hparams, message):
    with pytest.raises(UsageError, match=message):
        build(name, **hparams)
