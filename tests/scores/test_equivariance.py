"""The measure of equivariance: against functions whose invariance is known."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor, nn

from zoo.cli import main
from zoo.data.rotation import rotate_quarters, rotate_smooth
from zoo.scores.equivariance import (
    blob_images,
    declared_symmetry,
    measure_equivariance,
    measure_layers,
    smooth_disc,
    symmetries,
)
from zoo.specs import ModelSpec


class Moments(nn.Module):
    """Functions of an image that rotation leaves alone, or all but one of them."""

    def __init__(self, *, spoiled: bool) -> None:
        super().__init__()
        self.spoiled = spoiled

    def forward(self, images: Tensor) -> Tensor:
        x = torch.arange(images.shape[-1], dtype=images.dtype) - (images.shape[-1] - 1) / 2
        radius = (x[:, None] ** 2 + x**2).sqrt()
        rings = [(images * (-((radius - ring) ** 2) / 8).exp()).sum((-3, -2, -1)) for ring in (2, 5, 8)]
        if self.spoiled:
            rings[0] = rings[0] + (images * x).sum((-3, -2, -1))
        return torch.stack(rings, 1)


@pytest.mark.parametrize(
    ("group", "exact", "angles", "mirrors"),
    [
        ("p4", 4, 0, False),
        ("c4", 4, 0, False),
        ("p4m", 8, 0, False),
        ("d4", 8, 0, True),
        ("c8", 4, 4, False),
        ("d8", 8, 4, True),
        ("c16", 4, 12, False),
        ("c6", 2, 4, False),
        ("d3", 2, 2, True),
        ("so2", 4, 8, False),
        ("o2", 8, 8, True),
        (None, 8, 0, False),
        ("somebody's own", 8, 0, False),
    ],
)
def test_what_is_measured_of_a_group(group, exact, angles, mirrors):
    found = symmetries(group)
    assert (len(found.exact), len(found.angles_degrees), found.mirrors) == (exact, angles, mirrors)
    assert found.exact[0] == 0
    assert all(angle % 90 for angle in found.angles_degrees)


@pytest.mark.parametrize("size", [32, 33])
def test_rotation_is_a_rotation(size):
    images = smooth_disc(blob_images(2, 1, size)).double()
    assert torch.equal(rotate_smooth(images, 90), rotate_quarters(images, 1))
    assert torch.equal(rotate_smooth(images, -90), rotate_quarters(images, -1))
    scale = images.abs().max()
    by_thirds = rotate_smooth(rotate_smooth(rotate_smooth(images, 30), 30), 30)
    assert (by_thirds - rotate_quarters(images, 1)).abs().max() < 0.02 * scale
    assert (rotate_smooth(images, 30) - images).abs().max() > 0.1 * scale


def test_rotation_moves_a_blob_to_where_it_belongs():
    """A Gaussian is known at every point, so its rotated image needs no interpolation to be written down."""
    size, angle = 41, 25.0
    x = torch.arange(size, dtype=torch.float64) - 20

    def blob(row, column):
        return (-((x[:, None] - row) ** 2 + (x - column) ** 2) / 12).exp()[None, None]

    # Counter-clockwise with row 0 at the bottom: from the right towards higher rows.
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    torch.testing.assert_close(rotate_smooth(blob(0, 8), angle), blob(8 * sin, 8 * cos), rtol=0, atol=1e-4)


@pytest.mark.parametrize("group", ["c8", "c6", "o2"])
def test_an_invariant_function_is_told_from_one_that_is_not(group):
    images = blob_images(8, 1, 33)
    good = measure_equivariance(Moments(spoiled=False), images, group)
    assert good.error < 1e-5
    assert good.rotations.error < 0.01
    assert good.rotations.floor < 0.01
    bad = measure_equivariance(Moments(spoiled=True), images, group)
    assert bad.error > 0.1
    assert bad.rotations.error > 0.5
    assert bad.rotations.floor < 0.01


def test_groups_of_pixel_symmetries_have_no_other_angles():
    assert measure_equivariance(Moments(spoiled=False), blob_images(2, 1, 16), "p4m").rotations is None


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


def test_a_network_speaks_for_itself():
    spec = ModelSpec(id="a/b", target="a:b", group="p4", equivariance="exact")
    network = nn.Flatten()
    assert declared_symmetry(spec, network) == ("p4", "exact")
    network.symmetry_group, network.equivariance = "c6", None
    assert declared_symmetry(spec, network) == ("c6", None)


def run(capsys, *words):
    with pytest.raises(SystemExit) as request:
        main(["equivariance", *words])
    told = capsys.readouterr()
    return request.value.code, told.out, told.err


def test_the_command_measures_sizes_and_layers(capsys):
    code, out, _ = run(capsys, "p4m", "--image-size", "16,17", "--set", "model.widths=[2,2]", "--json",
                       "--set", "kernel_sizes=3", "--set", "strides=[2,1]")  # fmt: skip
    assert code == 0
    sizes = json.loads(out)
    assert [content["image_size"] for content in sizes] == [16, 17]
    for content in sizes:
        assert (content["group"], content["declared"], content["elements"]) == ("p4m", "exact", 8)
        assert content["error"] < 1e-4
        assert all(layer["exact"] < 1e-4 for layer in content["layers"])


def test_the_command_prints_a_table_and_takes_another_group(capsys):
    code, out, _ = run(capsys, "p4m", "--image-size", "33", "--group", "d8")
    assert code == 0
    for words in ("gconv/p4m, untrained; group d8; declared nothing", "other angles", "floor", "GroupPool"):
        assert words in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["p4n"], "Unknown model 'p4n'"),
        (["p4m", "--image-size", "64;65"], "--image-size '64;65' must be whole numbers"),
        (["p4m", "--set", "widht=3"], "gconv/p4m has no hyper-parameter 'widht'. Did you mean 'widths'?"),
        (["p4m", "--image-size", "3"], "image_size is 3"),
    ],
)
def test_the_command_refuses_in_words(capsys, words, message):
    code, _, err = run(capsys, *words)
    assert code == 2
    assert message in err


def test_a_network_that_cannot_take_the_size_is_one_message(capsys, tmp_path, monkeypatch):
    plugin = tmp_path / "narrow.py"
    plugin.write_text(
        "from zoo import ModelSpec, hookimpl\n"
        "@hookimpl\n"
        "def zoo_models():\n"
        "    return [ModelSpec(id='narrow/net', target='narrow:build')]\n"
        "def build(*, in_chans, num_classes, image_size):\n"
        "    from torch import nn\n"
        "    return nn.Sequential(nn.Conv2d(in_chans, num_classes, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    monkeypatch.setenv("ZOO_PLUGIN_FILES", str(plugin))
    code, out, err = run(capsys, "narrow/net", "--image-size", "4")
    assert (code, out) == (1, "")
    assert err.startswith("Error: narrow/net cannot take images of 4 x 4 pixels: RuntimeError: ")
