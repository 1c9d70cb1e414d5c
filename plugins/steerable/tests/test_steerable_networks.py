"""The networks are invariant as stated and refuse invalid arguments. The conformance kit also covers all of them."""

import copy
import inspect
import json
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch._subclasses.fake_tensor import FakeTensorMode
from zoo_steerable import networks, plugin_e2cnn, plugin_escnn
from zoo_steerable.basis import Field, field_type, gspace
from zoo_steerable.layers import SteerableConv
from zoo_steerable.libraries import load, quiet
from zoo_steerable.symmetry import NAMES, parse

from zoo import registry
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.models.network import build_network
from zoo.scores.equivariance import blob_images, measure_equivariance
from zoo.specs import ModelSpec
from zoo.train.average import MovingAverage

SPECS = {spec.id: spec for plugin in (plugin_escnn, plugin_e2cnn) for spec in plugin.zoo_models()}
SMALL = {"widths": [2, 3], "kernel_sizes": 5, "strides": [2, 1]}


def build(name, *, image_size=17, **hparams):
    torch.manual_seed(0)
    library, _, model = name.partition("/")
    group, _, year = model.partition("_")
    builder = networks.build_published if year else networks.build
    return builder(library=library, group=group, in_chans=1, num_classes=3, image_size=image_size, **hparams)


def test_one_network_for_each_library_and_group():
    assert {(spec.group, spec.namespace) for spec in SPECS.values() if spec.group} == {
        (group, library) for group in NAMES for library in ("escnn", "e2cnn")
    }
    exact = {spec.id for spec in SPECS.values() if spec.equivariance == "exact"}
    assert exact == {"escnn/c4", "escnn/d4", "e2cnn/c4", "e2cnn/d4"}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_spec_survives_json_and_its_target_loads(spec):
    assert ModelSpec(**json.loads(json.dumps(spec.to_json()))) == spec
    parameters = list(inspect.signature(spec.load()).parameters)
    assert parameters == [*spec.arguments, "in_chans", "num_classes", "image_size", "hparams"]
    assert set(spec.search_space) == set(spec.defaults)


def test_specs_do_not_share_state():
    first, second = plugin_e2cnn.zoo_models()[0], plugin_e2cnn.zoo_models()[0]
    first.defaults["widths"].append(1)
    first.search_space["widths"][0].append(1)
    assert second.defaults["widths"] != first.defaults["widths"]
    assert second.search_space["widths"] != first.search_space["widths"]


@pytest.mark.parametrize("name", [name for name in SPECS if name.startswith("e2cnn")])
def test_default_networks_are_as_large_as_those_of_gconv(name):
    network = build(name, image_size=32)
    assert 18_000 <= sum(parameter.numel() for parameter in network.parameters()) <= 30_000


@pytest.mark.parametrize("library", ["escnn", "e2cnn"])
@pytest.mark.parametrize("group", ["c4", "d4"])
@pytest.mark.parametrize("size", [64, 65, 75, 150])
def test_logits_are_invariant_at_every_size(library, group, size):
    network = build(f"{library}/{group}", image_size=64, widths=[2, 3], kernel_sizes=5, strides=2).eval()
    # The spread of two images would be small beside rounding.
    assert measure_equivariance(network, blob_images(6, 1, size), group).declared.error <= 1e-5


@pytest.mark.parametrize("group", ["c8", "so2", "d8", "o2"])
@pytest.mark.slow
def test_more_rotations_are_closer_to_invariant_at_angles_in_between(group):
    """The smaller group is the control: the same measure says of it that it is not invariant there."""
    rotations = "o2" if group in ("d8", "o2") else "so2"
    images = blob_images(8, 1, 33)
    errors = [
        measure_equivariance(build(f"e2cnn/{name}", image_size=33), images, rotations if "2" in group else group)
        for name in ("d4" if rotations == "o2" else "c4", group)
    ]
    assert errors[1].declared.error < 1e-5  # pixel symmetries
    assert errors[1].rotations.error < 0.5 * errors[0].rotations.error
    assert errors[1].rotations.floor < 0.01 * errors[1].rotations.error


