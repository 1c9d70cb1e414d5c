"""The smooth lens: images against the default simulator, derivatives against finite differences, and its fit."""

import dataclasses

import numpy as np
import pytest
import torch
from zoo_baselines.lens_fit import Effort, fit_smooth_lens, levenberg_marquardt
from zoo_baselines.lens_noise import NoiseLaw, Observation, observed, second_differences
from zoo_baselines.lens_pixels import grids, grids_with_fewer_rays, make_grid
from zoo_baselines.shapelets import HIGHEST_ORDER
from zoo_baselines.smooth_lens import INDEX, NAMES, Kind, draw
from zoo_caustics.simulator import render

from zoo.lensing.instrument import Instrument
from zoo.lensing.pixels import render_pixels
from zoo.lensing.scenes import Exposure, Isothermal, Multipoles, PointMasses, Scenes, Sersic, Shear

CAMERA = Instrument(image_size=32, pixel_scale=0.2, psf_width=0.2)
FULL = Kind(ellipsoid=True, lens_light=True, multipoles=True, psf_width=True, shapelets=3)


def as_scenes(parameters: torch.Tensor) -> Scenes:
    """Return the same lenses in the core's own terms, which the simulators render."""
    column = {name: parameters[:, number].numpy() for name, number in INDEX.items()}
    count = len(parameters)

    def ellipse(part: str) -> dict[str, np.ndarray]:
        e1, e2 = column[f"{part}_e1"], column[f"{part}_e2"]
        return {"axis_ratio": np.exp(-np.hypot(e1, e2)), "angle": np.arctan2(e2, e1) / 2}

    def light(part: str, centre: str) -> Sersic:
        return Sersic(
            x=column[f"{centre}_x"], y=column[f"{centre}_y"], **ellipse(part),
            index=np.exp(column[f"{part}_log_index"]),
            effective_radius=np.exp(column[f"{part}_log_radius"]), intensity=np.exp(column[f"{part}_log_intensity"]),
        )  # fmt: skip

    return Scenes(
        label=np.zeros(count, np.int64),
        halo=Isothermal(
            einstein_radius=np.exp(column["log_einstein_radius"]), x=column["halo_x"], y=column["halo_y"],
            **ellipse("halo"),
        ),
        shear=Shear(gamma_1=column["gamma_1"], gamma_2=column["gamma_2"]),
        points=PointMasses(x=np.zeros((count, 0)), y=np.zeros((count, 0)), einstein_radius=np.zeros((count, 0))),
        source=light("source", "source"),
        lens_light=light("lens", "halo"),
        multipoles=Multipoles(**{
            f"{what}_{order}": value
            for order in (3, 4)
            for cos, sin in [(column[f"multipole_{order}_cos"], column[f"multipole_{order}_sin"])]
            for what, value in (("amplitude", np.hypot(cos, sin)), ("angle", np.arctan2(sin, cos) / order))
        }),
        exposure=Exposure(
            seconds=np.ones(count), sky=np.ones(count), snr=np.full(count, 10.0), peak=np.full(count, np.nan)
        ),
    )  # fmt: skip


@pytest.mark.parametrize("psf", ["gaussian", "airy", "none"])
@pytest.mark.parametrize("ellipsoid", [False, True])
def test_images_are_those_of_the_default_simulator(psf, ellipsoid, some_lenses):
    camera = Instrument(
        image_size=24, pixel_scale=0.2, over_sampling=8, psf=psf, psf_width=0.2, reference_pixel_scale=0.05
    )
    parameters = some_lenses(3, ellipsoid=ellipsoid, lens_light=True)
    pixels = render_pixels(
        render, as_scenes(parameters), camera, simulator="caustics", masses=("multipoles",), device="cpu",
        dtype=torch.float64, compiled=False,
    )  # fmt: skip
    expected = pixels.rendered.source + pixels.rendered.lens_light
    grid = make_grid(camera, rays=8, dtype=torch.float64)
    images = draw(parameters, grid, Kind(ellipsoid=ellipsoid, lens_light=True)).images
    error = (images - expected).abs().amax((1, 2)) / expected.amax((1, 2))
    assert error.max() < 3e-3


