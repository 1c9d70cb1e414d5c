"""Smooth lenses for the tests."""

import pytest
import torch
from zoo_baselines.smooth_lens import INDEX, NAMES


@pytest.fixture(scope="session")
def some_lenses():
    """Return a function that draws parameters of smooth lenses."""
    return _some_lenses


def _some_lenses(
    count: int, *, ellipsoid: bool = False, lens_light: bool = False, flexible: bool = False, seed: int = 0
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
    parameters = torch.zeros(count, len(NAMES), dtype=torch.float64)
    for name, value in values.items():
        parameters[:, INDEX[name]] = value
    return parameters