@pytest.mark.parametrize(
    ("name", "hparams", "claim"),
    [
        ("e2cnn/cn", {"order": 4}, ("c4", "exact")),
        ("e2cnn/cn", {"order": 3}, ("c3", "approximate")),
        ("e2cnn/dn", {"order": 2}, ("d2", "exact")),
        ("e2cnn/c4", {"head": "flatten"}, ("c4", None)),
        ("e2cnn/so2", {}, ("so2", "approximate")),
    ],
)
def test_hyper_parameters_decide_the_equivariance_that_a_network_states(name, hparams, claim):
    network = build(name, **SMALL, **hparams).eval()
    assert (network.symmetry_group, network.equivariance) == claim
    if claim[1] == "exact":
        assert measure_equivariance(network, blob_images(2, 1, 17), claim[0]).declared.error < 1e-5
    if claim[1] is None:
        assert measure_equivariance(network, blob_images(2, 1, 17), claim[0]).declared.error > 1e-3


@pytest.mark.parametrize("name", ["e2cnn/c4", "escnn/d4", "e2cnn/so2"])
def test_state_survives_modes_averages_and_safetensors(name, tmp_path):
    """A state dict holds weights and no expanded filters: it is small, and the same in both modes."""
    network = build(name, **SMALL).train()
    keys = list(network.state_dict())
    network(torch.randn(4, 1, 17, 17)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for key, parameter in network.named_parameters() if "weight" in key)
    average = MovingAverage(network, decay=0.9)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    average.update(network, step=1)
    assert list(average.module.state_dict()) == keys == list(network.eval().state_dict())
    average.module.eval()
    save_file(average.module.state_dict(), tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size < 40_000
    other = build(name, **SMALL).eval()
    images = torch.randn(2, 1, 17, 17)
    with torch.no_grad():
        before = other(images)
        other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(other(images), average.module(images))
        assert not torch.allclose(other(images), before)


def _logits(network, images):
    with torch.no_grad():
        return network(images)


@pytest.mark.slow
def test_another_process_unpickles_and_builds_without_either_library():
    """As under spawn: the filters come along, or from the cache."""
    network, images = build("e2cnn/so2", **SMALL).eval(), torch.randn(2, 1, 17, 17)
    code = (
        "import pickle, sys, torch\n"
        "network, images, hparams = pickle.load(sys.stdin.buffer)\n"
        "from zoo_steerable.networks import build\n"
        "torch.manual_seed(0)\n"
        "shape = {'in_chans': 1, 'num_classes': 3, 'image_size': 17}\n"
        "built = build(library='e2cnn', group='so2', **shape, **hparams).eval()\n"
        "with torch.no_grad(): logits = [network(images).tolist(), built(images).tolist()]\n"
        "sys.stdout.buffer.write(pickle.dumps((logits, {'escnn', 'e2cnn'} & set(sys.modules))))"
    )
    given = pickle.dumps((network, images, SMALL))
    run = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, check=True)
    logits, imported = pickle.loads(run.stdout)
    for found in logits:
        torch.testing.assert_close(torch.tensor(found), _logits(network, images))
    assert imported == set()


@pytest.mark.parametrize("spec", [SPECS["e2cnn/c4"], SPECS["e2cnn/so2"], SPECS["e2cnn/cn"]], ids=lambda spec: spec.id)
def test_every_choice_of_the_search_space_builds(spec):
    for name, choices in spec.search_space.items():
        values = choices if isinstance(choices, list) else [choices["low"], choices["high"]]
        for value in values[: 6 if name == "order" else None]:
            network = build_network(spec, in_chans=2, num_classes=4, image_size=33, hparams={name: value})
            assert network.eval()(torch.zeros(1, 2, 33, 33)).shape == (1, 4)


