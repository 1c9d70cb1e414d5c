"""Shapelets: their analytic properties, and the fit of a lens whose source is a galaxy with structure."""

import math

import numpy as np
import pytest
import torch
from fittools import CAMERA, SECONDS, SKY, build, splits_of
from numpy.polynomial.hermite import hermval
from zoo_baselines import shapelets
from zoo_baselines.lens_features import FEATURES, features_of
from zoo_baselines.lens_fit import Effort, fit_smooth_lens
from zoo_baselines.lens_noise import observed
from zoo_baselines.lens_pixels import grids
from zoo_baselines.shapelets import HIGHEST_ORDER, orders, shine
from zoo_baselines.smooth_lens import INDEX, Kind, draw

from zoo.errors import UsageError

AXIS = torch.linspace(-9, 9, 241, dtype=torch.float64)


def light(coefficients: torch.Tensor, *, highest: int, width: float = 1.0):
    """Return the light of coefficients [n, K] on a mesh that contains all of it."""
    x, y = torch.meshgrid(AXIS, AXIS, indexing="xy")
    log_width = torch.full((len(coefficients), 1, 1), math.log(width), dtype=torch.float64)
    return shine(x[None], y[None], log_width, coefficients, highest=highest)


def test_terms_are_products_of_hermite_polynomials_and_a_gaussian():
    width = 0.7
    terms = light(torch.zeros(1, 28, dtype=torch.float64), highest=6, width=width).derivatives[0, 1:].numpy()
    u = AXIS.numpy() / width
    each = [
        hermval(u, np.eye(7)[n]) * np.exp(-u * u / 2) / math.sqrt(2**n * math.factorial(n) * math.sqrt(math.pi))
        for n in range(7)
    ]
    expected = np.stack([np.outer(each[in_y], each[in_x]) for in_x, in_y in orders(6)])
    np.testing.assert_allclose(terms, expected, atol=1e-12)


def test_terms_of_all_orders_are_orthonormal():
    count = len(orders(HIGHEST_ORDER))
    terms = light(torch.zeros(1, count, dtype=torch.float64), highest=HIGHEST_ORDER).derivatives[0, 1:].flatten(1)
    products = terms @ terms.T * (AXIS[1] - AXIS[0]) ** 2
    torch.testing.assert_close(products, torch.eye(count, dtype=torch.float64), atol=1e-4, rtol=0)


def test_coefficients_of_lower_orders_come_first():
    assert orders(HIGHEST_ORDER)[: len(orders(3))] == orders(3)
    assert len(orders(10)) == 66


def test_derivatives_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn(2, len(orders(5)), generator=generator, dtype=torch.float64)
    step = 1e-5
    at = [torch.randn(2, 1, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    log_width = torch.tensor([0.3, -0.2], dtype=torch.float64)[:, None, None]

    def brightness(dx=0.0, dy=0.0, dw=0.0):
        return shine(at[0] + dx, at[1] + dy, log_width + dw, coefficients, highest=5)

    found = brightness()
    torch.testing.assert_close(
        shapelets.brightness(*at, log_width, coefficients, highest=5), found.brightness, atol=1e-12, rtol=0
    )
    for ours, moves in (
        (found.gradient[0], {"dx": step}), (found.gradient[1], {"dy": step}), (found.derivatives[:, 0], {"dw": step}),
    ):  # fmt: skip
        back = {name: -value for name, value in moves.items()}
        expected = (brightness(**moves).brightness - brightness(**back).brightness) / (2 * step)
        torch.testing.assert_close(ours, expected, atol=1e-8, rtol=1e-6)


def gains(images: torch.Tensor, order: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return chi square per pixel, and its decrease by one added point mass."""
    seen, levels, kind = observed(images, seconds=SECONDS, sky=SKY), grids(CAMERA), Kind(shapelets=order)
    found = features_of(seen, fit_smooth_lens(seen, levels, kind, Effort()), levels[-1], kind).exp()
    return tuple(found[:, FEATURES.index(name)].numpy() for name in ("log_chi_square", "log_gain"))


def test_clumps_of_a_source_look_like_substructure_only_without_shapelets(noisy):
    images = noisy(4, clumps=True)
    chi_square, gain = gains(images, None)
    left, further = gains(images, 8)
    assert chi_square.min() > 1.5
    assert left.max() < 1.2
    assert (further < 0.5 * gain).all()


def test_a_mass_before_a_source_with_clumps_is_found(noisy):
    smooth, lumpy = (gains(noisy(6, clumps=True, mass=mass), 8)[1] for mass in (0.0, 0.02))
    assert (lumpy > 2 * smooth).all()
    smooth, lumpy = (gains(noisy(6, clumps=True, mass=mass), None)[1] for mass in (0.0, 0.02))
    assert (lumpy < 2 * smooth).any()


def test_a_sersic_source_is_fitted_as_well_with_shapelets(some_lenses):
    parameters = some_lenses(3, seed=4)
    clean = draw(parameters.float(), grids(CAMERA)[1], Kind()).images
    counts = torch.poisson((4 * clean + SKY) * SECONDS, generator=torch.Generator().manual_seed(1))
    seen = observed(counts / SECONDS - SKY, seconds=SECONDS, sky=SKY)
    fits = [fit_smooth_lens(seen, grids(CAMERA), Kind(shapelets=order), Effort()) for order in (None, 6)]
    assert (fits[1].objective < fits[0].objective + 1).all()  # there are more parameters
    radius = INDEX["log_einstein_radius"]
    assert (fits[1].parameters[:, radius] - parameters[:, radius]).abs().max() < 0.03


def test_the_classifier_fits_them_with_fewer_rays_first(tmp_path, monkeypatch, noisy):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    images = noisy(4)
    network = build(shapelets=2)
    network.fit_splits(splits_of(images))
    assert network._kind() == Kind(shapelets=2)
    rays = [grid.x.numel() for grid in network._grids_for(images)]
    assert rays[1] < rays[2]
    assert network(images[:, None]).isfinite().all()


@pytest.mark.parametrize("order", [-1, HIGHEST_ORDER + 1, "many", 2.5])
def test_orders_that_do_not_exist_are_refused(order):
    with pytest.raises(UsageError, match=f"order from 0 to {HIGHEST_ORDER}"):
        build(shapelets=order)


def test_fits_of_other_orders_are_not_taken_from_the_cache(noisy):
    mono = noisy(2)
    keys = [build(shapelets=order)._keys(mono) for order in (None, 0, 6)]
    assert len({key[0] for key in keys}) == 3
