"""Toy images: rings in noise, and rings with a spot."""

import pytest
import torch

SIZE = 24


def rings(count, *, size=SIZE, spot=0.0, seed=0):
    """Return images [n, 1, size, size] with mean 0 and deviation of about 1: rings, and a spot where `spot` is set."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*[torch.linspace(-2, 2, size)] * 2, indexing="ij")
    radius, angle = (torch.rand(count, 1, 1, generator=generator) for _ in range(2))
    angle = 6.3 * angle
    ring = torch.exp(-((torch.hypot(x, y) - 1 - 0.3 * radius) ** 2) / 0.08)
    ring = ring * (1 + 0.5 * torch.cos(torch.atan2(y, x) - angle))
    place = 6.3 * torch.rand(count, 1, 1, generator=generator)
    far = (x - 1.7 * torch.cos(place)) ** 2 + (y - 1.7 * torch.sin(place)) ** 2
    noise = 0.1 * torch.randn(count, size, size, generator=generator)
    return (3 * (ring + spot * torch.exp(-far / 0.05) + noise) - 0.8)[:, None]


def auc_of(method, *, size=SIZE, spot=3.0, count=60):
    """Return the share of pairs of a plain ring and one with a spot in which the latter has the higher score."""
    with torch.no_grad():
        plain, odd = (method(rings(count, size=size, spot=s, seed=9)) for s in (0.0, spot))
    return float((odd[:, None] > plain).float().mean())


def train(method, *, size=SIZE, steps=50, lr=3e-3, batch=24):
    """Train a method as the harness does, by its losses in turn; return it in evaluation mode."""
    method.train()
    if hasattr(method, "optimizers"):
        optimizers = method.optimizers(lr, 0.0)
    else:
        optimizers = [torch.optim.AdamW(method.parameters(), lr=lr)]
    labels = torch.zeros(batch, dtype=torch.long)
    for step in range(steps):
        images = rings(batch, size=size, seed=100 + step)
        for turn, optimizer in enumerate(optimizers):
            method.zero_grad()
            if len(optimizers) == 1 and not hasattr(method, "training_losses"):
                loss = method.loss(images, labels)
            else:
                loss = method.training_losses(images, labels, turn)
            loss.backward()
            optimizer.step()
    return method.eval()


@pytest.fixture(scope="session", name="rings")
def rings_fixture():
    return rings


@pytest.fixture(scope="session", name="auc_of")
def auc_of_fixture():
    return auc_of


@pytest.fixture(scope="session", name="train")
def train_fixture():
    return train