# Counted by hand: basis filters of e2cnn (18 from an image, 7x7; 11 for each element between regular fields, 5x5) times
# fields, batch norm's two numbers for each field, and the head: 43,264 * 64 + 64, 128, 64 * 3 + 3.
PUBLISHED_PARAMETERS = {
    "c4": 24 * 18 + 44 * (24 * 48 + 48 * 48 + 48 * 96 + 96 * 96 + 96 * 64),
    "d4": 24 * 18 + 88 * (24 * 48 + 48 * 48 + 48 * 96 + 96 * 96 + 96 * 64),
    "c8": 24 * 18 + 88 * (24 * 48 + 48 * 48 + 48 * 96 + 96 * 96 + 96 * 64),
}


@pytest.mark.slow
@pytest.mark.parametrize("group", PUBLISHED_PARAMETERS)
def test_the_network_of_2021_has_the_published_layers(group):
    spec = registry.find(load_plugins(environment={}), ModelSpec, f"e2cnn/{group}_2021")
    network = build_network(spec, in_chans=1, num_classes=3, image_size=129, hparams={})
    size = parse(group).size
    shapes = []
    for layer in network.trunk:
        layer.register_forward_hook(lambda layer, _, output: shapes.append((type(layer).__name__, *output.shape[1:])))
    with FakeTensorMode(allow_non_fake_inputs=True):  # shapes, and no arithmetic
        network.eval()(torch.empty(1, 1, 129, 129))
    conv, norm, pool = "SteerableConv", "RegularNorm", "AntialiasedPool"
    expected = []
    for fields, pixels, pooled in (
        (24, 125, None), (48, 125, 63), (48, 63, None), (96, 63, 32), (96, 32, None), (64, 30, 26),
    ):  # fmt: skip
        expected += [(kind, fields * size, pixels, pixels) for kind in (conv, norm)]
        expected += [(pool, fields * size, pooled, pooled)] if pooled else []
    assert shapes == [*expected, ("GroupPool", 64, 26, 26)]
    head = 43_264 * 64 + 64 + 2 * 64 + 64 * 3 + 3
    norms = 2 * (24 + 48 + 48 + 96 + 96 + 64)
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED_PARAMETERS[group] + norms + head


def test_the_network_of_2021_equals_one_built_from_modules_of_e2cnn():
    """The same layers, narrower and on smaller images, with the same weights."""
    library, symmetry = load("e2cnn"), parse("c4")
    network = build("e2cnn/c4_2021", image_size=33, widths=[2, 3, 2, 3, 2, 2]).eval()
    nn, space = library.nn, gspace(library, symmetry)
    kind = field_type(library, space, Field("scalar"), 1)
    modules = [nn.MaskModule(kind, 33, margin=1)]
    convolutions = [layer for layer in network.trunk if isinstance(layer, SteerableConv)]
    for place, (ours, padding) in enumerate(zip(convolutions, (1, 2, 2, 2, 2, 1), strict=True)):
        following = field_type(library, space, Field("regular"), ours.out_fields)
        with quiet():
            convolution = nn.R2Conv(
                kind, following, ours.query.kernel_size, padding=padding, bias=False, initialize=False
            )
        with torch.no_grad():
            convolution.weights.copy_(ours.weight.flatten())
        kind = following
        modules += [convolution, nn.InnerBatchNorm(kind), nn.ReLU(kind)]
        if place in (1, 3):
            modules.append(nn.PointwiseAvgPoolAntialiased(kind, sigma=0.66, stride=2))
    modules += [nn.PointwiseAvgPoolAntialiased(kind, sigma=0.66, stride=1, padding=0), nn.GroupPooling(kind)]
    published = nn.SequentialModule(*modules).train().eval()
    images = torch.randn(2, 1, 33, 33)
    with torch.no_grad():
        maps = published(nn.GeometricTensor(images, published.in_type)).tensor
        torch.testing.assert_close(network(images), network.head(maps), rtol=1e-4, atol=1e-5)
    assert measure_equivariance(network, images, "c4").declared.error > 1e-3  # flattened, and so not invariant


