"""The engine: same bits in any batch, bounded memory, two paths with one result."""

from __future__ import annotations

import dataclasses
import functools
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import zoo_caustics.plugin
from zoo_caustics import compiling, native, simulator
from zoo_caustics.fused import brightness_fused, image_constants
from zoo_caustics.rays import brightness_eager, packed_masses, source_parameters, unlensed_parameters
from zoo_caustics.simulator import render

from zoo.errors import UsageError
from zoo.lensing.draws import Draws
from zoo.lensing.instrument import Instrument
from zoo.lensing.observe import observe
from zoo.lensing.scenes import PointMasses, Scenes, Sersic

pytestmark = pytest.mark.slow  # compilation

SMALL = Instrument(image_size=24, pixel_scale=0.15, psf_width=0.15)
DEFAULT = Instrument()


@pytest.fixture(params=["eager", "compiled"])
def compiled(request: pytest.FixtureRequest) -> bool:
    return request.param == "compiled" and request.getfixturevalue("has_compiled_path")


def padded(scenes: Scenes, *, front: int, back: int) -> Scenes:
    """Add places without a mass on both sides of the real ones."""

    def wider(values: np.ndarray, fill: float) -> np.ndarray:
        return np.pad(values, ((0, 0), (front, back)), constant_values=fill)

    points = scenes.points
    return dataclasses.replace(
        scenes,
        points=PointMasses(
            x=wider(points.x, 0.3), y=wider(points.y, 0.0), einstein_radius=wider(points.einstein_radius, 0.0)
        ),
    )


def mixed_scenes(make_scenes: Callable[..., Scenes]) -> Scenes:
    """Return ten scenes with 0 to 9 masses."""
    scenes = make_scenes(10, masses=9, lens_light={})
    radius = np.where(np.arange(9) < np.arange(10)[:, None], scenes.points.einstein_radius, 0.0)
    return dataclasses.replace(scenes, points=dataclasses.replace(scenes.points, einstein_radius=radius))


@pytest.mark.parametrize("source", [{"x": 15.0, "index": 1.0}, {"x": 4.0, "index": 0.3}], ids=str)
def test_a_source_that_no_ray_meets_is_refused_and_not_drawn_as_a_flat_image(make_scenes, compiled, source) -> None:
    scenes = make_scenes(3, source={"y": 0.0, "axis_ratio": 1.0, "effective_radius": 0.25, **source})
    rendered = render(scenes, SMALL, device="cpu", compiled=compiled)
    with pytest.raises(UsageError, match="The light of 3 of 3 sources reaches no pixel"):
        observe(rendered, scenes.exposure, draws=Draws("x", np.arange(3)))


# Of an odd number of rays, torch computes the last ones by other code.
@pytest.mark.parametrize(
    "changes", [{}, {"image_size": 23, "psf": "none"}, {"image_size": 52, "psf": "airy", "over_sampling": 3}], ids=str
)
def test_an_image_does_not_depend_on_its_batch(
    make_scenes: Callable[..., Scenes], compiled: bool, changes: dict[str, Any]
) -> None:
    scenes, instrument = mixed_scenes(make_scenes), dataclasses.replace(SMALL, **changes)
    whole = render(scenes, instrument, device="cpu", compiled=compiled)
    order = np.array([7, 2, 9])
    some = render(scenes[order], instrument, device="cpu", compiled=compiled)
    assert torch.equal(some.source, whole.source[order])
    assert whole.lens_light is not None
    assert some.lens_light is not None
    assert torch.equal(some.lens_light, whole.lens_light[order])
    for i in range(len(scenes)):
        assert torch.equal(render(scenes[i], instrument, device="cpu", compiled=compiled).source[0], whole.source[i])


def test_padding_changes_no_bit(make_scenes: Callable[..., Scenes], compiled: bool) -> None:
    scenes = mixed_scenes(make_scenes)
    plain = render(scenes, SMALL, device="cpu", compiled=compiled).source
    for front, back in ((0, 1), (3, 30), (1, 0)):
        wider = padded(scenes, front=front, back=back)
        assert torch.equal(render(wider, SMALL, device="cpu", compiled=compiled).source, plain)


AIRY = dataclasses.replace(SMALL, over_sampling=3, psf="airy", image_size=31)


@pytest.mark.parametrize("halo", [{}, {"axis_ratio": 1.0}], ids=str)
@pytest.mark.parametrize("instrument", [SMALL, AIRY], ids=["gaussian", "airy"])
def test_compiled_equals_eager(
    make_scenes: Callable[..., Scenes], has_compiled_path: bool, instrument: Instrument, halo: dict[str, float]
) -> None:
    """Both are float32; where they differ, a ray passes close to a mass and its rounding is magnified."""
    light = {"axis_ratio": 0.7, "index": 4.0}
    scenes = make_scenes(8, masses=25, halo=halo, source={"effective_radius": 0.8, "index": 1.0}, lens_light=light)
    eager = render(scenes, instrument, device="cpu", compiled=False)
    fused = render(scenes, instrument, device="cpu", compiled=True)
    error = (fused.source - eager.source).abs().amax((1, 2)) / eager.source.amax((1, 2))
    assert error.max() < 1e-6
    assert eager.lens_light is not None
    assert fused.lens_light is not None
    torch.testing.assert_close(fused.lens_light, eager.lens_light, rtol=1e-5, atol=0)


