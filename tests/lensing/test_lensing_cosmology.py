"""Distances and Einstein radii against quadrature, CODATA constants and the field's published numbers."""

import numpy as np
import pytest
from scipy import constants, integrate

from zoo.lensing.cosmology import comoving_distance, einstein_radius

MEGAPARSEC = 1e6 * constants.parsec
SUN = 1.32712440018e20 / constants.G  # kg, from the IAU's GM


def distance_by_quadrature(redshift: float) -> float:
    integral, _ = integrate.quad(lambda z: 1 / np.sqrt(0.3 * (1 + z) ** 3 + 0.7), 0, redshift, epsabs=0, epsrel=1e-12)
    return constants.c / 1e3 / 70 * integral


def radius_by_quadrature(mass: float, lens: float, source: float) -> float:
    """The textbook formula with three angular diameter distances in SI units."""
    chi_lens, chi_source = distance_by_quadrature(lens), distance_by_quadrature(source)
    d_lens, d_source = chi_lens / (1 + lens), chi_source / (1 + source)
    d_lens_source = (chi_source - chi_lens) / (1 + source)
    ratio = d_lens_source / (d_lens * d_source * MEGAPARSEC)
    return float(np.degrees(np.sqrt(4 * constants.G * mass * SUN / constants.c**2 * ratio)) * 3600)


@pytest.mark.parametrize("redshift", [1e-3, 0.1, 0.5, 1.0, 3.0, 20.0])
def test_comoving_distance_is_the_integral_of_c_over_h(redshift):
    assert comoving_distance(redshift) == pytest.approx(distance_by_quadrature(redshift), rel=1e-10)


def test_angular_diameter_distances_of_the_reference_lens():
    lens, source = comoving_distance([0.5, 1.0])
    assert lens / 1.5 == pytest.approx(1259.1, abs=0.05)
    assert source / 2 == pytest.approx(1651.9, abs=0.05)
    assert (source - lens) / 2 == pytest.approx(707.6, abs=0.05)
    assert lens / 1.5 * 1e3 * np.radians(1 / 3600) == pytest.approx(6.104, abs=5e-4)  # kpc per arcsec


def test_distance_keeps_the_shape_and_grows_with_redshift():
    redshift = np.linspace(0.1, 5, 12).reshape(3, 4)
    distance = comoving_distance(redshift)
    assert distance.shape == (3, 4)
    assert (np.diff(distance.ravel()) > 0).all()


@pytest.mark.parametrize(
    ("mass", "expected", "digit"),
    [(1e12, 1.6645, 5e-5), (1e10, 0.166, 5e-4), (1e9, 0.0526, 5e-5), (1e6, 1.66e-3, 5e-6)],
)
def test_einstein_radii_that_the_papers_quote(mass, expected, digit):
    assert einstein_radius(mass, 0.5, 1.0) == pytest.approx(expected, abs=digit)


@pytest.mark.parametrize(("lens", "source"), [(0.4, 0.8), (0.5, 1.0), (0.6, 1.2), (0.2, 6.0)])
def test_einstein_radius_is_the_textbook_formula(lens, source):
    assert einstein_radius(3e11, lens, source) == pytest.approx(radius_by_quadrature(3e11, lens, source), rel=1e-5)


def test_an_isothermal_sphere_holds_its_mass_inside_its_einstein_radius():
    # Critical surface density from SI constants: M = pi theta_E^2 Sigma_cr.
    d_lens, d_source = distance_by_quadrature(0.5) / 1.5, distance_by_quadrature(1.0) / 2
    d_lens_source = (distance_by_quadrature(1.0) - distance_by_quadrature(0.5)) / 2
    critical = constants.c**2 / (4 * np.pi * constants.G) * d_source / (d_lens * d_lens_source) / MEGAPARSEC  # kg / m^2
    per_square_arcsec = critical * (np.radians(1 / 3600) * d_lens * MEGAPARSEC) ** 2 / SUN
    assert per_square_arcsec == pytest.approx(1.149e11, rel=5e-4)
    assert np.pi * einstein_radius(1e12, 0.5, 1.0) ** 2 * per_square_arcsec == pytest.approx(1e12, rel=1e-5)


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.3])
def test_squared_radii_of_the_parts_add_up_to_the_square_of_the_whole(fraction):
    parts = np.r_[(1 - fraction) * 1e12, np.full(25, fraction * 1e12 / 25)]
    radii = einstein_radius(parts, 0.5, 1.0)
    assert (radii**2).sum() == pytest.approx(float(einstein_radius(1e12, 0.5, 1.0)) ** 2, rel=1e-12)
    # The trap of the published pipelines: theta_E sqrt(f) / N would hold 1/N of the mass.
    assert radii[1] == pytest.approx(float(einstein_radius(1e12, 0.5, 1.0)) * np.sqrt(fraction / 25), rel=1e-12)


def test_arrays_are_one_lens_each():
    lens, source = np.array([0.4, 0.5, 0.6]), np.array([0.8, 1.0, 1.2])
    together = einstein_radius(1e12, lens, source)
    apart = [float(einstein_radius(1e12, z_lens, z_source)) for z_lens, z_source in zip(lens, source, strict=True)]
    np.testing.assert_array_equal(together, apart)
