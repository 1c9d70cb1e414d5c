"""A lifted network computes the planar logits averaged over the group, before training and at every size."""

import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from zoo_gconv import resnet

from zoo.errors import DataError, MissingError, UsageError

NAMES = ["p4_resnet18", "p4m_resnet18"]
WIDTHS = [3, 4, 5, 6]


class PlanarBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.downsample = None
        if stride == 2 or i != o:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class PlanarResNet(nn.Module):
    """ResNet-18 of torch's own layers, narrow."""

    def __init__(self, channels, classes=3):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, WIDTHS[0], 7, 2, 3, bias=False), nn.BatchNorm2d(WIDTHS[0])
        i = WIDTHS[0]
        for stage, o in enumerate(WIDTHS, start=1):
            blocks = PlanarBlock(i, o, 1 if stage == 1 else 2), PlanarBlock(o, o, 1)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            i = o
        self.fc = nn.Linear(i, classes)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean((-2, -1)))


def planar(channels=1, classes=3):
    """Random weights, and statistics and constants of batch norms that are no zeros and ones."""
    torch.manual_seed(0)
    network = PlanarResNet(channels, classes).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.running_mean, -0.5), (module.running_var, 0.5), (module.bias, -0.5)):
                nn.init.uniform_(tensor, low, low + 1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network


def write(network, folder, suffix=".safetensors"):
    path = folder / f"planar{suffix}"
    if suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    return str(path)


def build(name, path, *, channels=1, classes=3, **hparams):
    hparams = {"init": path, "widths": WIDTHS, **hparams}
    return resnet.build(model=name, in_chans=channels, num_classes=classes, image_size=64, **hparams).double().eval()


def average_over_the_group(network, images, *, mirrors):
    orbit = [images.rot90(k, (-2, -1)) for k in range(4)]
    if mirrors:
        orbit += [turned.flip(-1) for turned in orbit]
    return torch.stack([network(moved) for moved in orbit]).mean(0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_lifted_network_is_the_planar_one_averaged_over_the_group(name, channels, tmp_path):
    network = planar(channels).float().double()  # what a file of single precision can hold
    lifted = build(name, write(network, tmp_path), channels=channels)
    for size in (32, 33, 46, 64, 75, 150):
        images = torch.randn(2, channels, size, size, dtype=torch.float64)
        with torch.no_grad():
            expected = average_over_the_group(network, images, mirrors=name.startswith("p4m"))
            torch.testing.assert_close(lifted(images), expected, rtol=1e-10, atol=1e-10)


def test_the_planar_network_alone_differs_from_the_average(tmp_path):
    """Else the test above could not fail."""
    network = planar().float().double()
    images = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        alone = network(images)
        difference = build("p4m_resnet18", write(network, tmp_path))(images) - alone
    assert difference.abs().max() > 1e-2 * alone.abs().max()


def test_one_channel_equals_three_equal_channels(tmp_path):
    network = planar(3).float().double()
    lifted = build("p4_resnet18", write(network, tmp_path, ".pth"))
    images = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = average_over_the_group(network, images.expand(-1, 3, -1, -1), mirrors=False)
        torch.testing.assert_close(lifted(images), expected, rtol=1e-10, atol=1e-10)


def test_lifted_network_stays_invariant_in_training(tmp_path, relative_spread, train_a_little):
    lifted = train_a_little(build("p4m_resnet18", write(planar(), tmp_path)).float())
    assert lifted.layer1[0].conv1.weight[:, :, 1:].abs().max() > 0, "elements have begun to exchange features"
    assert relative_spread(lifted, 64, torch.float64, mirrors=True) <= 1e-9


def test_a_different_number_of_classes_gives_a_new_head_and_a_log_message(tmp_path, caplog):
    network = planar(classes=10)
    lifted = build("p4_resnet18", write(network, tmp_path))
    assert lifted.fc.weight.shape == (3, 6)
    assert "head for 10 classes not loaded" in caplog.text
    assert torch.equal(lifted.bn1.weight, network.bn1.weight.float().double())


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        (
            {"widths": [3, 4, 5, 7]},
            r"widths is \[3, 4, 5, 7\], but the network of init=.* has \[3, 4, 5, 6\]\.\n.*=\[3,4,5,6\]",
        ),
        ({"pooling": "max"}, "pooling is 'max', but must be 'mean' with init"),
        ({"init": 3}, "init is 3, but must be null, a file of weights, or timm/resnet18"),
        ({"init": "nowhere.safetensors"}, r"^model\.init='.*nowhere.safetensors': file not found"),
        ({"init": "nowhere.txt"}, r"^model\.init='.*nowhere.txt': the file must end in"),
        ({"init": "timm/resnet18.a9"}, "has no weights 'a9'"),
        ({"channels": 2}, r"does not fit: conv1.weight is \(3, 1, 7, 7\) .* not \(3, 2, 7, 7\)"),
    ],
)
def test_invalid_settings_for_planar_weights_are_refused(hparams, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        build("p4m_resnet18", write(planar(), tmp_path), **hparams)


@pytest.mark.parametrize("broken", ["missing", "extra", "other network"])
def test_incomplete_weights_are_refused_by_name(broken, tmp_path):
    state = planar().state_dict()
    if broken == "missing":
        del state["layer2.1.bn1.weight"]
        message = "layer2.1.bn1.weight is missing"
    elif broken == "extra":
        state["layer2.7.bn1.weight"] = torch.ones(1)
        message = "layer2.7.bn1.weight is unexpected"
    else:
        state = {"trunk.0.weight": torch.ones(1)}
        message = "is not a ResNet-18: layer1.0.conv2.weight, .* its first keys are trunk.0.weight"
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=message):
        build("p4_resnet18", str(tmp_path / "w.safetensors"))


def test_a_damaged_file_raises_a_data_error(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot be read as weights"):
        build("p4_resnet18", str(tmp_path / "w.safetensors"))


def test_without_the_timm_plugin_the_error_names_the_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zoo_timm", None)
    with pytest.raises(MissingError, match=r"lens-zoo-gconv\[timm\]"):
        build("p4_resnet18", write(planar(), tmp_path))