def test_images_with_multipoles_and_another_psf_are_those_of_the_default_simulator(some_lenses):
    camera = Instrument(image_size=24, pixel_scale=0.2, over_sampling=8, psf_width=0.2, reference_pixel_scale=0.05)
    parameters = some_lenses(3, ellipsoid=True, flexible=True)
    parameters[:, INDEX["log_psf_width"]] = np.log(1.5)
    pixels = render_pixels(
        render, as_scenes(parameters), dataclasses.replace(camera, psf_width=0.3), simulator="caustics",
        masses=("multipoles",), device="cpu", dtype=torch.float64, compiled=False,
    )  # fmt: skip
    expected = pixels.rendered.source
    grid = make_grid(camera, rays=8, dtype=torch.float64)
    images = draw(parameters, grid, Kind(ellipsoid=True, multipoles=True, psf_width=True)).images
    error = (images - expected)[:, 1:-1, 1:-1].abs().amax((1, 2)) / expected.amax((1, 2))
    assert error.max() < 3e-3


def test_only_the_width_of_a_gaussian_is_free(some_lenses):
    grid = make_grid(dataclasses.replace(CAMERA, psf="airy"), rays=2)
    with pytest.raises(ValueError, match="Gaussian"):
        draw(some_lenses(1).float(), grid, Kind(psf_width=True))


@pytest.mark.parametrize("name", [NAMES[number] for number in FULL.free])
def test_derivatives_are_those_of_finite_differences(name, some_lenses):
    grid = make_grid(CAMERA, rays=2, dtype=torch.float64)
    parameters = some_lenses(3, ellipsoid=True, lens_light=True, flexible=True, shapelets=3)
    found = draw(parameters, grid, FULL, jacobian=True, gradient=True)
    step = torch.zeros(len(NAMES), dtype=torch.float64)
    step[INDEX[name]] = 1e-5
    expected = (draw(parameters + step, grid, FULL).images - draw(parameters - step, grid, FULL).images) / 2e-5
    ours = found.jacobian[:, FULL.free.index(INDEX[name])]
    assert (ours - expected).abs().max() < 1e-3 * expected.abs().max()


@pytest.mark.parametrize("psf", ["gaussian", "airy"])
def test_the_terms_of_a_kernel_are_those_of_its_singular_values(psf):
    camera = Instrument(image_size=24, pixel_scale=0.1, psf=psf, psf_width=0.12 if psf == "gaussian" else 0.3)
    grid = make_grid(camera, rays=3, dtype=torch.float64)
    middle = grid.matrices[:, 12].numpy()  # the weights of one row of pixels, for each term
    kernel = np.einsum("r,ri,rj->ij", grid.signs.numpy(), middle, middle)
    left, values, right = np.linalg.svd(kernel)
    kept = int((values > 1e-4 * values[0]).sum())
    assert len(grid.signs) == kept
    by_svd = (left[:, :kept] * values[:kept]) @ right[:kept]
    assert np.abs(by_svd - kernel).max() < 1e-14 * kernel.max()
    strength = np.sort((middle**2).sum(1))[::-1]  # of a term with unit vectors: the eigenvalue's size
    np.testing.assert_allclose(strength, values[:kept], rtol=1e-10)


def test_a_round_ellipsoid_is_a_sphere(some_lenses):
    grid = make_grid(CAMERA, rays=2, dtype=torch.float64)
    parameters = some_lenses(3)
    sphere, ellipsoid = (draw(parameters, grid, Kind(ellipsoid=flag)).images for flag in (False, True))
    assert (sphere - ellipsoid).abs().max() < 1e-3 * sphere.max()


def test_kinds_leave_out_the_parts_that_a_lens_has_not():
    assert "halo_e1" not in [NAMES[number] for number in Kind().free]
    assert "shapelet_0_0" not in [NAMES[number] for number in Kind().free]
    assert "shapelet_4_0" not in [NAMES[number] for number in FULL.free]
    without_centre = dataclasses.replace(FULL, centre=False, shapelets=HIGHEST_ORDER)
    assert set(NAMES) - {NAMES[number] for number in without_centre.free} == {"halo_x", "halo_y"}


def noiseless(parameters: torch.Tensor, kind: Kind, *, rms: float) -> Observation:
    images = draw(parameters.float(), grids(CAMERA)[1], kind).images
    law = NoiseLaw(
        floor=torch.full((len(images),), rms**2), shot=torch.zeros(len(images)), floor_known=True, shot_known=True
    )  # fmt: skip
    return Observation(images=images, scale=torch.ones(len(images)), law=law)


@pytest.mark.parametrize(
    "kind",
    [Kind(), Kind(ellipsoid=True, centre=False), Kind(ellipsoid=True, multipoles=True, psf_width=True)],
    ids=["sphere", "ellipsoid", "flexible"],
)
def test_a_blind_fit_recovers_the_parameters_of_images_without_noise(kind, some_lenses):
    parameters = some_lenses(4, ellipsoid=kind.ellipsoid)
    if not kind.centre:
        parameters[:, INDEX["halo_x"]] = parameters[:, INDEX["halo_y"]] = 0
    seen = noiseless(parameters, kind, rms=1e-3)
    fitted = fit_smooth_lens(seen, grids(CAMERA), kind, Effort(fine_steps=40, tolerance=1e-4))
    assert (fitted.parameters - parameters).abs().max() < 1e-3


