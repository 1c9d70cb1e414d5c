"""Errors of the images of every population against far finer rays, in units of the noise of each pixel."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from zoo import registry
from zoo.cli import main
from zoo.data.accuracy import FINE, LARGEST_ALLOWED, MOST_ALLOWED, _error_over_noise, measure_accuracy, reference_rays
from zoo.data.drawn import first_scenes
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.lensing.observe import Rendered
from zoo.lensing.pixels import to_pixels
from zoo.specs import DatasetSpec

HOST = load_plugins(environment={})
POPULATIONS = [
    spec.id
    for spec in registry.listed(HOST, DatasetSpec)
    if spec.simulated and not spec.id.startswith("deeplense/modelB_")
]
SMOOTH = 0
TINY = {"image_size": 12, "pixel_scale": 0.4, "over_sampling": 8}


@pytest.mark.slow
@pytest.mark.parametrize("name", POPULATIONS)
def test_every_population_is_as_accurate_as_its_noise_demands(name: str) -> None:
    params = registry.find(HOST, DatasetSpec, name).params
    inner = {"image_size": 2 * params["image_size"] // 3}  # the whole ring, and a part of the sky around it
    # A smooth lens is easy: the largest errors are those beside masses, so the one image has to hold some.
    seed = next(n for n in range(20) if first_scenes(HOST, name, images=1, params=inner, seed=n)[2].label[0] != SMOOTH)
    found = measure_accuracy(HOST, name, "caustics/caustics", images=1, params=inner, seed=seed)
    assert found.over_sampling == params["over_sampling"]
    assert 0 < found.errors[0].most < MOST_ALLOWED
    assert found.errors[0].largest < LARGEST_ALLOWED
    assert found.accurate


NOT_YET = ("deeplense/model_2019_ideal", "deeplense/model_2019_representative")
"""Populations whose images of fewer pixels are less accurate; docs/populations.md states why."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in POPULATIONS if name not in NOT_YET])
def test_images_of_fewer_pixels_are_as_accurate(name: str) -> None:
    budget = registry.find(HOST, DatasetSpec, name).budgets["laptop"]
    found = measure_accuracy(HOST, name, "caustics/caustics", images=3, params=budget)
    assert found.over_sampling == budget["over_sampling"]
    assert found.accurate


@pytest.mark.parametrize(("rays", "reference"), [(1, FINE), (FINE // 2, FINE), (FINE, 2 * FINE), (20, 40)])
def test_the_reference_has_at_least_twice_the_rays(rays: int, reference: int) -> None:
    """Compared with its own rays, an image has no error."""
    assert reference_rays(rays) == reference


def test_more_rays_are_more_accurate() -> None:
    few, many = (
        measure_accuracy(HOST, "modelA", "caustics", images=3, params={**TINY, "over_sampling": rays}).errors[0]
        for rays in (2, 8)
    )
    assert many.rms < 0.5 * few.rms
    assert many.largest < 0.5 * few.largest


def test_errors_are_those_of_counts_over_their_poisson_noise() -> None:
    """A pixel that is too bright by its own standard deviation has an error of 1."""
    spec = registry.find(HOST, DatasetSpec, "modelA")
    population = registry.load_target(spec)(
        **{**spec.params, **TINY, "over_sampling": 1, "reference_pixel_scale": None, "peak": 4.0}
    )
    scenes = population.sample(np.arange(1), "noise")
    wanted = torch.rand(1, 12, 12, dtype=torch.float64)
    wanted[0, 3, 3] = 4.0  # the peak, so that the brightness is left as it is
    deviation = torch.sqrt((wanted + 0.1) / 300)
    usual = wanted + deviation
    usual[0, 3, 3] = 4.0
    pixels = (to_pixels(Rendered(source=light, lens_light=None), population.instrument, sub_pixels=1)
              for light in (usual, wanted))  # fmt: skip
    errors = _error_over_noise(*pixels, scenes)
    expected = np.ones((1, 12, 12))
    expected[0, 3, 3] = 0
    np.testing.assert_allclose(errors, expected, atol=1e-9)


def test_images_without_sky_are_refused() -> None:
    with pytest.raises(UsageError, match="have no sky"):
        measure_accuracy(HOST, "modelA", "caustics", images=1, params={**TINY, "sky": 0.0})


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_request:
        main(["simulate", *words])
    out, err = capsys.readouterr()
    return int(exit_request.value.code or 0), out, err


@pytest.mark.parametrize(("rays", "snr", "code", "verdict"), [(1, 30, 1, "not accurate"), (12, 1, 0, "accurate")])
def test_the_command_prints_a_table_and_exits_with_its_verdict(
    capsys: pytest.CaptureFixture[str], rays: int, snr: int, code: int, verdict: str
) -> None:
    tiny = [f"--set=data.{name}={value}" for name, value in {**TINY, "over_sampling": rays, "snr": snr}.items()]
    words = ["modelB", "--accuracy", "3", "--device", "cpu", *tiny]
    found, said, reported = run(capsys, *words)
    assert found == code, said + reported
    assert "deeplense/modelB" in said
    assert said.splitlines()[-1].startswith(f"{verdict}: ")
    found, said, reported = run(capsys, *words, "--json")
    assert said.startswith("{"), said + reported
    record = json.loads(said)
    assert (found, record["accurate"]) == (code, code == 0)
    assert record["errors"][0]["images"] == 3
    assert (record["over_sampling"], record["reference_over_sampling"]) == (rays, max(FINE, 2 * rays))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--accuracy", "3", "-n", "5"], "leave out -n and --compare"),
        (["--accuracy", "3", "--compare", "autolens"], "leave out -n and --compare"),
        (["--accuracy", "3", "--out", "here"], "--accuracy keeps no images: leave out --out"),
        (["--accuracy", "3", "--shard", "0:2"], "--accuracy keeps no images"),
        (["--accuracy", "3", "--split", "test"], "--accuracy keeps no images"),
        (["--compare", "autolens", "--split", "test"], "--compare keeps no images"),
        (["--accuracy", "0"], "0 is not in the range"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    code, out, told = run(capsys, "modelB", *words)
    assert (code, out) == (2, "")
    assert said in told
