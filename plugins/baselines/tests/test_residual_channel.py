"""The residual of a blindly fitted smooth lens as a channel: unit noise, symmetry, independence, and a GPU's way."""

import numpy as np
import pytest
import torch
from fakegpu import Copies
from torch._subclasses.fake_tensor import FakeTensorMode
from zoo_baselines import lens_fit, residual_channel, shapelets
from zoo_baselines.lens_pixels import make_grid
from zoo_baselines.residual_channel import LARGEST, residual
from zoo_baselines.smooth_lens import INDEX, Kind, draw

from zoo.data.channels import Camera
from zoo.lensing.instrument import Instrument

SIZE, SCALE = 32, 0.2
CAMERA = Camera(
    image_size=SIZE, pixel_scale=SCALE, psf="gaussian", psf_width=0.2, exposure_seconds=300.0, sky=None,
    round_haloes=True, lens_light=False,
)  # fmt: skip
KINDS = pytest.mark.parametrize(
    "kind",
    [
        {"free_centre": True}, {"free_centre": False}, {"free_centre": True, "flexible": True},
        {"free_centre": True, "shapelets": 4},
    ],
    ids=["free", "centred", "flexible", "shapelets"],
)  # fmt: skip


@pytest.fixture(scope="module")
def images(some_lenses) -> torch.Tensor:
    """Noisy images [4, 1, SIZE, SIZE] of smooth lenses with the halo in the middle, in counts per second."""
    parameters = some_lenses(4)
    parameters[:, [INDEX["halo_x"], INDEX["halo_y"]]] = 0.0
    grid = make_grid(Instrument(image_size=SIZE, pixel_scale=SCALE, psf_width=0.2), rays=6, dtype=torch.float64)
    light = 4 * draw(parameters, grid, Kind()).images
    rate = (light + 0.3) * 300
    counts = torch.poisson(rate, generator=torch.Generator().manual_seed(0))
    return ((counts - 0.3 * 300) / 300).float()[:, None]


@KINDS
def test_of_a_smooth_lens_it_is_noise_of_unit_variance(images, kind):
    left = residual(images, CAMERA, **kind)
    assert left.shape == images[:, 0].shape
    assert (left.square().mean((1, 2)) - 1).abs().max() < 0.15
    assert left.mean((1, 2)).abs().max() < 0.1


def test_a_shifted_halo_stays_only_where_the_centre_is_fixed(images):
    shifted = images.roll(1, 3)  # by 0.2 arcsec
    free, fixed = (residual(shifted, CAMERA, free_centre=free).square().mean((1, 2)) for free in (True, False))
    assert (fixed > 1.2 * free).all()


def test_multipoles_and_another_psf_stay_only_where_they_are_not_fitted(some_lenses):
    parameters = some_lenses(4)
    parameters[:, INDEX["multipole_3_cos"]] = parameters[:, INDEX["multipole_4_sin"]] = 0.02
    parameters[:, INDEX["log_psf_width"]] = np.log(1.5)
    grid = make_grid(Instrument(image_size=SIZE, pixel_scale=SCALE, psf_width=0.2), rays=6, dtype=torch.float64)
    rate = (4 * draw(parameters, grid, Kind(multipoles=True, psf_width=True)).images + 0.3) * 300
    counts = torch.poisson(rate, generator=torch.Generator().manual_seed(0))
    images = ((counts - 0.3 * 300) / 300).float()[:, None]
    rigid, flexible = (residual(images, CAMERA, free_centre=True, flexible=flag) for flag in (False, True))
    assert (rigid.square().mean((1, 2)) > 1.2).all()
    assert (flexible.square().mean((1, 2)) - 1).abs().max() < 0.15


def test_clumps_of_the_source_stay_only_without_shapelets(noisy):
    clumps = noisy(4, clumps=True)[:, None]
    smooth, structured = (
        residual(clumps, CAMERA, free_centre=True, shapelets=order).square().mean((1, 2)) for order in (None, 8)
    )
    assert (smooth > 1.5).all()
    assert (structured - 1).abs().max() < 0.2


