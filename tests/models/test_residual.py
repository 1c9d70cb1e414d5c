"""Residuals in units of the noise: known noise is found, scores are chi squares, and neither depends on the unit."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import UsageError
from zoo.models.residual import Residual, noise_of

SIZE = 48


def light(count=4, *, size=SIZE):
    """Return smooth rings [n, 1, size, size] of peak 10, float64."""
    y, x = torch.meshgrid(*[torch.linspace(-2, 2, size, dtype=torch.float64)] * 2, indexing="ij")
    radius = torch.linspace(0.8, 1.2, count, dtype=torch.float64)[:, None, None]
    return (10 * torch.exp(-((torch.hypot(x, y) - radius) ** 2) / 0.05))[:, None]


def noisy(images, sigma, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return images + sigma * torch.randn(images.shape, generator=generator, dtype=images.dtype)


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_the_noise_of_images_is_found_beside_bright_light(sigma):
    images = noisy(light(24), sigma)
    found = noise_of(images)
    assert found.shape == (24,)
    assert found.mean() == pytest.approx(sigma, rel=0.1)


def test_the_noise_has_the_unit_of_the_image_and_no_orientation():
    images = noisy(light(), 0.3)
    for moved in (7 * images + 3, images.rot90(1, (-2, -1)), images.flip(-1), images.transpose(-1, -2)):
        factor = 7 if moved.max() > 30 else 1
        torch.testing.assert_close(noise_of(moved), factor * noise_of(images), rtol=1e-12, atol=0)


def test_images_without_noise_have_finite_scores():
    residual = Residual()
    for images in (torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8), light(2).float()):
        score, loss = residual(images, images), residual.loss(images, images)
        assert score.isfinite().all()
        assert loss.isfinite()


def test_the_score_of_the_right_reconstruction_is_one():
    residual = Residual().double()
    with torch.no_grad():
        residual.log_gain.fill_(-100)  # no photon noise
    score = residual(noisy(light(24), 0.5), light(24))
    assert score.detach().mean() == pytest.approx(1, rel=0.1)


def test_photon_noise_is_learnt():
    """Noise of variance 0.01 + 0.02 * light: the factor is found, and the chi square of bright pixels becomes 1."""
    truth = light(24)
    images = noisy(truth, (0.01 + 0.02 * truth).sqrt())
    residual = Residual().double()
    optimizer = torch.optim.Adam(residual.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        residual.loss(images, truth).backward()
        optimizer.step()
    assert (10 * residual.log_gain.detach()).exp() == pytest.approx(0.02, rel=0.2)
    squared, variance = residual._squared(images, truth)
    assert (squared / variance)[truth > 3].detach().mean() == pytest.approx(1, rel=0.15)


def test_the_loss_is_the_likelihood_of_torch_distributions():
    images, reconstructed = noisy(light(), 0.3), light() + 0.1
    residual = Residual().double()
    _, variance = residual._squared(images, reconstructed)
    normal = torch.distributions.Normal(reconstructed, variance.sqrt())
    expected = -normal.log_prob(images).mean() - 0.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(residual.loss(images, reconstructed), expected)


def test_mean_square_is_that_of_torch():
    images, reconstructed = noisy(light(), 0.3), light()
    residual = Residual("mean_square")
    expected = torch.nn.functional.mse_loss(images, reconstructed)
    torch.testing.assert_close(residual.loss(images, reconstructed), expected)
    torch.testing.assert_close(residual(images, reconstructed).mean(), expected)
    assert list(residual.parameters()) == []


def test_the_precision_is_that_of_the_images_under_autocast():
    images = noisy(light(), 0.3).float()
    residual = Residual()
    with torch.autocast("cpu", torch.bfloat16):
        score = residual(images, light().bfloat16())
    assert score.dtype == torch.float32
    torch.testing.assert_close(score, residual(images, light().bfloat16().float()))


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="residual='chi' must be one of chi_square, mean_square"):
        Residual("chi")
