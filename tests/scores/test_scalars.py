"""The scalars of images whose scalars are known, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.scores import scalars
from zoo.scores.scalars import DEFINITIONS, NAMES, scalars_of

SIZE = 65


def axes(size=SIZE):
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return axis.expand(size, size), axis[:, None].expand(size, size)


def named(image):
    """Return name -> scalar of one image [H, W]."""
    return dict(zip(NAMES, scalars_of(image[None, None])[0].tolist(), strict=True))


def spot(x=0.0, y=0.0, sigma=3.0, ratio=1.0, size=SIZE):
    across, along = axes(size)
    return torch.exp(-((across - x) ** 2 + ((along - y) / ratio) ** 2) / (2 * sigma**2))


def ring(radius=15.0, sigma=1.5, wave=0.0, light=0.0, m=2, size=SIZE):
    """Return a ring with a radius (1 + wave cos m phi) and a brightness 1 + light cos m phi."""
    x, y = axes(size)
    phi = torch.atan2(y, x)
    away = torch.hypot(x, y) - radius * (1 + wave * torch.cos(m * phi))
    return (1 + light * torch.cos(m * phi)) * torch.exp(-(away**2) / (2 * sigma**2))


def noisy(count=6, size=32, channels=1):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0)) * 0.2 + torch.stack(
        [ring(8 + i % 3, light=0.1 * i, m=i + 1, size=size) for i in range(count)]
    )[:, None].float().expand(-1, channels, -1, -1)  # fmt: skip


def test_names_and_definitions():
    assert len(NAMES) == len(set(NAMES)) == 64
    assert all(DEFINITIONS.values())


def test_a_round_spot():
    found = named(spot(sigma=3))
    assert found["flux"] == pytest.approx(2 * np.pi * 9, rel=1e-3)
    assert found["peak"] == pytest.approx(1)
    assert found["radius"] == pytest.approx(3 * np.sqrt(np.pi / 2), rel=2e-3)  # the pixels are wide
    assert found["width"] == pytest.approx(3 * np.sqrt(2 - np.pi / 2), rel=5e-3)
    assert found["size"] == pytest.approx(3 * np.sqrt(2), rel=1e-3)
    assert found["radius 50"] == pytest.approx(3 * np.sqrt(2 * np.log(2)), abs=0.5)
    for name in ("offset", "ellipticity", "asymmetry 180", "asymmetry 90", "light m=1", "light m=2", "ring m=3"):
        assert found[name] == pytest.approx(0, abs=1e-9), name
    assert found["ring radius"] == 0
    assert found["spots"] == 1


def test_a_shifted_and_a_long_spot():
    shifted = named(spot(x=5, y=-2))
    assert shifted["offset"] == pytest.approx(np.hypot(5, 2), rel=1e-3)
    assert shifted["asymmetry 180"] > 0.5
    round_one, moved = named(spot()), shifted
    for name in ("flux", "peak", "size", "ellipticity", "Gini", "filled", "Laplacian", "gradient", "area half"):
        assert moved[name] == pytest.approx(round_one[name], rel=1e-3, abs=1e-6), name
    assert named(spot(ratio=2))["ellipticity"] == pytest.approx(3 / 5, rel=1e-3)
    assert named(spot(ratio=2))["light m=2"] > 0.3


@pytest.mark.parametrize("m", range(1, 9))
def test_the_moments_of_a_ring(m):
    lit = named(ring(light=0.3, m=m))
    assert lit[f"light m={m}"] == pytest.approx(0.15, rel=0.02)
    assert lit["ring radius"] == 15
    assert lit["ring amplitude"] == pytest.approx(1, abs=0.1)
    waved = named(ring(wave=0.05, m=m))
    assert waved[f"ring m={m}"] == pytest.approx(0.025, rel=0.05)
    for other in range(1, 9):
        if other != m:
            assert lit[f"light m={other}"] < 0.02
            assert waved[f"ring m={other}"] < 0.004
    assert (lit["asymmetry 180"] > 0.05) == (m % 2 == 1)


def test_sectors_spots_and_evenness():
    gap = ring() * (1 - torch.exp(-((axes()[0] - 15) ** 2 + axes()[1] ** 2) / 18))
    assert named(gap)["gap"] < 0.4 < 0.9 < named(ring())["gap"]
    assert named(spot(-15) + spot(15) + spot(0, 10))["spots"] == 3
    flat = torch.zeros(SIZE, SIZE)
    flat[20:45, 20:45] = 2.0
    found = named(flat)
    assert found["filled"] == pytest.approx(25**2 / SIZE**2)
    assert found["area half"] == pytest.approx(25**2 / SIZE**2)
    assert found["Gini"] == pytest.approx((1 - 25**2 / SIZE**2) * SIZE**2 / (SIZE**2 - 1))
    point = torch.zeros(SIZE, SIZE)
    point[10, 20] = 3.0
    assert named(point)["Gini"] == pytest.approx(1)
    assert named(point)["Laplacian"] == pytest.approx(8)
    assert named(point)["Laplacian spike"] == pytest.approx(-4)
    # The spectrum of a point is flat: a band has the share of its area.
    assert 10 ** named(point)["band 1"] == pytest.approx(np.pi * (4 - 1) / 16**2, rel=0.1)
    assert sum(10 ** named(point)[f"band {k}"] for k in range(8)) == pytest.approx(1)


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("turn", ["90", "180", "270", "mirror"])
def test_a_turn_or_a_mirror_changes_nothing(size, turn):
    images = noisy(size=size)
    other = images.flip(3) if turn == "mirror" else images.rot90(int(turn) // 90, (2, 3))
    torch.testing.assert_close(scalars_of(other), scalars_of(images), rtol=1e-9, atol=1e-9)


def test_a_factor_changes_amounts_of_light_only():
    images = noisy()
    one, two = scalars_of(images), scalars_of(images * 8)
    amounts = {"flux", "flux above noise", "peak", "noise", "centre", "ring amplitude"}
    for k, name in enumerate(NAMES):
        factor = 8.0 if name in amounts else 1.0
        torch.testing.assert_close(two[:, k], one[:, k] * factor, rtol=1e-9, atol=1e-12)


def test_a_constant_background_changes_nothing():
    torch.testing.assert_close(scalars_of(noisy().double() + 3), scalars_of(noisy()), rtol=1e-9, atol=1e-9)


def test_an_image_does_not_depend_on_its_batch_and_channels_are_added():
    images = noisy()
    alone = torch.cat([scalars_of(image[None]) for image in images])
    torch.testing.assert_close(scalars_of(images), alone, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(scalars_of(noisy(channels=2)), scalars_of(noisy(channels=2).double().sum(1, True)))


@pytest.mark.parametrize("image", [torch.zeros(1, 1, 16, 16), torch.ones(1, 2, 4, 4), -torch.ones(1, 1, 9, 9)])
def test_images_without_light_have_finite_scalars(image):
    assert scalars_of(image).isfinite().all()


def test_the_profile_of_a_large_image_is_computed_block_by_block(monkeypatch):
    images = torch.rand(2, 1, 33, 33, generator=torch.Generator().manual_seed(0))
    at_once = scalars_of(images)
    monkeypatch.setattr(scalars, "_ENTRIES", 1000)
    assert torch.allclose(scalars_of(images), at_once, rtol=1e-12)
