"""Smooth lenses and their images for the tests."""

import dataclasses

import numpy as np
import pytest
import torch
from fittools import CAMERA, FLEXIBLE, SECONDS, SKY
from zoo_baselines.lens_pixels import grids
from zoo_baselines.shapelets import orders
from zoo_baselines.smooth_lens import INDEX, NAMES, Kind, draw


@pytest.fixture(scope="session")
def some_lenses():
    """Return a function that draws parameters of smooth lenses."""
    return _some_lenses


def _some_lenses(
    count: int,
    *,
    ellipsoid: bool = False,
    lens_light: bool = False,
    flexible: bool = False,
    shapelets: int | None = None,
    seed: int = 0,
) -> torch.Tensor:
    """Return [n, len(NAMES)] parameters, float64."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    values = {
        "log_einstein_radius": uniform(1.1, 1.9).log(), "gamma_1": uniform(-0.2, 0.2), "gamma_2": uniform(-0.2, 0.2),
        "halo_x": uniform(-0.1, 0.1), "halo_y": uniform(-0.1, 0.1), "source_x": uniform(-0.3, 0.3),
        "source_y": uniform(-0.3, 0.3), "source_log_radius": uniform(0.25, 0.8).log(),
        "source_log_index": uniform(0.8, 1.5).log(), "source_e1": uniform(-0.5, 0.5), "source_e2": uniform(-0.5, 0.5),
        "source_log_intensity": uniform(-0.1, 0.1),
    }  # fmt: skip
    if ellipsoid:
        values |= {"halo_e1": uniform(-0.3, 0.3), "halo_e2": uniform(-0.3, 0.3)}
    if lens_light:
        values |= {
            "lens_log_radius": uniform(0.4, 0.6).log(), "lens_log_index": uniform(0.8, 1.2).log(),
            "lens_e1": uniform(-0.2, 0.2), "lens_e2": uniform(-0.2, 0.2), "lens_log_intensity": uniform(-0.5, 0.0),
        }  # fmt: skip
    if flexible:
        values |= {
            "multipole_3_cos": uniform(-0.02, 0.02), "multipole_3_sin": uniform(-0.02, 0.02),
            "multipole_4_cos": uniform(-0.02, 0.02), "multipole_4_sin": uniform(-0.02, 0.02),
            "log_psf_width": uniform(-0.1, 0.4),
        }  # fmt: skip
    if shapelets is not None:
        values |= {"shapelet_log_width": uniform(0.2, 0.4).log()}
        values |= {f"shapelet_{in_x}_{in_y}": uniform(-0.3, 0.3) for in_x, in_y in orders(shapelets)}
    parameters = torch.zeros(count, len(NAMES), dtype=torch.float64)
    for name, value in values.items():
        parameters[:, INDEX[name]] = value
    return parameters


@pytest.fixture(scope="session")
def noisy(some_lenses):
    """Return a function that draws images of smooth lenses, to which a point mass may be added."""

    def noisy(
        count: int,
        *,
        mass: float = 0.0,
        at: tuple[float, float] = (0.9, 1.2),
        nuisances: bool = False,
        clumps: bool = False,
        seed: int = 7,
    ) -> torch.Tensor:
        """Return images [n, N, N] of smooth lenses.

        `mass` adds a point mass of this squared Einstein radius, `nuisances` an ellipsoid's multipoles and a PSF that
        is 1.5 times as wide as the camera's, `clumps` two Gaussians to each source.
        """
        parameters = some_lenses(count, seed=seed)
        parameters[:, [INDEX["halo_x"], INDEX["halo_y"]]] = 0
        parameters[:, INDEX["log_einstein_radius"]] = np.log(1.5)
        fine = grids(CAMERA, rays=4, dtype=torch.float64)[1]
        if mass or clumps:
            x, y = fine.x - at[0], fine.y - at[1]
            pull = mass / (x * x + y * y)
            sources = [parameters, *(_clumps_of(parameters) if clumps else [])]
            clean = sum(_drawn_with_mass(source, fine, x * pull, y * pull) for source in sources)
        elif nuisances:
            parameters[:, INDEX["halo_e1"]], parameters[:, INDEX["log_psf_width"]] = 0.2, np.log(1.5)
            parameters[:, INDEX["multipole_3_cos"]] = parameters[:, INDEX["multipole_4_sin"]] = 0.02
            clean = draw(parameters, fine, FLEXIBLE).images
        else:
            clean = draw(parameters, fine, Kind()).images
        mean = (clean * 2 + SKY) * SECONDS
        return (torch.poisson(mean, generator=torch.Generator().manual_seed(1)) / SECONDS - SKY).float()

    return noisy


def _clumps_of(parameters: torch.Tensor) -> list[torch.Tensor]:
    """Return the parameters of the same lenses with one small Gaussian near the source's centre, for each of two."""
    found = []
    for dx, dy in ((0.25, 0.1), (-0.2, 0.2)):
        clump = parameters.clone()
        clump[:, INDEX["source_x"]] += dx
        clump[:, INDEX["source_y"]] += dy
        clump[:, INDEX["source_log_index"]] = np.log(0.5)
        clump[:, INDEX["source_log_radius"]] = np.log(0.15)
        clump[:, INDEX["source_log_intensity"]] += 0.7
        found.append(clump)
    return found


def _drawn_with_mass(parameters: torch.Tensor, grid, alpha_x: torch.Tensor, alpha_y: torch.Tensor) -> torch.Tensor:
    """Return images with a further deflection, from the formulas of an isothermal sphere and a Sersic source."""
    column = {name: parameters[:, number, None, None] for name, number in INDEX.items()}
    x, y = grid.x, grid.y
    radius = torch.hypot(x, y)
    einstein = column["log_einstein_radius"].exp()
    beta_x = x - einstein * x / radius - column["gamma_1"] * x - column["gamma_2"] * y - alpha_x - column["source_x"]
    beta_y = y - einstein * y / radius - column["gamma_2"] * x + column["gamma_1"] * y - alpha_y - column["source_y"]
    # The remaining parameters draw the source as if nothing were deflected.
    flat = parameters.clone()
    flat[:, : INDEX["source_log_radius"]] = 0
    flat[:, INDEX["log_einstein_radius"]] = -40
    images = []
    for i in range(len(parameters)):
        rays = dataclasses.replace(grid, x=beta_x[i], y=beta_y[i])
        images.append(draw(flat[i : i + 1], rays, Kind()).images[0])
    return torch.stack(images)
