"""ResNet-18 on the group: invariant at every size, with the planar parameter names and the stated sizes."""

import pytest
import timm
import torch
import torch.nn.functional as F
from zoo_gconv import resnet
from zoo_gconv.catalogue import NETWORKS
from zoo_gconv.groups import P4, P4M, Z2
from zoo_gconv.sampling import group_max_pool, max_pool

from zoo.errors import UsageError

NAMES = ["p4_resnet18", "p4m_resnet18"]
NARROW = {"widths": [2, 3, 4, 5]}


def build(name, *, image_size=64, **hparams):
    torch.manual_seed(0)
    return resnet.build(model=name, in_chans=1, num_classes=3, image_size=image_size, **{**NARROW, **hparams})


@pytest.fixture(scope="module")
def trained(train_a_little):
    return {name: train_a_little(build(name)) for name in NAMES}


@pytest.mark.parametrize("size", [33, 64, 75, 150])
@pytest.mark.parametrize("state", ["untrained", "trained"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_logits_are_invariant(trained, relative_spread, name, state, size):
    network = trained[name] if state == "trained" else build(name)
    mirrors = name.startswith("p4m")
    assert relative_spread(network, size, torch.float64, mirrors=mirrors) <= 1e-9
    assert relative_spread(network, size, torch.float32, mirrors=mirrors) <= 1e-4


@pytest.mark.parametrize("size", [64, 65])
def test_p4_fails_the_check_of_p4m(trained, relative_spread, size):
    assert relative_spread(trained["p4_resnet18"], size, torch.float64, mirrors=True) > 1e-3


@pytest.mark.parametrize("group", [Z2, P4, P4M], ids=lambda group: group.name)
@pytest.mark.parametrize("size", [6, 7])
def test_max_pool_of_each_element_is_the_planar_one_turned_back_and_forth(group, size):
    """s_r = L_r s(L_r^-1 f), with torch's own turns and flips instead of our tables."""
    maps = torch.randn(2, 3 * group.order, size, size)

    def planar(image):
        return F.max_pool2d(image, 3, stride=2, padding=1)

    pooled = group_max_pool(maps, group).unflatten(1, (3, group.order))
    for r, of_element in enumerate(maps.unflatten(1, (3, group.order)).unbind(2)):
        back = of_element.rot90(-(r % 4), (-2, -1))
        turned = (
            planar(back.flip(-1)).flip(-1).rot90(r % 4, (-2, -1)) if r >= 4 else planar(back).rot90(r % 4, (-2, -1))
        )
        assert torch.equal(pooled[:, :, r], turned)


@pytest.mark.parametrize("size", [6, 7])
def test_plain_max_pool_commutes_with_turns_and_mirrors(size):
    maps = torch.randn(1, 2, size, size)
    assert max_pool(maps).shape[-1] == (size + 1) // 2
    assert torch.equal(max_pool(maps.rot90(1, (-2, -1))), max_pool(maps).rot90(1, (-2, -1)))
    assert torch.equal(max_pool(maps.flip(-1)), max_pool(maps).flip(-1))


@pytest.mark.parametrize("name", NAMES)
def test_parameters_carry_the_names_of_the_planar_network(name):
    planar = timm.create_model("resnet18", in_chans=1, num_classes=3, device="meta")
    assert set(build(name).state_dict()) == {*planar.state_dict(), "identity"}


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_two_variants_have_equal_parameters_and_equal_channels(name):
    planar = timm.create_model("resnet18", in_chans=1, num_classes=3, device="meta")
    with torch.device("meta"):
        wide = build(name, widths=NETWORKS[f"{name}_wide"].defaults["widths"])
    assert parameters(wide) == pytest.approx(parameters(planar), rel=0.02)
    order = {"p4_resnet18": 4, "p4m_resnet18": 8}[name]
    assert [order * width for width in NETWORKS[name].defaults["widths"]] == [64, 128, 256, 512]


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        ({"widths": [8, 16, 32]}, r"widths is \[8, 16, 32\], but must be a list .* one for each of the four stages"),
        ({"widths": 8}, "widths is 8"),
        ({"width": [8]}, "no hyper-parameter 'width'; .* Did you mean 'widths'"),
        ({"pooling": "sum"}, "pooling is 'sum', but must be 'max' or 'mean'"),
        ({"image_size": 16}, "image_size is 16, but must be 17 or more"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_invalid_hyper_parameters_are_refused(name, hparams, message):
    with pytest.raises(UsageError, match=message):
        build(name, **hparams)