def test_noise_leaves_a_chi_square_of_one_and_a_law_that_was_measured(some_lenses):
    parameters = some_lenses(6, seed=1)
    grid = grids(CAMERA)[1]
    clean = draw(parameters.float(), grid, Kind()).images * 5
    generator = torch.Generator().manual_seed(0)
    seconds, sky = 300.0, 2.0
    images = torch.poisson((clean + sky) * seconds, generator=generator) / seconds - sky
    pixels = clean[0].numel()
    for known in (sky, 0.0):
        seen = observed(images, seconds=seconds, sky=known)
        fitted = fit_smooth_lens(seen, grids(CAMERA), Kind(), Effort())
        floor = fitted.law.floor * seen.scale**2 * seconds
        assert (floor / sky - 1).abs().max() < (1e-4 if known else 0.25)
        assert abs(fitted.objective.mean() / pixels - 1) < 4 * (2 / pixels / len(images)) ** 0.5 + (
            0 if known else 0.03
        )


def test_the_noise_law_of_an_unknown_exposure_is_measured_in_the_residuals():
    generator = torch.Generator().manual_seed(0)
    light = torch.linspace(0, 4, 96).expand(3, 96, 96)
    law = NoiseLaw(floor=torch.full((3,), 0.5), shot=torch.zeros(3), floor_known=False, shot_known=False)
    noise = torch.randn(3, 96, 96, generator=generator) * (0.2 + 0.3 * light).sqrt()
    found = law.measured(noise + torch.linspace(0, 30, 96)[:, None], light)  # a smooth residual is not noise
    assert found.floor.tolist() == pytest.approx([0.2] * 3, rel=0.25)
    assert found.shot.tolist() == pytest.approx([0.3] * 3, rel=0.15)
    assert second_differences(noise / (0.2 + 0.3 * light).sqrt()).std().item() == pytest.approx(1.0, abs=0.02)


def test_a_fit_does_not_depend_on_its_batch(some_lenses):
    parameters = some_lenses(5, seed=2)
    seen = noiseless(parameters, Kind(), rms=0.02)
    together = fit_smooth_lens(seen, grids(CAMERA), Kind(), Effort())
    one = Observation(images=seen.images[3:4], scale=seen.scale[3:4], law=seen.law[torch.tensor([3])])
    alone = fit_smooth_lens(one, grids(CAMERA), Kind(), Effort())
    assert (together.parameters[3] - alone.parameters[0]).abs().max() < 1e-3
    assert abs(together.objective[3] - alone.objective[0]) < 1e-2


def test_an_image_without_a_lens_gives_finite_parameters():
    images = torch.cat([torch.zeros(1, 32, 32), torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(0))])
    fitted = fit_smooth_lens(observed(images), grids(CAMERA), Kind(), Effort())
    assert fitted.parameters.isfinite().all()


def test_derivatives_on_fewer_rays_lead_to_the_same_fit(some_lenses):
    parameters = some_lenses(4, seed=5)
    seen = noiseless(parameters, Kind(), rms=0.02)
    _, few, fine = grids_with_fewer_rays(CAMERA)
    assert few.x.numel() < fine.x.numel()
    weight = torch.full_like(seen.images, 2500.0)
    start = parameters.float() + 0.05
    fits = [
        levenberg_marquardt(
            start, seen.images, weight, fine, Kind(), steps=40, tolerance=1e-3, derivative_grid=derivative_grid
        )
        for derivative_grid in (None, few)
    ]
    assert (fits[1][1] - fits[0][1]).abs().max() < 0.1
    assert (fits[1][0] - fits[0][0]).abs().max() < 0.01


def test_a_camera_whose_psf_is_wide_needs_no_fewer_rays():
    _, few, fine = grids_with_fewer_rays(dataclasses.replace(CAMERA, psf_width=0.5))
    assert few is fine


def test_a_step_never_raises_the_objective(some_lenses):
    parameters = some_lenses(4, seed=3)
    seen = noiseless(parameters, Kind(), rms=0.02)
    grid = grids(CAMERA)[1]
    start = parameters.float() + 0.05
    weight = torch.full_like(seen.images, 2500.0)
    last = torch.full((4,), torch.inf, dtype=torch.float64)
    for steps in (0, 1, 3, 8):
        _, objective = levenberg_marquardt(start, seen.images, weight, grid, Kind(), steps=steps, tolerance=0.0)
        assert (objective <= last).all()
        last = objective
