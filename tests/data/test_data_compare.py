"""`compare_simulators` against simulators whose errors are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from zoo.data.compare import compare_simulators, differences
from zoo.errors import DataError, UsageError
from zoo.host import Host, load_plugins

# `exact` draws a ramp, as high as the source is wide; the others are wrong in a way that is known.
ENGINES = """
import torch
from zoo import DatasetSpec, SimulatorSpec, hookimpl
from zoo.lensing.observe import Rendered

NAMES = ("exact", "wrong_pixel", "wrong_light", "no_light", "flat", "not_finite")

@hookimpl
def zoo_simulators():
    return [SimulatorSpec(id=f"engines/{name}", target=f"engines:{name}") for name in NAMES]

@hookimpl
def zoo_datasets():
    return [DatasetSpec(id="engines/photos", target="engines:photos", classes=("a", "b"))]

def exact(scenes, instrument, *, device, expected_images):
    assert device == "cpu"
    size = instrument.image_size
    ramp = torch.linspace(0, 1, size * size).reshape(1, size, size)
    images = ramp.repeat(len(scenes), 1, 1) * torch.as_tensor(scenes.source.effective_radius)[:, None, None]
    return Rendered(source=images, lens_light=None if scenes.lens_light is None else 3 * images)

def wrong_pixel(scenes, instrument, **options):
    rendered = exact(scenes, instrument, **options)
    for i in range(len(scenes)):
        rendered.source[i, 2, 5] += 0.001 * (i + 1) * rendered.source[i].max()
    return rendered

def wrong_light(scenes, instrument, **options):
    rendered = exact(scenes, instrument, **options)
    return Rendered(source=rendered.source, lens_light=rendered.lens_light * 0.5)

def no_light(scenes, instrument, **options):
    return Rendered(source=exact(scenes, instrument, **options).source)

def flat(scenes, instrument, **options):
    return Rendered(source=exact(scenes, instrument, **options).source[:, 0])

def not_finite(scenes, instrument, **options):
    return Rendered(source=exact(scenes, instrument, **options).source * float("nan"))
"""
TINY = {"image_size": 16, "pixel_scale": 0.4, "over_sampling": 1}  # one ray, so that pixels have no sub-pixels


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    path = tmp_path_factory.mktemp("plugins") / "engines.py"
    path.write_text(ENGINES)
    found = load_plugins(files=[path], environment={})
    assert found.records["engines"].state == "ok", found.records["engines"].trace
    return found


def test_one_wrong_pixel_is_found_in_its_image_and_class(host: Host) -> None:
    images = 9
    found = compare_simulators(host, "modelA", ("engines/exact", "engines/wrong_pixel"), images=images, params=TINY)
    assert found.simulators == ("engines/exact", "engines/wrong_pixel")
    whole, *classes = found.differences
    assert (whole.light, whole.of, whole.images, whole.worst_image) == ("source", "all", images, images - 1)
    assert whole.largest == found.largest == pytest.approx(0.001 * images, rel=1e-5)
    squares = [(0.001 * (i + 1)) ** 2 / 16**2 for i in range(images)]
    assert whole.rms == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-5)
    # Labels come in shuffled triples: the last triple holds the worst image of each class.
    assert [agreement.images for agreement in classes] == [3, 3, 3]
    assert {agreement.of for agreement in classes} == {"no_substructure", "subhalo", "vortex"}
    assert {agreement.worst_image for agreement in classes} == {6, 7, 8}
    for agreement in classes:
        assert agreement.largest == pytest.approx(0.001 * (agreement.worst_image + 1), rel=1e-5)
    assert all(0 < seconds < 60 for seconds in found.seconds_per_image)


def test_lens_light_is_compared_too(host: Host) -> None:
    params = {**TINY, "lens_light": True}
    found = compare_simulators(host, "modelA", ("engines/exact", "engines/wrong_light"), images=3, params=params)
    by_light = {agreement.light: agreement.largest for agreement in found.differences if agreement.of == "all"}
    assert by_light == {"source": 0, "lens_light": pytest.approx(0.5)}
    assert found.largest == pytest.approx(0.5)


def test_the_same_images_as_the_training_split(host: Host) -> None:
    """An engine against itself, on the images that a recipe with this seed holds, whatever their number."""
    from zoo.plan.recipes import make_recipe
    from zoo.specs import DatasetSpec

    spec = next(spec for spec in host.specs_of(DatasetSpec) if spec.id == "deeplense/modelA")
    recipe = make_recipe(host, spec, params=spec.params, simulator="engines/exact", device="cpu", seed=5)
    labels = spec.load()(**spec.params).sample(np.arange(4), recipe.stream("train")).label
    found = compare_simulators(host, "modelA", ("exact", "exact"), images=4, params=TINY, seed=5)
    counts = {agreement.of: agreement.images for agreement in found.differences}
    assert counts == {"all": 4} | {spec.classes[label]: int((labels == label).sum()) for label in set(labels.tolist())}
    assert found.largest == 0


def test_rows_and_json_are_plain(host: Host) -> None:
    found = compare_simulators(host, "modelA", ("exact", "wrong_pixel"), images=3, params=TINY)
    rows = found.rows()
    assert [row["class"] for row in rows] == ["all", "no_substructure", "subhalo", "vortex"]
    assert json.loads(json.dumps(rows)) == rows
    written = json.loads(json.dumps(found.to_json()))
    assert written["largest"] == found.largest
    assert written["params"] == TINY
    assert [one["worst_image"] for one in written["differences"]] == [row["worst image"] for row in rows]


def test_differences_are_in_units_of_each_images_peak() -> None:
    first, second = torch.zeros(3, 2, 2), torch.zeros(3, 2, 2)
    first[0, 0, 0], second[0, 0, 0] = 4, 5
    first[1, 1, 1], second[1, 0, 1] = 2, 1
    found = differences(first, second)
    assert found[0, 0, 0] == pytest.approx(-1 / 5)
    assert found[1].tolist() == [[0, -0.5], [0, 1]]
    assert not found[2].any()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dataset": "engines/photos"}, UsageError, "engines/photos is not simulated"),
        ({"dataset": "modelZ"}, UsageError, "modelA"),
        ({"simulators": ("exact", "exakt")}, UsageError, "Did you mean 'exact'"),
        ({"images": 0}, UsageError, "images=0 must be a whole number"),
        ({"params": {"snrr": 3}}, UsageError, "has no parameter 'snrr'. Did you mean 'snr'"),
        (
            {"simulators": ("exact", "flat")},
            DataError,
            r"engines/flat returned a source of shape \(1, 16\) where \(1, 16, 16\)",
        ),
        ({"simulators": ("not_finite", "exact")}, DataError, "engines/not_finite returned a source that is not finite"),
        ({"simulators": ("exact", "no_light"), "params": {**TINY, "lens_light": True}}, DataError, "no lens light"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_said(host: Host, changes: dict, error: type[Exception], message: str) -> None:
    request = {"dataset": "modelA", "simulators": ("exact", "exact"), "params": TINY, **changes}
    with pytest.raises(error, match=message):
        compare_simulators(host, request.pop("dataset"), request.pop("simulators"), **request)
