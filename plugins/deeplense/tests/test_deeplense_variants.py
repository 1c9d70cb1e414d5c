"""Models A and B with one thing that real lenses have: multipoles, light, extended masses, a centre of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenetools import TABLES, every_leaf, population, sample, uniform
from scipy import constants, integrate
from zoo_caustics.simulator import render
from zoo_deeplense.masses import (
    concentration,
    enclosed_mass,
    fraction_inside,
    halo_fraction_inside,
    virial_radius,
)
from zoo_deeplense.plugin import zoo_datasets
from zoo_deeplense.population import NO_SUBSTRUCTURE, SUBHALO, VORTEX
from zoo_deeplense.tables import ADDED, MODEL_A, VARIANTS

from zoo.data.about import all_params
from zoo.data.recipe import Recipe, short_hash
from zoo.errors import UsageError
from zoo.host import load_plugins
from zoo.lensing.scenes import TruncatedHaloes
from zoo.plan.recipes import make_recipe

SPECS = {spec.name: spec for spec in zoo_datasets() if spec.simulated}
HOST = load_plugins(environment={})


def recipe(name: str, **changes: object) -> Recipe:
    spec = SPECS[name]
    return make_recipe(HOST, spec, params={**spec.params, **changes}, simulator="caustics", device="cpu")


@pytest.mark.parametrize("name", SPECS)
def test_parameters_that_came_later_are_in_a_recipe_only_where_they_are_changed(name):
    spec, plain = SPECS[name], recipe(name)
    assert set(plain.params) == set(spec.params) - set(ADDED)
    assert all_params(spec, plain.params) == dict(spec.params)
    other = {"multipoles": 0.02, "subhalo_profile": "tnfw", "subhalo_truncation": 0.5, "halo_centre": 0.1}
    for key, value in other.items():
        if spec.params[key] != value:
            changed = recipe(name, **{key: value})
            assert changed.params[key] == value
            assert changed.hash != plain.hash


@pytest.mark.parametrize(
    ("name", "before"), [("modelA", "790214a25b12c4be"), ("modelB", "35d6ebe94705d796"), ("model1", "ec115410d26f8349")]
)
def test_recipes_of_the_first_days_of_version_2_are_found_again(name, before):
    """The hash of their parameters was computed before there were multipoles and truncated haloes."""
    assert short_hash(dict(recipe(name).params)) == before


@pytest.mark.parametrize("start", TABLES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_its_model_with_those_lines_changed(start, variant):
    params = SPECS[f"{start}_{variant}"].params
    assert dict(params) == TABLES[start] | VARIANTS[variant]


def test_halo_and_multipoles_are_drawn_for_every_class():
    scenes = sample(count=900, **VARIANTS["multipoles"])
    multipoles = scenes.multipoles
    assert multipoles is not None
    assert scenes.halo.axis_ratio.min() > 0.6
    for order, amplitude, angle in multipoles.orders:
        assert amplitude.std() == pytest.approx(0.01, rel=0.1)
        assert angle.max() == pytest.approx(2 * np.pi / order, rel=0.01)
        for label in (NO_SUBSTRUCTURE, SUBHALO, VORTEX):
            assert amplitude[scenes.label == label].std() == pytest.approx(0.01, rel=0.2)
    assert abs(np.corrcoef(multipoles.amplitude_3, multipoles.amplitude_4)[0, 1]) < 0.15


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_else_stays_as_it_was(variant):
    """Compared image by image: source, shear, exposure and positions of masses are those of the plain model."""
    plain, changed = every_leaf(sample()), every_leaf(sample(**VARIANTS[variant]))
    moved = () if variant == "offcentre" else ("source.x", "halo.x", "points.x")
    for name in (*moved, "label", "source.angle", "source.effective_radius", "shear.gamma_1", "exposure.sky",
                 "parameters.substructure_count", "parameters.vortex_length"):  # fmt: skip
        np.testing.assert_array_equal(plain[name], changed[name])
    if variant in ("multipoles", "lens_light", "offcentre"):
        np.testing.assert_array_equal(plain["points.einstein_radius"], changed["points.einstein_radius"])


@pytest.mark.parametrize("table", TABLES)
def test_a_lens_off_the_centre_moves_as_a_whole(table):
    """In units of the lens nothing changes, so the mass inside the ring, counted around the halo, is conserved."""
    plain, moved = sample(table), sample(table, **VARIANTS["offcentre"])
    x, y = moved.halo.x, moved.halo.y
    assert uniform(np.concatenate([x, y]), -0.05, 0.05)
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.2
    for label in (NO_SUBSTRUCTURE, SUBHALO, VORTEX):
        assert np.abs(x[moved.label == label]).max() > 0.045
    np.testing.assert_allclose(moved.points.x - x[:, None], plain.points.x, atol=1e-12)
    np.testing.assert_allclose(moved.points.y - y[:, None], plain.points.y, atol=1e-12)
    np.testing.assert_array_equal(moved.halo.einstein_radius, plain.halo.einstein_radius)
    around = replace(moved.points, x=moved.points.x - x[:, None], y=moved.points.y - y[:, None])
    total = moved.parameters["total_einstein_radius"]
    inside = fraction_inside(around, total, axis_ratio=moved.halo.axis_ratio, angle=moved.halo.angle)
    np.testing.assert_allclose(moved.halo.einstein_radius / total + inside, 1, atol=1e-12)


def test_the_image_of_a_lens_off_the_centre_is_the_shifted_image():
    """By whole pixels, with everything that a lens may have: nothing is left behind in the middle."""
    params = {**VARIANTS["multipoles"], "lens_light": True, "subhalo_profile": "tnfw", "image_size": 24,
              "pixel_scale": 0.2, "over_sampling": 1, "psf": "none"}  # fmt: skip
    both = []
    for centre in (0.0, 0.4):
        lenses = population(**params, halo_centre=centre)
        rendered = render(lenses.sample(np.arange(6), "s"), lenses.instrument, device="cpu", dtype=torch.float64)
        assert rendered.lens_light is not None
        both.append((rendered.source + rendered.lens_light).numpy())
    plain, moved = both
    np.testing.assert_allclose(moved[:, 2:, 2:], plain[:, :-2, :-2], atol=1e-9 * plain.max())


def test_truncated_haloes_stand_where_the_points_stood_and_have_their_masses():
    plain, scenes = sample(), sample(**VARIANTS["tnfw"])
    haloes = scenes.truncated_haloes
    assert haloes is not None
    subhaloes, others = scenes.label == SUBHALO, scenes.label != SUBHALO
    for name in ("x", "y", "einstein_radius"):
        present = plain.points.einstein_radius[subhaloes] > 0
        before, after = getattr(plain.points, name)[subhaloes], getattr(haloes, name)[subhaloes]
        np.testing.assert_array_equal(before[present], after[present])
    np.testing.assert_array_equal(plain.points.einstein_radius[others], scenes.points.einstein_radius[others])
    assert not haloes.einstein_radius[others].any()
    assert not scenes.points.einstein_radius[subhaloes].any()
    np.testing.assert_array_equal(
        scenes.parameters["substructure_mass_fraction"], plain.parameters["substructure_mass_fraction"]
    )
    # A halo is spread out, so less of it lies inside the ring.
    inside, before = (each.parameters["substructure_mass_fraction_inside"] for each in (scenes, plain))
    assert (inside[subhaloes] < before[subhaloes] + 1e-12).mean() > 0.9
    assert (inside[subhaloes] > 0).all()


def test_sizes_of_truncated_haloes_follow_mass_and_redshift():
    """c_200 and r_200 written once more, in SI units, for one halo of 1e10 solar masses at redshift 0.5."""
    mass, redshift = np.array([1e10]), np.array([0.5])
    assert concentration(mass, redshift)[0] == pytest.approx(5.71 * (1e10 * 0.7 / 2e12) ** -0.084 * 1.5**-0.47)
    hubble = 70e3 / (1e6 * constants.parsec) * np.sqrt(0.3 * 1.5**3 + 0.7)
    critical = 3 * hubble**2 / (8 * np.pi * constants.G)
    radius = (1e10 * 1.98841e30 / (4 / 3 * np.pi * 200 * critical)) ** (1 / 3)
    comoving = constants.c / 70e3 * integrate.quad(lambda z: (0.3 * (1 + z) ** 3 + 0.7) ** -0.5, 0, 0.5)[0]
    wanted = np.degrees(radius / (comoving / 1.5 * 1e6 * constants.parsec)) * 3600
    assert virial_radius(mass, redshift)[0] == pytest.approx(wanted, rel=1e-4)

    scenes = sample(count=60, subhalo_profile="tnfw", subhalo_truncation=0.5, mass_scale=2.0)
    haloes, total = scenes.truncated_haloes, scenes.parameters["total_einstein_radius"][:, None]
    assert haloes is not None
    present = haloes.einstein_radius > 0
    masses = ((haloes.einstein_radius / total) ** 2 * 1e12)[present]
    np.testing.assert_allclose(haloes.truncation_radius[present], 0.5 * virial_radius(masses, redshift), rtol=1e-9)
    np.testing.assert_allclose(haloes.tau[present], 0.5 * concentration(masses, redshift), rtol=1e-9)


def one_halo(x: float, *, tau: float, scale: float) -> TruncatedHaloes:
    values = {"x": x, "y": 0.1, "einstein_radius": 1.0, "scale_radius": scale, "truncation_radius": tau * scale}
    return TruncatedHaloes(**{name: np.array([[value]]) for name, value in values.items()})


@pytest.mark.parametrize("tau", [0.5, 1.0, 8.0])
def test_enclosed_mass_is_the_integral_of_the_density(tau):
    """rho integrated over a cylinder: shells inside R are whole, the others lose what lies outside."""
    haloes = one_halo(0.0, tau=tau, scale=0.7)

    def mass_of_shell(r: float) -> float:
        return r / (1 + r) ** 2 * tau**2 / (tau**2 + r**2)

    def mass_inside(r: float, radius: float) -> float:
        return mass_of_shell(r) * (1 - np.sqrt(1 - (radius / r) ** 2))

    whole = integrate.quad(mass_of_shell, 0, np.inf)[0]
    for radius in (0.01, 0.3, 0.99999, 1.0, 1.7, 40.0):
        inner = integrate.quad(mass_of_shell, 0, radius)[0]
        outer = integrate.quad(mass_inside, radius, np.inf, args=(radius,))[0]
        found = enclosed_mass(np.array([[0.7 * radius]]), haloes)[0, 0]
        assert found == pytest.approx((inner + outer) / whole, rel=1e-6)


@pytest.mark.parametrize("x", [0.2, 1.5, 2.5])
def test_share_of_a_halo_inside_an_ellipse_is_that_of_its_surface_density(x):
    """Gauss's theorem against a sum over a polar grid around the halo, whose surface density is that of its rings."""
    halo, total, q, angle = one_halo(x, tau=6.0, scale=0.3), 1.6, 0.7, 0.4
    edges = np.geomspace(1e-3, 60, 1200)
    rings = np.diff(enclosed_mass(edges[None], halo)[0], prepend=0)
    radius = np.concatenate([[5e-4], np.sqrt(edges[1:] * edges[:-1])])
    phi = 2 * np.pi * (np.arange(720) + 0.5) / 720
    at_x, at_y = x + radius[:, None] * np.cos(phi), 0.1 + radius[:, None] * np.sin(phi)
    along, across = at_x * np.cos(angle) + at_y * np.sin(angle), at_y * np.cos(angle) - at_x * np.sin(angle)
    wanted = (rings * (q * along**2 + across**2 / q < total**2).mean(1)).sum() / total**2
    found = halo_fraction_inside(halo, np.array([total]), axis_ratio=np.array([q]), angle=np.array([angle]))
    assert found[0] == pytest.approx(wanted, rel=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("mass_scale", [1.0, 4.0])
@pytest.mark.parametrize("axis_ratio", [1.0, "U(0.5, 1)"])
def test_the_ring_is_as_large_with_truncated_haloes(mass_scale, axis_ratio):
    """The mean convergence passes 1 between 0.997 and 1.003 of the smooth lens's radius, in every single image."""
    scenes = sample(count=2000, mass_scale=mass_scale, halo_axis_ratio=axis_ratio, halo_angle="U(0, 3)",
                    subhalo_profile="tnfw")  # fmt: skip
    scenes = scenes[scenes.label == SUBHALO]
    halo, haloes, total = scenes.halo, scenes.truncated_haloes, scenes.parameters["total_einstein_radius"]
    assert haloes is not None

    def mean_convergence(share: float) -> np.ndarray:
        at = share * total
        return halo.einstein_radius / at + halo_fraction_inside(
            haloes, at, axis_ratio=halo.axis_ratio, angle=halo.angle
        )

    assert (mean_convergence(0.997) > 1).all()
    assert (mean_convergence(1.003) < 1).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subhalo_profile": "nfw"}, "subhalo_profile='nfw' is not one of point, tnfw"),
        ({"multipoles": "U(0, 0.5)"}, "multipoles: the prior reaches"),
        ({"subhalo_profile": "tnfw", "subhalo_truncation": 0.0}, "subhalo_truncation: the prior reaches"),
    ],
)
def test_impossible_values_are_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        population(**changes).sample(np.arange(60), "s")


def test_no_subhaloes_at_all_is_allowed():
    scenes = sample(subhalo_profile="tnfw", subhalo_count=0.0)
    assert scenes.truncated_haloes is not None
    assert not scenes.truncated_haloes.einstein_radius.any()
    assert set(ADDED) <= set(MODEL_A)