def test_a_spot_stays(images):
    spotted = images.clone()
    spotted[:, 0, 10, 20] += 2.0
    assert (residual(spotted, CAMERA, free_centre=True)[:, 10, 20] > 5).all()


@KINDS
def test_it_depends_on_the_image_alone(images, kind):
    together = residual(images, CAMERA, **kind)
    alone = torch.cat([residual(image[None], CAMERA, **kind) for image in images])
    assert (together - alone).abs().max() < 0.02  # rounding decides where a fit ends
    assert torch.equal(together, residual(images, CAMERA, **kind))


@pytest.mark.parametrize("source", [{}, {"flexible": True}, {"shapelets": 4}], ids=["sersic", "flexible", "shapelets"])
def test_it_turns_with_the_image(images, source):
    upright = residual(images, CAMERA, free_centre=True, **source)
    turned = residual(images.rot90(1, (2, 3)), CAMERA, free_centre=True, **source)
    assert (turned.rot90(-1, (1, 2)) - upright).abs().max() < 0.1


def test_the_way_of_a_gpu_ends_where_that_of_a_cpu_does(images, monkeypatch):
    expected = residual(images, CAMERA, free_centre=True)
    effort = residual_channel.Effort
    monkeypatch.setattr(residual_channel, "Effort", lambda **fields: effort(**{**fields, "leave": False}))
    assert (residual(images, CAMERA, free_centre=True) - expected).abs().max() < 0.05


@pytest.mark.parametrize("fill", [0.0, -1.0, 1e6])
def test_an_image_without_a_lens_gives_finite_numbers(images, fill):
    left = residual(torch.cat([torch.full_like(images[:1], fill), images[:1] * 1e8]), CAMERA, free_centre=True)
    assert left.isfinite().all()
    assert left.abs().max() <= LARGEST


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fitted"),
    [
        ({}, {}),
        ({"round_haloes": False, "lens_light": True, "psf": "airy"}, {}),
        ({}, {"flexible": True}),
        ({}, {"shapelets": 3}),
    ],
)
def test_a_gpu_is_never_waited_for(kind, fitted, monkeypatch):
    """Fake tensors refuse what depends on numbers that the processor does not have."""
    camera = Camera(**{**{name: getattr(CAMERA, name) for name in CAMERA.__struct_fields__}, **kind})
    for steps in ("STEPS", "FLEXIBLE_STEPS", "SHAPELET_EFFORT"):  # all steps are alike
        monkeypatch.setattr(residual_channel, steps, {"coarse_steps": 1, "fine_steps": 1})
    monkeypatch.setattr(residual_channel, "_ON_A_GPU", 1 << 14)  # one batch
    copies = []
    try:
        with FakeTensorMode():
            for count in (4, 4, 300):
                with Copies() as found:
                    images = torch.empty(count, 1, SIZE, SIZE, device="cuda")
                    left = residual(images, camera, free_centre=True, **fitted)
                assert (left.device.type, left.shape) == ("cuda", (count, SIZE, SIZE))
                copies.append(len(found.found))
    finally:  # no other test may find fake tensors there
        lens_fit._limits_on.cache_clear()
        shapelets._orders_on.cache_clear()
        residual_channel._grids_on.cache_clear()
    assert copies[1] == copies[2] < 10  # constants of a batch, whatever its size


def test_the_plugin_registers_them():
    from zoo.data.channels import open_channels, read_channels
    from zoo.host import load_plugins

    host = load_plugins(environment={})
    versions = read_channels(
        host, ["image", "residual", "baselines/residual_centred", "residual_flexible", "residual_shapelets"]
    )
    channels = open_channels(host, versions, CAMERA, of="a test")
    both = channels.beside(torch.from_numpy(np.zeros((1, 1, SIZE, SIZE), np.float32)))
    assert both.shape == (1, 5, SIZE, SIZE)
