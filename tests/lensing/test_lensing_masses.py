"""Masses that a simulator need not render: scenes with others are refused, and the engines deflect alike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from zoo_caustics.extended import extended_deflection, extended_masses
from zoo_lenstronomy.keywords import lens_keywords, lens_models

from zoo import provenance, registry
from zoo.data.compare import compare_simulators
from zoo.data.simulate import Simulation
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.lensing.scenes import PointMasses, Scenes
from zoo.plan.recipes import make_recipe, plan_images, try_population
from zoo.specs import OPTIONAL_MASSES, DatasetSpec, SimulatorSpec
from zoo.testing import ConformanceError, Options, check, require_passed

CALLS: list[int] = []


def ignoring(scenes, instrument, *, device, expected_images):
    """Render a disc whatever the scenes contain, and count the calls."""
    from zoo.lensing.observe import Rendered

    CALLS.append(len(scenes))
    axis = torch.linspace(-1, 1, instrument.image_size)
    disc = torch.exp(-(axis**2 + axis[:, None] ** 2))
    return Rendered(source=disc.expand(len(scenes), -1, -1))


def spec_of(*masses: str) -> SimulatorSpec:
    return SimulatorSpec(id="old/engine", target=f"{__name__}:ignoring", masses=masses)


@pytest.fixture
def host(monkeypatch):
    host = load_plugins(environment={})
    find, found = registry.find, {"engine": spec_of()}
    monkeypatch.setattr(registry, "find", lambda host, kind, name: (
        found["engine"] if name.removeprefix("old/") == "engine" else find(host, kind, name)
    ))  # fmt: skip
    monkeypatch.setattr(provenance, "image_code", lambda *_: {})
    host.found = found
    CALLS.clear()
    return host


CHANGES = {"multipoles": {"multipoles": 0.02}, "truncated haloes": {"subhalo_profile": "tnfw"}}
TINY = {"image_size": 12, "pixel_scale": 0.4, "over_sampling": 2}


@pytest.mark.parametrize("words", CHANGES)
def test_a_simulator_that_does_not_know_a_mass_refuses_before_it_renders(host, words):
    changes = {**TINY, **CHANGES[words]}
    settings = {f"data.{name}": value for name, value in changes.items()}
    message = f"old/engine cannot render {words}, which these scenes contain"
    with pytest.raises(UsageError, match=message):
        plan_images(host, "modelA", settings=settings, simulator="old/engine", device="cpu")
    with pytest.raises(UsageError, match=message):
        compare_simulators(host, "modelA", ("old/engine", "caustics"), images=3, params=changes)
    spec = registry.find(host, DatasetSpec, "modelA")
    recipe = make_recipe(host, spec, params={**spec.params, **changes}, simulator="caustics", device="cpu")
    simulation = Simulation(recipe=recipe, classes=spec.classes, population=spec.load()(**{**spec.params, **changes}),
                            render=ignoring, device="cpu", expected_images=3)  # fmt: skip
    with pytest.raises(UsageError, match=f"cannot render {words}"):
        simulation.expose("test", np.arange(3))
    assert not CALLS


def test_scenes_that_it_knows_are_rendered(host):
    spec = registry.find(host, DatasetSpec, "modelA")
    recipe = make_recipe(host, spec, params={**spec.params, **TINY}, simulator="old/engine", device="cpu")
    try_population(host, spec, recipe)
    compare_simulators(host, "modelA", ("old/engine", "caustics"), images=3, params=TINY)
    assert CALLS


@pytest.mark.parametrize("name", OPTIONAL_MASSES)
def test_the_conformance_kit_finds_a_mass_that_is_declared_and_left_out(host, name):
    host.found["engine"] = spec_of(name)
    with pytest.raises(ConformanceError, match=f"masses='{name}', but it renders the same images"):
        require_passed(check(host, "old/engine", options=Options(data="modelA")))


def test_a_spec_cannot_declare_what_scenes_cannot_contain():
    with pytest.raises(ValueError, match="masses has 'strings'; known are multipoles, truncated_haloes"):
        spec_of("strings")
    for name in OPTIONAL_MASSES:
        field = {each.name: each for each in dataclasses.fields(Scenes)}[name]
        assert field.default is None


def test_caustics_and_lenstronomy_deflect_alike():
    """Largest difference of a deflection 1e-6 arcsec, on scenes with multipoles and truncated haloes."""
    from lenstronomy.LensModel.lens_model import LensModel

    spec = registry.find(load_plugins(environment={}), DatasetSpec, "modelB")
    changes = {"multipoles": "Normal(0, 0.03)", "subhalo_profile": "tnfw", "mass_scale": 4.0, "halo_axis_ratio": 0.7}
    scenes = spec.load()(**{**spec.params, **changes}).sample(np.arange(12), "deflection")
    empty = PointMasses(x=np.zeros((12, 0)), y=np.zeros((12, 0)), einstein_radius=np.zeros((12, 0)))
    scenes = dataclasses.replace(scenes, points=empty)
    x, y = np.random.default_rng(1).uniform(-2.5, 2.5, (2, 500))
    masses = extended_masses(scenes, device=torch.device("cpu"))
    found = torch.stack(extended_deflection(masses, torch.as_tensor(x), torch.as_tensor(y)), -1).numpy()
    for i in range(len(scenes)):
        names, keywords = lens_models(scenes, i)[2:], lens_keywords(scenes, i)[2:]
        wanted = np.stack(LensModel(list(names)).alpha(x, y, keywords), -1)
        np.testing.assert_allclose(found[i], wanted, rtol=0, atol=1e-6)
    assert np.abs(found).max() > 0.05
