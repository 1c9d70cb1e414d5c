"""Multipoles and truncated NFW haloes against their potentials, their convergence and their limits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from caustics.lenses.func import convergence_multipole, convergence_tnfw, potential_multipole
from zoo_caustics.extended import Extended, extended_deflection, extended_masses, extended_scenes
from zoo_caustics.native import table_squares
from zoo_caustics.simulator import render

from zoo.lensing.instrument import Instrument
from zoo.lensing.scenes import Multipoles, PixelSource, Scenes, TruncatedHaloes

SMALL = Instrument(image_size=24, pixel_scale=0.2, psf_width=0.15)
CPU = torch.device("cpu")
MOST_EXTENDED = 3


def with_multipoles(scenes: Scenes, amplitude: float = 0.03) -> Scenes:
    random = np.random.default_rng(3)
    one = np.ones(len(scenes))
    return dataclasses.replace(
        scenes,
        multipoles=Multipoles(
            amplitude_3=amplitude * one, angle_3=random.uniform(0, 2, len(scenes)),
            amplitude_4=-0.5 * amplitude * one, angle_4=random.uniform(0, 2, len(scenes)),
        ),
    )  # fmt: skip


def with_haloes(scenes: Scenes, *, most: int = MOST_EXTENDED) -> Scenes:
    """Return scenes of which scene i contains i haloes, `most` at most."""
    random = np.random.default_rng(4)
    shape = (len(scenes), most)
    present = np.arange(most) < np.arange(len(scenes))[:, None]
    values = {"x": (-1.5, 1.5), "y": (-1.5, 1.5), "einstein_radius": (0.05, 0.3), "scale_radius": (0.1, 0.8)}
    columns = {name: np.where(present, random.uniform(*limits, shape), 0.0) for name, limits in values.items()}
    truncation = columns["scale_radius"] * random.uniform(0.5, 12, shape)
    return dataclasses.replace(scenes, truncated_haloes=TruncatedHaloes(**columns, truncation_radius=truncation))


def divergence(masses: Extended, x: torch.Tensor, y: torch.Tensor, step: float = 1e-5) -> torch.Tensor:
    right, left = (extended_deflection(masses, x + shift, y)[0] for shift in (step, -step))
    above, below = (extended_deflection(masses, x, y + shift)[1] for shift in (step, -step))
    return (right - left + above - below) / (2 * step)


def places(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (4 * torch.rand(count, generator=generator, dtype=torch.float64) - 2 for _ in range(2))
    return x, y


def test_multipole_is_the_gradient_of_its_potential_and_its_divergence_twice_the_convergence(
    make_scenes: Callable[..., Scenes],
) -> None:
    scenes = with_multipoles(make_scenes(1))
    masses, (x, y) = extended_masses(scenes, device=CPU), places()
    alpha = [component[0] for component in extended_deflection(masses, x, y)]
    assert scenes.multipoles is not None
    centre = [torch.as_tensor(values) for values in (scenes.halo.x, scenes.halo.y)]

    def total(function: Callable[..., torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        assert scenes.multipoles is not None
        return sum(
            function(*centre, torch.tensor([float(order)]), torch.as_tensor(amplitude * scenes.halo.einstein_radius),
                     torch.as_tensor(angle), x, y)
            for order, amplitude, angle in scenes.multipoles.orders
        )  # fmt: skip

    step = 1e-5
    gradient = [
        (total(potential_multipole, x + a, y + b) - total(potential_multipole, x - a, y - b)) / (2 * step)
        for a, b in ((step, 0), (0, step))
    ]
    for found, wanted in zip(alpha, gradient, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)
    away = torch.hypot(x - centre[0], y - centre[1]) > 0.1
    kappa = total(convergence_multipole, x, y)
    torch.testing.assert_close(divergence(masses, x, y)[0][away], 2 * kappa[away], rtol=1e-5, atol=1e-7)


def test_an_amplitude_deforms_a_contour_by_that_share() -> None:
    """kappa of halo and multipole is the same at r (1 + amplitude) on a crest and at r (1 - amplitude) in a trough."""
    radius, amplitude, order = 1.3, 0.01, 3

    def kappa(r: float, phi: float) -> float:
        a = torch.tensor([amplitude])
        args = (torch.zeros(1), torch.zeros(1), torch.tensor([float(order)]), a, torch.zeros(1))
        x, y = (torch.tensor([value], dtype=torch.float64) for value in (r * math.cos(phi), r * math.sin(phi)))
        return 1 / (2 * r) + float(convergence_multipole(*args, x, y))

    crest, trough = (kappa(radius * (1 + sign * amplitude), phi) for sign, phi in ((1, 0), (-1, math.pi / order)))
    assert crest == pytest.approx(trough, rel=1e-6)


def one_halo(*, tau: float, scale: float = 0.4, radius: float = 0.2) -> TruncatedHaloes:
    values = {"x": 0.3, "y": -0.2, "einstein_radius": radius, "scale_radius": scale, "truncation_radius": tau * scale}
    return TruncatedHaloes(**{name: np.array([[value]]) for name, value in values.items()})


@pytest.mark.parametrize("tau", [0.3, 1.0, 1 + 1e-9, 5.0, 15.0])
def test_truncated_halo_has_its_convergence_and_is_a_point_far_away(
    make_scenes: Callable[..., Scenes], tau: float
) -> None:
    haloes = one_halo(tau=tau)
    masses = extended_masses(dataclasses.replace(make_scenes(1), truncated_haloes=haloes), device=CPU)
    x, y = places()
    away = torch.hypot(x - 0.3, y + 0.2)
    # In units where a mass of pi arcsec^2 has an Einstein radius of 1 arcsec: distances and densities are 1.
    kappa = convergence_tnfw(
        torch.tensor(0.3), torch.tensor(-0.2), torch.tensor(0.4, dtype=torch.float64), torch.tensor(tau), x, y, 1.0,
        torch.as_tensor(math.pi * haloes.scale_mass[0, 0]), 180 * 3600 / math.pi,
    )  # fmt: skip
    smooth = (away > 0.02) & ((away / 0.4 - 1).abs() > 0.03)  # caustics joins two formulas at the scale radius
    torch.testing.assert_close(divergence(masses, x, y)[0][smooth], 2 * kappa[smooth], rtol=2e-4, atol=1e-6)
    # The mass outside of r is that of rho ~ r^-5, of order tau^2 (r_s / r)^2 of the whole.
    far = torch.tensor([1e5], dtype=torch.float64)
    alpha_x, alpha_y = (component[0] for component in extended_deflection(masses, 0.3 + far, -0.2 + 0 * far))
    assert float(alpha_x * far) == pytest.approx(0.2**2, rel=2e-4)
    assert abs(float(alpha_y)) < 1e-12


def test_a_ray_on_a_centre_is_not_deflected(make_scenes: Callable[..., Scenes]) -> None:
    scenes = make_scenes(1, halo={"x": 0.3, "y": -0.2})
    scenes = dataclasses.replace(with_multipoles(scenes), truncated_haloes=one_halo(tau=5.0))
    x, y = (torch.tensor([value], dtype=torch.float64) for value in (0.3, -0.2))
    for component in extended_deflection(extended_masses(scenes, device=CPU), x, y):
        assert float(component.abs()) < 1e-6


def test_scenes_without_extended_masses_take_the_usual_path(make_scenes: Callable[..., Scenes]) -> None:
    plain = make_scenes(4, masses=3)
    flat, mixed = with_multipoles(plain, 0.0), with_haloes(plain)
    assert not extended_scenes(flat).any()
    assert extended_scenes(mixed).tolist() == [False, True, True, True]
    wanted, found, some = (render(scenes, SMALL, device="cpu").source for scenes in (plain, flat, mixed))
    assert torch.equal(found, wanted)
    assert torch.equal(some[0], wanted[0])
    assert all(not torch.allclose(some[i], wanted[i], rtol=1e-3) for i in (1, 2, 3))


ADDED = {
    "multipoles": with_multipoles,
    "haloes": with_haloes,
    "both": lambda scenes: with_multipoles(with_haloes(scenes)),
}


@pytest.mark.slow  # compilation
@pytest.mark.parametrize("axis_ratio", [1.0, 0.7])
@pytest.mark.parametrize("psf", ["gaussian", "airy"])
@pytest.mark.parametrize("added", ADDED)
def test_compiled_equals_eager(
    make_scenes: Callable[..., Scenes], has_compiled_path: bool, added: str, psf: str, axis_ratio: float
) -> None:
    """To 1e-5 of the peak, whatever the batch; scenes without extended masses are among them."""
    instrument = dataclasses.replace(SMALL, over_sampling=3, psf=psf)
    # No points, close to which rounding is magnified.
    scenes = ADDED[added](make_scenes(5, halo={"axis_ratio": axis_ratio}, lens_light={}))
    compiled, eager = (render(scenes, instrument, device="cpu", compiled=choice).source for choice in (True, False))
    assert not torch.equal(compiled, eager)
    assert ((compiled - eager).abs().amax((1, 2)) < 1e-5 * eager.amax((1, 2))).all()
    for index in ([4], [2, 0], [3, 4, 1]):
        some = render(scenes[np.array(index)], instrument, device="cpu", compiled=True).source
        assert torch.equal(some, compiled[index])


@pytest.mark.parametrize("tau", [0.5, 8.0])
@pytest.mark.parametrize("scale", [0.01, 0.8])
def test_a_table_of_a_halo_is_exact_to_1e_4_between_its_places(tau: float, scale: float) -> None:
    squares = table_squares()
    between = squares[:-1] + 0.5 * squares.diff()
    halo = torch.tensor([[[0.0, 0.0, 1.0, scale, tau]]], dtype=torch.float64)
    masses = Extended(multipoles=torch.zeros(1, 6, dtype=torch.float64), haloes=halo)
    at, middle = masses.pull(squares)[0, 0], masses.pull(between)[0, 0]
    resolved = between.sqrt() > 1e-3  # nearer to a centre, terms of the formula cancel and nothing is deflected
    error = (0.5 * (at[:-1] + at[1:]) / middle - 1).abs()
    assert error[resolved].max() < 1e-4


@pytest.mark.parametrize("source", ["sersic", "picture"])
def test_an_image_does_not_depend_on_its_batch_and_float32_is_enough(
    make_scenes: Callable[..., Scenes], source: str
) -> None:
    scenes = with_multipoles(with_haloes(make_scenes(5, masses=3, lens_light={})))
    if source == "picture":
        picture = np.random.default_rng(0).uniform(size=(5, 6, 6))
        scenes = dataclasses.replace(
            scenes,
            source=PixelSource(x=np.zeros(5), y=np.zeros(5), angle=np.zeros(5), pixel_scale=np.full(5, 0.3),
                               pixels=picture),
        )  # fmt: skip
    together = render(scenes, SMALL, device="cpu").source
    for i in (3, 0):
        assert torch.equal(render(scenes[i : i + 1], SMALL, device="cpu").source[0], together[i])
    double = render(scenes, SMALL, device="cpu", dtype=torch.float64).source
    error = (together.double() - double).abs().amax((1, 2)) / double.amax((1, 2))
    assert error.max() < (1e-4 if source == "sersic" else 1e-3)


def test_one_chunk_of_many_scenes_gives_the_same_rays(make_scenes: Callable[..., Scenes]) -> None:
    """On a GPU several scenes are traced at once, with places that are empty in some of them."""
    scenes = with_multipoles(with_haloes(make_scenes(4)))
    masses, (x, y) = extended_masses(scenes, device=CPU), places(20)
    together = extended_deflection(masses[torch.tensor([3, 1, 0])], x, y)
    for row, i in enumerate((3, 1, 0)):
        alone = extended_deflection(masses[torch.tensor([i])], x, y)
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], other[row], rtol=1e-12, atol=1e-15)
