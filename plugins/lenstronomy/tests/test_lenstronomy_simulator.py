"""lenstronomy as a simulator: it keeps the contract, and its images follow from its own classes called by hand."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from zoo_lenstronomy.keywords import lens_keywords, lens_models, light_keywords

from zoo import registry
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.lensing.instrument import Instrument
from zoo.lensing.observe import Rendered
from zoo.lensing.scenes import Scenes
from zoo.specs import DatasetSpec
from zoo.testing import Options, check, require_passed

HOST = load_plugins(environment={})
SMALL = Instrument(image_size=20, pixel_scale=0.25, psf_width=0.25)


@pytest.fixture
def render() -> Callable[..., Rendered]:
    """Return the engine; imported by the tests alone, since lenstronomy takes a second in each process."""
    from zoo_lenstronomy.simulator import render

    return render


def scenes_of(count: int, **params: object) -> Scenes:
    """Return scenes of Model B with elliptical haloes and lens light."""
    spec = registry.find(HOST, DatasetSpec, "modelB")
    shapes = {"halo_axis_ratio": "U(0.4, 0.95)", "halo_angle": "U(0, 3.14159)", "lens_light": True}
    return registry.load_target(spec)(**{**spec.params, **shapes, **params}).sample(np.arange(count), "lenstronomy")


@pytest.mark.slow
def test_contract() -> None:
    require_passed(check(HOST, "lenstronomy/lenstronomy", options=Options(data="modelB")))


@pytest.mark.parametrize("psf", ["gaussian", "airy", "none"])
@pytest.mark.parametrize("over_sampling", [1, 3])
def test_pixels_rows_and_psf(psf: str, over_sampling: int, render: Callable[..., Rendered]) -> None:
    """Its light at our rays, averaged and convolved by SciPy, is its image: grid, orientation, PSF and unit fit."""
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel
    from scipy.signal import fftconvolve

    instrument = dataclasses.replace(SMALL, psf=psf, over_sampling=over_sampling)
    scenes = scenes_of(3)
    rendered = render(scenes, instrument, device="cpu", dtype=torch.float64)
    x, y = np.meshgrid(*instrument.ray_grid())
    size = len(x) // over_sampling
    light = LightModel(["SERSIC_ELLIPSE"])

    def seen(brightness: np.ndarray) -> np.ndarray:
        pixels = brightness.reshape(size, over_sampling, size, over_sampling).mean((1, 3))
        return fftconvolve(pixels, instrument.psf_kernel(), mode="valid")

    for i in range(3):
        lens = LensModel(list(lens_models(scenes, i)))
        beta = lens.ray_shooting(x.ravel(), y.ravel(), lens_keywords(scenes, i))
        source = light.surface_brightness(*beta, [light_keywords(scenes.source, own_b=True)[i]])
        np.testing.assert_allclose(rendered.source[i].numpy(), seen(source.reshape(x.shape)), rtol=0, atol=1e-11)
        assert scenes.lens_light is not None
        assert rendered.lens_light is not None
        own = light.surface_brightness(x.ravel(), y.ravel(), [light_keywords(scenes.lens_light, own_b=True)[i]])
        np.testing.assert_allclose(rendered.lens_light[i].numpy(), seen(own.reshape(x.shape)), rtol=0, atol=1e-10)


def test_zero_masses_are_left_out() -> None:
    scenes = scenes_of(6)
    for i in range(6):
        count = int(scenes.parameters["substructure_count"][i])
        assert lens_models(scenes, i).count("POINT_MASS") == count
        assert len(lens_keywords(scenes, i)) == count + 2


def test_other_light_is_refused(render: Callable[..., Rendered]) -> None:
    with pytest.raises(UsageError, match="Sersic profiles only, not object"):
        render(dataclasses.replace(scenes_of(1), source=object()), SMALL, device="cpu")


def test_plugin_registers_without_heavy_imports() -> None:
    code = "import sys, zoo_lenstronomy.plugin; print({'torch', 'numpy', 'lenstronomy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