@pytest.mark.parametrize(
    ("name", "hparams", "message"),
    [
        (
            "e2cnn/c4",
            {"width": [8]},
            r"e2cnn/c4 has no hyper-parameter 'width'; it has widths, .* Did you mean 'widths'",
        ),
        ("e2cnn/c4", {"order": 8}, r"no hyper-parameter 'order'"),
        ("e2cnn/cn", {"order": 33}, r"order is 33, but must be a whole number of rotations, from 2 to 32"),
        ("e2cnn/dn", {"order": 1}, r"order is 1, but must be a whole number of rotations, from 2 to 32"),
        ("e2cnn/c4", {"widths": []}, r"widths is \[\], but must be a list"),
        ("e2cnn/c4", {"kernel_sizes": 4}, r"kernel_sizes is \[4, .*odd numbers, 3 or more"),
        (
            "e2cnn/c4",
            {"kernel_sizes": [5, 5]},
            r"kernel_sizes is \[5, 5\], but must be a whole number, or one for each",
        ),
        ("e2cnn/c4", {"strides": 3}, r"strides is \[3, .*1 or 2"),
        ("e2cnn/c4", {"frequency_cutoff": -1}, r"frequency_cutoff is -1, but must be null"),
        ("e2cnn/c4", {"nonlinearity": "gated"}, r"nonlinearity is 'gated', but must be 'relu' or 'elu'"),
        ("e2cnn/so2", {"nonlinearity": "nrom"}, r"nonlinearity is 'nrom', .* Did you mean 'norm'"),
        ("e2cnn/so2", {"max_frequency": 0}, r"max_frequency is 0, but must be a whole number from 1 to 8"),
        ("e2cnn/c4", {"head": "flaten"}, r"head is 'flaten', .* Did you mean 'flatten'"),
        ("e2cnn/c4", {"mask": 1}, r"mask is 1, but must be true or false"),
        ("e2cnn/c4", {"dropout": 1.0}, r"dropout is 1.0"),
        (
            "e2cnn/c4",
            {"image_size": 5},
            r"image_size is 5, .* convolution 1 of 5 has a kernel of 7 pixels and an input of 5 pixels",
        ),
        (
            "e2cnn/c4",
            {"image_size": 12},
            r"image_size is 12, .* convolution 3 of 5 has a kernel of 5 pixels and an input of 3 pixels",
        ),
        ("e2cnn/d8_2021", {"image_size": 16, "widths": [1] * 6}, r"image_size is 16, but must be "),
        ("e2cnn/d8_2021", {"widths": [1]}, r"widths|kernel_sizes"),
    ],
)
def test_invalid_hyper_parameters_are_refused_with_a_reason(name, hparams, message):
    with pytest.raises(UsageError, match=message):
        build(name, **{"image_size": 33, **hparams})


def test_weights_of_another_group_library_or_basis_are_refused_by_name():
    weights = build("e2cnn/c4", **SMALL).state_dict()
    with pytest.raises(UsageError, match="Weights of e2cnn/c4 cannot be loaded into e2cnn/c8"):
        build("e2cnn/c8", **SMALL).load_state_dict(weights)
    with pytest.raises(UsageError, match="Weights of e2cnn/c4 cannot be loaded into escnn/c4"):
        build("escnn/c4", **SMALL).load_state_dict(weights)
    with pytest.raises(UsageError, match=r"'trunk.0.weight' do not match the filter basis .* frequency_cutoff 1.0"):
        build("e2cnn/c4", **SMALL, frequency_cutoff=1.0).load_state_dict(weights)
    other = build("e2cnn/c4", **SMALL)
    other.load_state_dict(weights)
    torch.nn.Sequential(copy.deepcopy(other)).load_state_dict({f"0.{key}": value for key, value in weights.items()})


def test_an_unlisted_group_is_refused_with_the_command_that_builds_it():
    host = load_plugins(environment={})
    with pytest.raises(UsageError, match=r"'escnn/c6' was not found; .*escnn/cn") as caught:
        registry.find(host, ModelSpec, "escnn/c6")
    assert "--model escnn/cn --set model.order=6" in str(caught.value)
    with pytest.raises(UsageError, match="Unknown model 'escnn/so3'"):
        registry.find(host, ModelSpec, "escnn/so3")


def test_listing_by_group_finds_both_libraries():
    host = load_plugins(environment={})
    assert [spec.id for spec in registry.listed(host, ModelSpec, group="d8")] == ["e2cnn/d8", "escnn/d8"]
