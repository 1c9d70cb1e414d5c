"""Every listed network trains on one channel and uses every pixel, at every image size."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from zoo_timm.models import PaddedNetwork, build
from zoo_timm.plugin import BASELINES, zoo_models, zoo_resolve_model
from zoo_timm.weights import layer_names

from zoo.errors import UsageError
from zoo.models.network import build_network

pytestmark = pytest.mark.slow  # large networks

CASES = [
    *((name, 64) for name in BASELINES),
    *((name, 75) for name in BASELINES if name != "vgg16_bn"),
    *((name, size) for name in ("vit_tiny", "swin_tiny") for size in (65, 150)),
]
README = Path(__file__).parents[1] / "README.md"
SPECS = {spec.name: spec for spec in zoo_models()}


def network_of(name: str, *, image_size: int, **arguments: Any) -> PaddedNetwork:
    torch.manual_seed(0)
    network = build_network(SPECS[name], in_chans=1, num_classes=3, image_size=image_size, hparams=arguments)
    assert isinstance(network, PaddedNetwork)
    return network


@pytest.mark.parametrize(("name", "size"), CASES)
def test_a_step_trains_the_first_layer_and_every_pixel_has_a_gradient(name: str, size: int) -> None:
    network = network_of(name, image_size=size)
    first = network.network.get_submodule(layer_names(network.network, "first_conv")[0])
    assert isinstance(first, nn.Conv2d)
    before = first.weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    images = torch.randn(2, 1, size, size, requires_grad=True)

    logits = network.train()(images)
    loss = F.cross_entropy(logits, torch.tensor([0, 2]))
    loss.backward()
    optimizer.step()

    assert logits.shape == (2, 3)
    assert torch.isfinite(loss)
    if size == 64:
        count = sum(parameter.numel() for parameter in network.parameters())
        row = next(line for line in README.read_text().splitlines() if line.startswith(f"| `timm/{name}`"))
        assert f" {count:,} |" in row
    assert first.weight.grad is not None
    assert first.weight.grad.abs().max() > 0
    assert not torch.equal(first.weight, before)
    # A pixel without gradient was cut off by a partition into patches or by a rounded-down size.
    assert images.grad is not None
    assert bool((images.grad.abs().sum((0, 1)) > 0).all())


@pytest.mark.parametrize(
    ("name", "size", "padding"),
    [
        ("resnet18", 75, (0, 0)),  # ordinary convolutions take any size
        ("convnext_atto", 75, (0, 1)),  # to 76, patches of 4
        ("swin_tiny", 150, (1, 1)),  # to 152, patches of 4
        ("vit_tiny", 150, (5, 5)),  # to 160, patches of 16
        ("vit_tiny", 64, (0, 0)),
        ("coatnet_nano", 150, (5, 5)),  # to 160, ten times the stride of its attention
    ],
)
def test_padding_is_minimal(name: str, size: int, padding: tuple[int, int]) -> None:
    assert network_of(name, image_size=size).padding == padding * 2


def test_padding_reflects_the_image() -> None:
    network = PaddedNetwork(nn.Identity(), image_size=3, padded_size=6)
    row = torch.arange(3.0)
    images = (10 * row[:, None] + row)[None, None]
    index = [1, 0, 1, 2, 1, 0]
    assert torch.equal(network(images)[0, 0], images[0, 0][index][:, index])


def test_another_size_than_the_declared_one_is_refused() -> None:
    with pytest.raises(UsageError, match="64 x 64"):
        network_of("convnext_atto", image_size=64)(torch.zeros(1, 1, 66, 66))


def test_a_resolved_network_runs() -> None:
    spec = zoo_resolve_model("timm/resnet26d")
    assert spec is not None
    network = build_network(spec, in_chans=2, num_classes=5, image_size=33, hparams={})
    assert network.eval()(torch.randn(1, 2, 33, 33)).shape == (1, 5)


def test_rates_reach_timm() -> None:
    network = network_of("convnext_atto", image_size=64, drop_rate=0.25, drop_path_rate=0.3)
    rates = [module.drop_prob for module in network.modules() if type(module).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.3)
    assert 0.25 in [module.p for module in network.modules() if isinstance(module, nn.Dropout)]


@pytest.mark.parametrize(("name", "expected"), [("drop_rte", "'drop_rate'"), ("architecture", "no hyper-parameter")])
def test_unknown_hyper_parameters_are_refused(name: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        network_of("resnet18", image_size=64, **{name: "resnet50"})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"drop_rate": 1.0}, "less than 1"),
        ({"drop_path_rate": "0.1"}, "less than 1"),
        ({"architecture": "vgg11", "drop_path_rate": 0.1}, "has no drop_path_rate"),
        ({"architecture": "resnet18x"}, "timm/resnet18"),
        ({"pretrained": 1}, "true, false or the path of a file"),
        ({"image_size": 0}, "image_size=0"),
        ({"architecture": "vgg11", "image_size": 8}, "also when padded to"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], expected: str) -> None:
    good = {"in_chans": 1, "num_classes": 3, "image_size": 64, "architecture": "resnet18"}
    with pytest.raises(UsageError) as caught:
        build(**{**good, **arguments})
    assert expected in str(caught.value)
