"""Vortices and sub-haloes: positions, masses, and the conservation of mass."""

from __future__ import annotations

import numpy as np
import pytest
from scenetools import TABLES, UNLIKELY, drawn, sample, subhaloes, total_mass, uniform
from scipy import integrate, stats
from zoo_deeplense.population import NO_SUBSTRUCTURE, SUBHALO, VORTEX

from zoo.lensing.scenes import Scenes


@pytest.fixture(params=["modelA", "modelB"])
def scenes(request) -> Scenes:
    return drawn(request.param)


def vortices(scenes: Scenes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y [n, 25], the masses in units of the total, and the total Einstein radius of the vortices."""
    chosen = scenes[scenes.label == VORTEX]
    total = chosen.parameters["total_einstein_radius"]
    radius = chosen.points.einstein_radius
    assert (radius[:, :25] > 0).all()
    assert not radius[:, 25:].any()
    return chosen.points.x[:, :25], chosen.points.y[:, :25], (radius[:, :25] / total[:, None]) ** 2, total


def test_vortex_is_a_straight_string_of_25_equal_masses_at_equal_distances(scenes):
    x, y, mass, _ = vortices(scenes)
    np.testing.assert_allclose(mass, mass[:, :1].repeat(25, 1), rtol=1e-12)
    steps = np.diff(x + 1j * y, axis=1)
    np.testing.assert_allclose(steps, steps[:, :1].repeat(24, 1), atol=1e-12)


def test_vortex_mass_is_3_to_5_and_a_half_per_cent_and_theta_i_is_theta_sqrt_f_over_n(scenes):
    _, _, mass, total = vortices(scenes)
    fraction = scenes.parameters["substructure_mass_fraction"][scenes.label == VORTEX]
    assert uniform(fraction, 0.03, 0.055)
    radius = scenes.points.einstein_radius[scenes.label == VORTEX, 0]
    np.testing.assert_allclose(radius, total * np.sqrt(fraction / 25), rtol=1e-12)
    np.testing.assert_allclose(mass.sum(1), fraction, rtol=1e-12)


def test_vortex_length_centre_and_angle(scenes):
    x, y, *_ = vortices(scenes)
    ends = (x[:, -1] - x[:, 0]) + 1j * (y[:, -1] - y[:, 0])
    length = np.abs(ends) * 25 / 24  # the masses sit in the middles of 25 equal pieces
    assert uniform(length, 0.5, 2)
    np.testing.assert_allclose(length, scenes.parameters["vortex_length"][scenes.label == VORTEX], rtol=1e-9)
    assert np.isnan(scenes.parameters["vortex_length"][scenes.label != VORTEX]).all()
    assert uniform(np.angle(ends), -np.pi, np.pi)
    for centre in (x.mean(1), y.mean(1)):
        assert stats.kstest(centre, stats.norm(0, 0.5).cdf).pvalue > UNLIKELY


def test_vortex_of_many_points_deflects_like_a_string_of_uniform_density():
    """The oracle is the integral of (theta - s) / |theta - s|^2 along the string, by its antiderivative."""
    scenes = sample(count=3, vortex_points=4000, vortex_x=0.0, vortex_y=0.0, vortex_angle=0.0, vortex_length=1.2)
    (index,) = np.flatnonzero(scenes.label == VORTEX)
    points, fraction = scenes.points, scenes.parameters["substructure_mass_fraction"][index]
    total = scenes.parameters["total_einstein_radius"][index]
    x, y, half = 0.37, 0.8, 0.6
    away = (x - points.x[index]) + 1j * (y - points.y[index])
    deflection = (points.einstein_radius[index] ** 2 * away / np.abs(away) ** 2).sum()
    density = total**2 * fraction / (2 * half)
    alpha_x = density / 2 * np.log(((x + half) ** 2 + y**2) / ((x - half) ** 2 + y**2))
    alpha_y = density * (np.arctan((x + half) / y) - np.arctan((x - half) / y))
    assert deflection == pytest.approx(alpha_x + 1j * alpha_y, rel=1e-6)


def test_subhalo_number_is_poisson_25(scenes):
    number = scenes.parameters["substructure_count"][scenes.label == SUBHALO]
    np.testing.assert_array_equal(number, (scenes.points.einstein_radius > 0).sum(1)[scenes.label == SUBHALO])
    edges = np.r_[-0.5, np.arange(15, 37) + 0.5, 1e3]
    expected = np.diff(stats.poisson(25).cdf(edges)) * len(number)
    assert stats.chisquare(np.histogram(number, edges)[0], expected).pvalue > UNLIKELY


def test_subhaloes_are_uniform_in_radius_and_angle(scenes):
    radius, angle, mass = subhaloes(scenes)
    assert uniform(radius, 0, 2)
    assert uniform(angle, -np.pi, np.pi)
    assert abs(stats.spearmanr(radius, mass).statistic) < 4 / np.sqrt(len(mass))


@pytest.mark.parametrize("beta", [-0.9, -1.9, -1.0, -1 + 1e-12, 0.5, -3.0])
def test_subhalo_masses_follow_the_power_law(beta):
    *_, mass = subhaloes(sample(count=900, beta=beta))
    assert mass.min() > 1e6 * (1 - 1e-9)
    assert mass.max() < 1e10 * (1 + 1e-9)
    # The number below m, by quadrature in ln m of dN/dln m = m^(beta + 1).
    grid = np.linspace(np.log(1e6), np.log(1e10), 200_001)
    density = np.exp((beta + 1) * (grid - grid[0]))
    cumulative = integrate.cumulative_simpson(density, x=grid, initial=0)
    cumulative /= cumulative[-1]
    assert stats.kstest(np.log(mass), lambda value: np.interp(value, grid, cumulative)).pvalue > UNLIKELY


@pytest.mark.parametrize(("beta", "quoted"), [(-0.9, 0.038), (-1.9, 0.00034)])
def test_mean_subhalo_mass_is_what_the_reference_quotes(beta, quoted):
    """3.8 % of the total as the published code drew it; a hundredth as the paper prints it."""
    norm, moment = (
        integrate.quad(lambda t, k=k: np.exp((beta + 1 + k) * t), np.log(1e6), np.log(1e10))[0] for k in (0, 1)
    )
    expected = 25 * moment / norm / 1e12
    assert expected == pytest.approx(quoted, rel=0.02)
    scenes = drawn("modelA") if beta == -0.9 else sample(count=3000, beta=beta)
    fraction = scenes.parameters["substructure_mass_fraction"][scenes.label == SUBHALO]
    assert fraction.mean() == pytest.approx(expected, abs=4 * fraction.std() / np.sqrt(len(fraction)))


OPTIONS = [
    {},
    {"mass_scale": 4.0},
    {"mass_scale": 0.0},
    {"mass_fraction": 0.1},
    {"mass_fraction": "U(0.01, 0.2)", "mass_scale": 2.0},
    {"subhalo_mass_fraction": 0.04},
    {"vortex_points": 100, "subhalo_count": 3.0},
    {"beta": -1.9},
]


def einstein_radius(scenes: Scenes) -> np.ndarray:
    """Return [n] the radius inside of which the mean convergence is 1, in units of the wanted one.

    Radii are those of ellipses, as for the halo, whose mean convergence inside of R is theta_halo / R. Each mass adds
    its theta^2 / R^2 from its own radius on. With the k innermost masses, it is 1 at the root of a quadratic equation;
    the largest root that lies outside of its k masses is the radius.
    """
    halo, points = scenes.halo, scenes.points
    away = (points.x + 1j * points.y) * np.exp(-1j * halo.angle)[:, None]
    radius = np.sqrt(halo.axis_ratio[:, None] * away.real**2 + away.imag**2 / halo.axis_ratio[:, None])
    order = radius.argsort(1)
    from_there_on = np.take_along_axis(radius, order, 1)
    inside = np.take_along_axis(points.einstein_radius**2, order, 1).cumsum(1)
    own = halo.einstein_radius[:, None]
    root = (own + np.sqrt(own**2 + 4 * inside)) / 2
    largest = np.where(root >= from_there_on, root, own).max(1)
    return largest / scenes.parameters["total_einstein_radius"]


@pytest.mark.parametrize("mass_scale", [1.0, 4.0])
@pytest.mark.parametrize("axis_ratio", [1.0, "U(0.5, 1)"])
def test_the_ring_is_as_large_in_every_class(mass_scale, axis_ratio):
    scenes = sample(count=2000, mass_scale=mass_scale, halo_axis_ratio=axis_ratio, halo_angle="U(0, 3)")
    ring = einstein_radius(scenes)
    mean = np.array([ring[scenes.label == label].mean() for label in (NO_SUBSTRUCTURE, SUBHALO, VORTEX)])
    assert np.abs(mean / mean[0] - 1).max() < 0.003
    assert mean[0] == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(("mass_scale", "far"), [(1.0, 0.02), (4.0, 0.10)])
def test_the_ring_of_single_lenses_may_differ(mass_scale, far):
    """As docs/populations.md states: a mass just outside of the ring moves it."""
    scenes = sample(count=6000, mass_scale=mass_scale)
    growth = einstein_radius(scenes)[scenes.label == SUBHALO] - 1
    assert (np.abs(growth) > 0.003).mean() == pytest.approx(far, abs=0.015)


@pytest.mark.parametrize(("truncated", "inside"), [("point", 0.031), ("tnfw", 0.016)])
def test_half_of_the_mass_of_truncated_haloes_lies_outside_of_the_ring(truncated, inside):
    scenes = sample(count=3000, subhalo_profile=truncated)
    found = scenes.parameters["substructure_mass_fraction_inside"]
    assert found[scenes.label == SUBHALO].mean() == pytest.approx(inside, abs=0.002)
    assert found[scenes.label == VORTEX].mean() == pytest.approx(0.042, abs=0.001)


@pytest.mark.parametrize(
    ("form", "mass_scale", "growth"),
    [
        ("ring", 1.0, (0.0002, 0.0)),
        ("ring", 4.0, (0.0025, 0.0002)),
        ("components", 1.0, (0.012, 0.019)),
        ("components", 4.0, (0.045, 0.068)),
        ("none", 1.0, (0.031, 0.040)),
        ("none", 4.0, (0.124, 0.147)),
    ],
)
def test_the_ring_grows_as_the_page_states(form, mass_scale, growth):
    """The growth of the ring by sub-haloes and by a vortex, as docs/populations.md states it."""
    scenes = sample(count=6000, conserve_mass=form, mass_scale=mass_scale)
    ring = einstein_radius(scenes)
    found = [ring[scenes.label == label].mean() - 1 for label in (SUBHALO, VORTEX)]
    assert found == pytest.approx(growth, abs=0.0007 if form == "ring" else 0.003)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("changes", OPTIONS, ids=str)
def test_components_add_up_to_the_same_mass_in_every_image_of_every_class(table, changes):
    np.testing.assert_allclose(total_mass(sample(table, conserve_mass="components", **changes)), 1, rtol=1e-12)


def test_the_switch_of_the_first_version_is_understood():
    for old, new in ((True, "components"), (False, "none")):
        first, second = sample(conserve_mass=old), sample(conserve_mass=new)
        np.testing.assert_array_equal(first.halo.einstein_radius, second.halo.einstein_radius)


@pytest.mark.parametrize("changes", OPTIONS, ids=str)
def test_without_conservation_the_substructure_comes_on_top(changes):
    scenes = sample(conserve_mass="none", **changes)
    np.testing.assert_array_equal(scenes.halo.einstein_radius, scenes.parameters["total_einstein_radius"])
    added = scenes.parameters["substructure_mass_fraction"]
    np.testing.assert_allclose(total_mass(scenes), 1 + added, rtol=1e-12)
    assert not added[scenes.label == NO_SUBSTRUCTURE].any()
    if changes.get("mass_scale") != 0.0:
        assert (added[scenes.label != NO_SUBSTRUCTURE] > 0).all()


def test_a_smooth_halo_has_no_substructure_at_all(scenes):
    smooth = scenes[scenes.label == NO_SUBSTRUCTURE]
    assert not smooth.points.einstein_radius.any()
    assert not smooth.parameters["substructure_count"].any()
    np.testing.assert_array_equal(smooth.halo.einstein_radius, smooth.parameters["total_einstein_radius"])


def test_mass_scale_multiplies_every_mass_and_moves_none():
    once, four_times = sample(), sample(mass_scale=4.0)
    np.testing.assert_allclose(four_times.points.einstein_radius, 2 * once.points.einstein_radius, rtol=1e-12)
    np.testing.assert_array_equal(four_times.points.x, once.points.x)
    np.testing.assert_array_equal(four_times.points.y, once.points.y)


def test_mass_fraction_sets_both_classes():
    scenes = sample(mass_fraction=0.1)
    expected = np.where(scenes.label == NO_SUBSTRUCTURE, 0, 0.1)
    np.testing.assert_allclose((scenes.points.einstein_radius**2).sum(1) / 1.6645**2, expected, rtol=1e-4)
    np.testing.assert_allclose(scenes.parameters["substructure_mass_fraction"], expected, rtol=1e-12)
    scaled = sample(mass_fraction=0.1, mass_scale=3.0)
    np.testing.assert_allclose(scaled.parameters["substructure_mass_fraction"], 3 * expected, rtol=1e-12)


def test_mass_fraction_keeps_the_ratios_of_the_subhalo_masses():
    plain, fixed = (sample(**changes) for changes in ({}, {"mass_fraction": 0.1}))
    for scenes in (plain, fixed):
        assert scenes.points.einstein_radius.shape == plain.points.einstein_radius.shape
    chosen = plain.label == SUBHALO
    ratio = (fixed.points.einstein_radius[chosen] / plain.points.einstein_radius[chosen].clip(min=1e-99)) ** 2
    present = plain.points.einstein_radius[chosen] > 0
    for row, mask in zip(ratio, present, strict=True):
        np.testing.assert_allclose(row[mask], row[mask][0], rtol=1e-9)


def test_subhalo_mass_fraction_leaves_the_vortices():
    plain, fixed = sample(), sample(subhalo_mass_fraction=0.04)
    fraction = fixed.parameters["substructure_mass_fraction"]
    np.testing.assert_allclose(fraction[fixed.label == SUBHALO], 0.04, rtol=1e-12)
    kept = fixed.label != SUBHALO
    np.testing.assert_array_equal(fraction[kept], plain.parameters["substructure_mass_fraction"][kept])


def test_no_subhaloes_at_all_is_allowed():
    scenes = sample(subhalo_count=0.0, mass_fraction=0.1)
    assert not scenes.points.einstein_radius[scenes.label == SUBHALO].any()
    np.testing.assert_array_equal(scenes.halo.einstein_radius[scenes.label == SUBHALO],
                                  scenes.parameters["total_einstein_radius"][scenes.label == SUBHALO])  # fmt: skip
