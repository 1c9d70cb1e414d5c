"""The measure of equivariance: against functions whose invariance is known."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor, nn

from zoo.cli import main
from zoo.data.rotation import rotate_quarters, rotate_smooth
from zoo.errors import TrainingError, UsageError
from zoo.scores.equivariance import (
    blob_images,
    declared_symmetry,
    measure_equivariance,
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
    ],
)
def test_what_is_measured_of_a_group(group, exact, angles, mirrors):
    found = symmetries(group)
    assert (len(found.exact), len(found.angles_degrees), found.mirrors) == (exact, angles, mirrors)
    assert found.exact[0] == 0
    assert all(angle % 90 for angle in found.angles_degrees)


@pytest.mark.parametrize("group", ["banana", "c0", "C8"])
def test_an_unknown_group_is_refused(group):
    with pytest.raises(UsageError, match=f"'{group}' is unknown") as refused:
        symmetries(group)
    assert "c8 and d8" in refused.value.hint


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
    assert good.declared.error < 1e-5
    assert good.rotations.error < 0.01
    assert good.rotations.floor < 0.01
    bad = measure_equivariance(Moments(spoiled=True), images, group)
    assert bad.declared.error > 0.1
    assert bad.rotations.error > 0.5
    assert bad.rotations.floor < 0.01


def test_groups_of_pixel_symmetries_have_no_other_angles():
    assert measure_equivariance(Moments(spoiled=False), blob_images(2, 1, 16), "p4m").rotations is None


@pytest.mark.parametrize("group", [None, "p4", "p4m", "c8"])
def test_every_network_is_measured_under_the_same_group(group):
    """The functions of `Moments` that are spoiled change under mirrors and half turns, whatever is declared of them."""
    images = blob_images(8, 1, 33)
    found = measure_equivariance(Moments(spoiled=True), images, group)
    assert found.square == measure_equivariance(Moments(spoiled=True), images, None).square
    assert found.square.elements == 8
    assert list(found.angles) == ["17", "45"]
    assert (found.declared is None) == (group is None)


def test_a_network_that_mirrors_change_is_exact_under_its_own_group_only():
    class Handed(nn.Module):
        """Angular moments of order 4: quarter turns keep them, mirrors change the sign of one."""

        def forward(self, images: Tensor) -> Tensor:
            x = torch.arange(images.shape[-1], dtype=images.dtype) - (images.shape[-1] - 1) / 2
            angle = 4 * torch.atan2(x[:, None], x)
            return torch.stack([(images * wave).sum((-3, -2, -1)) for wave in (angle.sin(), angle.cos())], 1)

    found = measure_equivariance(Handed(), blob_images(8, 1, 33), "p4")
    assert found.declared.error < 1e-5 < 0.1 < found.square.error
    assert (found.declared.elements, found.square.elements) == (4, 8)
    assert found.declared.flips == 0 < found.square.flips


class Changed(nn.Module):
    """A network whose logits are scaled and shifted."""

    def __init__(self, network: nn.Module, *, factor: float = 1.0, constant: Tensor | float = 0.0) -> None:
        super().__init__()
        self.network, self.factor, self.constant = network, factor, constant

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * self.network(images) + self.constant


@pytest.mark.parametrize(
    "change",
    [
        {"constant": 1000.0},
        {"constant": torch.tensor([500.0, -300.0, 100.0])},
        {"factor": 7.0},
    ],
    ids=["constant", "constant of each class", "unit"],
)
def test_the_error_does_not_depend_on_constants_and_units_of_the_logits(change):
    images = blob_images(8, 1, 33).double()
    network = Moments(spoiled=True).double()
    plain, changed = (measure_equivariance(each, images, "c8") for each in (network, Changed(network, **change)))
    for read in (
        lambda found: found.square.error,
        lambda found: found.declared.error,
        lambda found: found.angles["17"].error,
        lambda found: found.angles["45"].floor,
        lambda found: found.rotations.error,
    ):
        assert read(changed) == pytest.approx(read(plain), rel=1e-6)
        assert read(plain) > 0


def test_a_common_part_of_all_logits_does_not_count():
    """Softmax ignores it, and so do the probabilities, whatever it does when the image turns."""

    class Common(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return Moments(spoiled=False)(images) + 9 * Moments(spoiled=True)(images)[:, :1]

    assert measure_equivariance(Common(), blob_images(8, 1, 33).double(), "p4m").square.error < 1e-5


def test_unrelated_answers_have_an_error_of_the_square_root_of_two():
    class Hash(nn.Module):
        """Logits that change wildly with every pixel."""

        def forward(self, images: Tensor) -> Tensor:
            generator = torch.Generator().manual_seed(0)
            weights = 1e3 * torch.randn(images[0].numel(), 3, generator=generator)
            return (images.flatten(1) @ weights).sin()

    found = measure_equivariance(Hash(), torch.randn(200, 1, 9, 9, generator=torch.Generator().manual_seed(1)), None)
    assert found.square.error == pytest.approx(math.sqrt(2), rel=0.05)
    assert found.square.flips > 0.9


@pytest.mark.parametrize("constant", [0.0, 5.0, torch.tensor([1.0, 2.0, 3.0])], ids=["zero", "one", "classes"])
def test_a_network_with_one_answer_for_all_images_is_not_shown_as_perfect(constant):
    found = measure_equivariance(
        Changed(Moments(spoiled=True), factor=0.0, constant=constant), blob_images(8, 1, 33), "c8"
    )
    for change in (found.square, found.declared, *found.angles.values(), found.rotations):
        assert (change.error, change.flips) == (None, None)
    # Rounding that differs between images is no answer, either.
    noise = Changed(Moments(spoiled=True), factor=1e-12, constant=constant)
    assert measure_equivariance(noise, blob_images(8, 1, 33), "c8").square.error is None or constant == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("only_turned", [False, True])
def test_logits_that_are_not_finite_are_refused(bad, only_turned):
    images = blob_images(3, 1, 33)

    class Broken(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            logits = Moments(spoiled=False)(batch)
            if not only_turned or not torch.equal(batch, images):
                logits[1, 2] = bad
            return logits

    with pytest.raises(TrainingError, match="logits of 1 of 3 images are not finite; the first is image 1"):
        measure_equivariance(Broken(), images, None)


def test_angles_have_a_floor():
    """Both steps of the second way interpolate, at each angle that is shown."""
    found = measure_equivariance(Moments(spoiled=True), blob_images(8, 1, 33), None)
    for at in found.angles.values():
        assert 0 < at.floor < 0.01 < at.error


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
        error = content["error"]
        assert (content["group"], content["quality"], error["declared"]["elements"]) == ("p4m", "exact", 8)
        assert error["square"]["error"] < 1e-4
        assert error["angles"]["17"]["error"] > 1e-3
        assert all(layer["exact"] < 1e-4 for layer in content["layers"])


def test_the_command_prints_a_table_and_takes_another_group(capsys):
    code, out, _ = run(capsys, "p4m", "--image-size", "33", "--group", "d8")
    assert code == 0
    about = "gconv/p4m, untrained; 8 smooth random images; group d8, not the one that the network declares"
    for words in (about, "d4", "under d8", "17 degrees", "45 degrees", "other angles", "floor", "GroupPool"):
        assert words in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["p4n"], "Unknown model 'p4n'"),
        (["p4m", "--image-size", "64;65"], "--image-size '64;65' must be whole numbers"),
        (["p4m", "--set", "widht=3"], "gconv/p4m has no hyper-parameter 'widht'. Did you mean 'widths'?"),
        (["p4m", "--image-size", "3"], "image_size is 3"),
        (["p4m", "--group", "banana"], "The symmetry group 'banana' is unknown."),
        (["p4m", "-n", "8"], "-n is for weights; p4m is an untrained network."),
        (["p4m", "--images", "x.npy"], "--images is for weights; p4m is an untrained network."),
        (["p4m.modelA", "--image-size", "64"], "--image-size is for an untrained network; p4m.modelA is weights."),
        (["p4m.modelC"], "Weights 'p4m.modelC' were not found"),
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
