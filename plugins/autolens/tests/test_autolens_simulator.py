"""PyAutoLens as a simulator: it keeps the contract, its two modes agree, and it leaves nothing behind."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from zoo import registry
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.lensing.instrument import Instrument
from zoo.lensing.scenes import Scenes
from zoo.specs import DatasetSpec
from zoo.testing import Options, check, require_passed

HOST = load_plugins(environment={})
SMALL = Instrument(image_size=20, pixel_scale=0.25, psf_width=0.25)


@pytest.fixture
def modes() -> tuple[ModuleType, ...]:
    """Return both modes; imported by the tests alone, since PyAutoLens takes a second in each process."""
    from zoo_autolens import imaging, simulator

    return simulator, imaging


def scenes_of(count: int, **params: object) -> Scenes:
    """Return scenes of Model B with elliptical haloes and lens light."""
    spec = registry.find(HOST, DatasetSpec, "modelB")
    shapes = {"halo_axis_ratio": "U(0.4, 0.95)", "halo_angle": "U(0, 3.14159)", "lens_light": True}
    return registry.load_target(spec)(**{**spec.params, **shapes, **params}).sample(np.arange(count), "autolens")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "data"), [("autolens/autolens", "modelB"), ("autolens/simulator_imaging", "")])
def test_contract(name: str, data: str) -> None:
    require_passed(check(HOST, name, options=Options(data=data)))


@pytest.mark.slow
@pytest.mark.parametrize("over_sampling", [1, 3])
@pytest.mark.parametrize("psf", ["gaussian", "airy", "none"])
def test_simulator_imaging_gives_the_same_images(psf: str, over_sampling: int, modes: tuple[ModuleType, ...]) -> None:
    instrument = dataclasses.replace(SMALL, psf=psf, over_sampling=over_sampling)
    scenes = scenes_of(2)
    ours, whole = (module.render(scenes, instrument, device="cpu", dtype=torch.float64) for module in modes)
    assert ours.lens_light is not None
    assert whole.lens_light is not None
    reach = instrument.psf_radius_pixels
    inside = slice(reach, SMALL.image_size - reach)
    for one, other in ((ours.source, whole.source), (ours.lens_light, whole.lens_light)):
        scale = one.amax((1, 2), keepdim=True)
        difference = (one - other).abs() / scale
        assert difference[:, inside, inside].max() < 1e-10
        # Beyond the edge it takes one ray a pixel, which only the PSF brings in.
        assert difference.max() < (1e-10 if over_sampling == 1 or psf == "none" else 1e-2)


@pytest.mark.slow
def test_numpy_is_left_as_it_was(modes: tuple[ModuleType, ...]) -> None:
    scenes = scenes_of(1)
    with np.errstate(divide="raise"):
        np.random.seed(3)  # noqa: NPY002 - the global generator is what is watched
        expected = np.random.random(2)  # noqa: NPY002 - what PyAutoLens must not change
        np.random.seed(3)  # noqa: NPY002 - what PyAutoLens must not change
        for module in modes:
            module.render(scenes, SMALL, device="cpu")
        assert np.geterr()["divide"] == "raise"
        assert np.array_equal(np.random.random(2), expected)  # noqa: NPY002 - what PyAutoLens must not change


@pytest.mark.slow
def test_other_light_is_refused(modes: tuple[ModuleType, ...]) -> None:
    scenes = dataclasses.replace(scenes_of(1), source=object())
    for module in modes:
        with pytest.raises(UsageError, match="Sersic profiles only, not object"):
            module.render(scenes, SMALL, device="cpu")


@pytest.mark.slow
def test_imports_without_a_word(tmp_path: Path) -> None:
    """A folder `config` of somebody else's is neither read nor written, and nothing is printed."""
    work, home = tmp_path / "work", tmp_path / "home"
    (work / "config").mkdir(parents=True)
    home.mkdir()
    (work / "config" / "general.yaml").write_text("version:\n  minimum_library_version: 9999.1.1.1\n")
    (work / "config" / "logging.yaml").write_text("version: 1\nroot: {level: DEBUG, handlers: [nobody]}\n")
    code = (
        "import logging, os, zoo_autolens.simulator\n"
        "assert not logging.getLogger().handlers\n"
        "assert 'PYAUTO_SKIP_WORKSPACE_VERSION_CHECK' not in os.environ\n"
        "logging.getLogger('autofit').warning('seen')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=work,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "MPLCONFIGDIR": str(tmp_path / "matplotlib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == "seen\n"
    assert sorted(path.name for path in work.rglob("*")) == ["config", "general.yaml", "logging.yaml"]
    # `import astropy` alone makes its own folder; nothing else may appear.
    assert {path.name for path in home.iterdir()} <= {".astropy"}


def test_plugin_registers_without_heavy_imports() -> None:
    code = "import sys, zoo_autolens.plugin; print({'torch', 'numpy', 'autolens', 'autonerves'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