@pytest.mark.parametrize("halo", [{"axis_ratio": 1.0}, {"axis_ratio": 0.2}, {"axis_ratio": 0.999}], ids=str)
@pytest.mark.parametrize(
    "changes",
    [{}, {"over_sampling": 4, "psf": "none", "image_size": 8}, {"over_sampling": 2, "psf": "none", "image_size": 65}],
    ids=str,
)
def test_compiled_is_as_exact_as_eager(
    make_scenes: Callable[..., Scenes], has_compiled_path: bool, changes: dict[str, Any], halo: dict[str, float]
) -> None:
    instrument = dataclasses.replace(SMALL, **changes)
    scenes = make_scenes(16, masses=25, halo=halo, source={"effective_radius": 0.8, "index": 2.0})
    exact = render(scenes, instrument, device="cpu", dtype=torch.float64).source
    eager, fused = (render(scenes, instrument, device="cpu", compiled=path).source for path in (False, True))
    wrong, others = ((images - exact).abs().amax() / exact.amax() for images in (fused, eager))
    assert (fused - eager).abs().amax() < 1e-5 * eager.amax()
    assert wrong < 1.5 * max(others, 1e-6)


def test_an_image_does_not_depend_on_the_number_of_threads(
    make_scenes: Callable[..., Scenes], has_compiled_path: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = mixed_scenes(make_scenes)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    one = render(scenes, SMALL, device="cpu", compiled=True)
    monkeypatch.setattr(native, "RAYS_IN_A_CALL", 1)  # several calls
    for threads in (3, 16):  # also more than there are images
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        several = render(scenes, SMALL, device="cpu", compiled=True)
        assert torch.equal(several.source, one.source)


def test_full_memory_in_the_compiled_code_is_an_error_of_python(
    make_scenes: Callable[..., Scenes], has_compiled_path: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def zoo_render(self, *arguments: object) -> int:
            return 1

    monkeypatch.setattr(simulator, "native_library", Full)
    with pytest.raises(MemoryError, match="of 40 x 40 pixels"):
        render(make_scenes(2), dataclasses.replace(SMALL, image_size=40, psf="none"), device="cpu", compiled=True)


@pytest.mark.parametrize("width", [0.05, 0.15, 0.6])
def test_a_separable_psf_is_that_of_the_fourier_transform(
    make_scenes: Callable[..., Scenes], has_compiled_path: bool, width: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes, instrument = make_scenes(4, masses=3), dataclasses.replace(SMALL, psf_width=width)
    separable = render(scenes, instrument, device="cpu", compiled=True).source
    monkeypatch.setattr(np, "allclose", lambda *_, **__: False)
    transformed = render(scenes, instrument, device="cpu", compiled=True).source
    assert (separable - transformed).abs().amax() <= 2e-7 * transformed.amax()


def test_torch_follows_the_arranged_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one graph, for any number of rays and masses; tests/test_cuda.py compiles it for a CUDA device."""
    whole = torch.compile

    def followed(function: Callable[..., object], *, fullgraph: bool, options: object) -> Callable[..., object]:
        return whole(function, fullgraph=fullgraph, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", followed)
    assert compiling.compiled_brightness.__wrapped__("cpu") is not None


def test_bands_of_rows_give_the_same_image(make_scenes: Callable[..., Scenes], monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = make_scenes(2, masses=3)
    whole = render(scenes, SMALL, device="cpu", dtype=torch.float64).source
    monkeypatch.setitem(simulator.RAYS_AT_A_TIME, "cpu", 700)
    bands = render(scenes, SMALL, device="cpu", dtype=torch.float64).source
    torch.testing.assert_close(bands, whole, rtol=0, atol=1e-13)


def test_rays_on_a_centre_are_finite(make_scenes: Callable[..., Scenes]) -> None:
    instrument = Instrument(image_size=9, pixel_scale=0.25, over_sampling=1, psf="none")  # a ray at exactly 0, 0
    for axis_ratio in (0.7, 1.0):
        halo = {"einstein_radius": 1.0, "axis_ratio": axis_ratio, "x": 0.0, "y": 0.0}
        scenes = make_scenes(1, halo=halo, source={"x": 0.0, "y": 0.0})
        points = PointMasses(x=np.array([[0.25, 0.0]]), y=np.array([[0.5, 0.0]]), einstein_radius=np.full((1, 2), 0.1))
        scenes = dataclasses.replace(scenes, points=points)
        for dtype in (torch.float32, torch.float64):
            assert render(scenes, instrument, device="cpu", dtype=dtype).source.isfinite().all()


def test_no_scenes_give_no_images(make_scenes: Callable[..., Scenes]) -> None:
    assert render(make_scenes(3, masses=2)[:0], SMALL, device="cpu").source.shape == (0, 24, 24)


def test_a_missing_device_is_said(make_scenes: Callable[..., Scenes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device"):
        render(make_scenes(), SMALL, device="cuda")


def test_only_long_runs_compile(make_scenes: Callable[..., Scenes], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(simulator, "native_library", lambda: asked.append("cpu"))
    scenes = make_scenes(2)
    render(scenes, DEFAULT, device="cpu")
    render(scenes, DEFAULT, device="cpu", expected_images=100)
    render(scenes, DEFAULT, device="cpu", expected_images=75_000, dtype=torch.float64)
    assert asked == []
    render(scenes, DEFAULT, device="cpu", expected_images=75_000)
    assert asked == ["cpu"]


def test_a_failing_compiler_is_said_once_and_survived(
    make_scenes: Callable[..., Scenes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler here\nand a long trace")

    monkeypatch.setattr(native, "load_native", broken)
    monkeypatch.setattr(simulator, "native_library", functools.cache(native.native_library.__wrapped__))
    scenes = make_scenes(2, masses=2)
    with caplog.at_level(logging.WARNING):
        images = [render(scenes, SMALL, device="cpu", compiled=True).source for _ in range(2)]
    assert [record.getMessage().count("no compiler here") for record in caplog.records] == [1]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], render(scenes, SMALL, device="cpu", compiled=False).source)


def test_compiled_code_that_is_wrong_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, has_compiled_path: bool
) -> None:
    monkeypatch.setattr(native, "brightness_eager", lambda *tables: brightness_eager(*tables) * 1.001)
    with caplog.at_level(logging.WARNING):
        assert native.native_library.__wrapped__() is None
    assert "the compiled code is wrong by 1" in caplog.text


_MEMORY = """
import importlib.util, sys
from zoo.environment import peak_memory_bytes
from zoo.lensing.instrument import Instrument
from zoo_caustics import simulator
spec = importlib.util.spec_from_file_location("scenes_for_tests", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
simulator.RAYS_AT_A_TIME["cpu"] = 100_000

def render(size, over_sampling, *scenes, **options):
    instrument = Instrument(image_size=size, over_sampling=over_sampling, pixel_scale=7 / size)
    simulator.render(module._scenes(*scenes, **options), instrument, device="cpu")

render(48, 2, 2, masses=2)
before = peak_memory_bytes()
render(48, 2, 100, masses=25)
render(600, 4, 1)
print((peak_memory_bytes() - before) / 2**20)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the peak memory of one process alone is known on Linux only"
)
def test_memory_does_not_grow_with_masses_or_rays(request: pytest.FixtureRequest) -> None:
    """In one piece, 2500 masses on 11,000 rays take 110 MB an array, and an image of 6 million rays 24 MB."""
    conftest = request.path.with_name("conftest.py")
    done = subprocess.run([sys.executable, "-c", _MEMORY, conftest], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60


def test_plugin_registers_without_heavy_imports() -> None:
    [spec] = zoo_caustics.plugin.zoo_simulators()
    assert spec.load() is render
    code = "import sys, zoo_caustics.plugin; print({'torch', 'numpy', 'caustics'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("halo", [None, {"axis_ratio": 1.0}, {"axis_ratio": 0.999}, {"axis_ratio": 0.2}])
@pytest.mark.parametrize("index", [0.5, 1.0, 4.0])
def test_the_arranged_formulas_are_those_of_caustics(
    make_scenes: Callable[..., Scenes], halo: dict[str, float] | None, index: float
) -> None:
    scenes = make_scenes(5, masses=7, halo=halo, source={"index": index})
    assert isinstance(scenes.source, Sersic)
    table, (masses, _) = source_parameters(scenes, scenes.source), packed_masses(scenes.points)
    x, y = np.random.default_rng(1).uniform(-3, 3, (2, 4000))
    # Rays that hit the centre of the first scene's halo, and of its first mass.
    x[:2], y[:2] = [scenes.halo.x[0], masses[0, 0, 0]], [scenes.halo.y[0], masses[0, 0, 1]]
    rays = torch.as_tensor(masses), torch.as_tensor(x), torch.as_tensor(y)
    arranged = brightness_fused(torch.as_tensor(image_constants(table)), *rays)
    torch.testing.assert_close(arranged, brightness_eager(torch.as_tensor(table), *rays), rtol=1e-9, atol=1e-12)


def test_the_arranged_formulas_at_the_centre_of_light(make_scenes: Callable[..., Scenes]) -> None:
    light = make_scenes(1, lens_light={"x": 0.0, "y": 0.0, "index": 4.0}).lens_light
    assert light is not None
    table, centre = unlensed_parameters(light), torch.zeros(1, dtype=torch.float64)
    arranged = brightness_fused(
        torch.as_tensor(image_constants(table)), torch.zeros(2, 1, 3, dtype=torch.float64), centre, centre
    )
    assert float(arranged) == pytest.approx(float(light.intensity[0] * np.exp(light.b[0])), rel=1e-14)
