"""The group networks are invariant at every size, and the plain counterpart is not."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file
from zoo_gconv import models
from zoo_gconv.catalogue import NETWORKS

from zoo.errors import UsageError
from zoo.models.cost import count_cost

NAMES = ["p4", "p4m", "z2"]
SIZES = [64, 65, 75, 128, 129, 150]


def build(name, *, image_size=64, **hparams):
    torch.manual_seed(0)
    return models.build(model=name, in_chans=1, num_classes=3, image_size=image_size, **hparams)


@pytest.fixture(scope="module")
def trained(train_a_little):
    return {name: train_a_little(build(name), steps=6) for name in NAMES}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", ["untrained", "trained"])
@pytest.mark.parametrize("name", ["p4", "p4m"])
@pytest.mark.slow
def test_logits_are_invariant(trained, relative_spread, name, state, size):
    network = trained[name] if state == "trained" else build(name)
    mirrors = name == "p4m"
    assert relative_spread(network, size, torch.float64, mirrors=mirrors) <= 1e-9
    assert relative_spread(network, size, torch.float32, mirrors=mirrors) <= 1e-4


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize(("name", "mirrors"), [("z2", False), ("p4", True)])
def test_less_symmetric_networks_fail_the_same_check(trained, relative_spread, name, mirrors, size):
    assert relative_spread(trained[name], size, torch.float64, mirrors=mirrors) > 1e-3


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_other_shapes_of_network_are_invariant(relative_spread, pooling):
    network = build("p4m", image_size=33, widths=[2, 3, 4], kernel_sizes=[3, 5, 1], strides=[1, 2, 1], pooling=pooling)
    assert relative_spread(network, 33, torch.float64, mirrors=True) <= 1e-9


def test_translation_by_the_total_stride_leaves_logits_unchanged():
    """All padding is zero: an image that is zero near its border can move by whole output pixels."""
    network = build("z2").double().eval()
    images = torch.zeros(1, 1, 128, 128, dtype=torch.float64)
    images[..., 60:68, 60:68] = torch.rand(8, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(images.roll(8, -1)), network(images), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("other", ["p4", "z2"])
def test_plain_counterparts_have_the_same_number_of_parameters(other):
    counts = {name: sum(p.numel() for p in build(name).parameters()) for name in ("p4m", other)}
    assert 20_000 <= counts["p4m"] <= 40_000
    assert counts[other] == pytest.approx(counts["p4m"], rel=0.02)


@pytest.mark.parametrize("size", [32, 64, 150])
@pytest.mark.parametrize("name", ["p4", "p4m"])
def test_plain_twins_have_as_many_multiply_accumulates(name, size):
    """And `z2`, the twin of equal parameters, has far fewer."""
    image = torch.zeros(1, 1, size, size)
    macs = {twin: count_cost(build(twin, image_size=size), image).macs for twin in (name, "z2", f"z2_{name}_macs")}
    assert macs[f"z2_{name}_macs"] == pytest.approx(macs[name], rel=0.03)
    assert macs["z2"] < 0.3 * macs[name]


@pytest.mark.parametrize("name", NAMES)
def test_state_survives_safetensors_and_mode_changes(trained, name, tmp_path):
    network = trained[name]
    keys = list(network.state_dict())
    assert list(copy.deepcopy(network).train().state_dict()) == keys
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    other = build(name)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    images = torch.randn(2, 1, 40, 40)
    with torch.no_grad():
        assert torch.equal(other.eval()(images), network(images))


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name):
    network = build(name, image_size=32).train()
    network(torch.randn(4, 1, 32, 32)).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", NAMES)
def test_one_number_sets_all_convolutions(name):
    depth = len(NETWORKS[name].defaults["widths"])
    one, many = build(name, kernel_sizes=3), build(name, kernel_sizes=[3] * depth)
    assert repr(one) == repr(many)


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"width": [8]}, r"no hyper-parameter 'width'; it has widths, .* Did you mean 'widths'"),
        ({"widths": []}, r"widths is \[\], but must be a list of whole numbers"),
        ({"widths": "8"}, r"widths is '8'"),
        ({"widths": [8, 0, 8, 8]}, r"widths is \[8, 0, 8, 8\], but must be .* 1 or more"),
        ({"widths": [8, 8.0, 8, 8]}, r"widths is"),
        ({"kernel_sizes": 4}, r"kernel_sizes is \[4, .*odd and positive"),
        ({"kernel_sizes": [5, 3]}, r"kernel_sizes is \[5, 3\], but must be a whole number, or one for each of"),
        ({"strides": 3}, r"strides is \[3, .*1 or 2"),
        ({"dropout": 1.0}, r"dropout is 1.0, but must be a number from 0"),
        ({"dropout": "a"}, r"dropout is 'a'"),
        ({"image_size": 0}, r"image_size is 0"),
        ({"image_size": 4}, r"image_size is 4, but must be larger: convolution 1 of \d has a kernel of \d"),
        ({"image_size": 8, "strides": 2}, r"image_size is 8, .* an input of \d pixels"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_invalid_hyper_parameters_are_refused(name, hparams, message):
    with pytest.raises(UsageError, match=message):
        build(name, **hparams)


@pytest.mark.parametrize("name", ["p4", "p4m"])
def test_an_unknown_pooling_is_refused(name):
    with pytest.raises(UsageError, match="pooling is 'mex', but must be 'max' or 'mean'"):
        build(name, pooling="mex")


def test_the_plain_counterpart_has_no_pooling_hyper_parameter():
    with pytest.raises(UsageError, match="gconv/z2 has no hyper-parameter 'pooling'"):
        build("z2", pooling="max")
