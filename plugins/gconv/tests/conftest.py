"""The change of logits under a group, for the tests of networks."""

import copy

import pytest
import torch


def relative_spread(network, size, dtype, *, mirrors, channels=1):
    """max |logits(g x) - logits(x)| over the group, in units of the largest logit."""
    network = copy.deepcopy(network).to(dtype).eval()
    generator = torch.Generator().manual_seed(size)
    # Smooth blobs: pure noise looks the same to a pooled network from every side.
    blobs = torch.randn(2, channels, 6, 6, generator=generator, dtype=torch.float64)
    images = torch.nn.functional.interpolate(blobs, size=(size, size), mode="bilinear").to(dtype)
    orbit = [images.rot90(k, (-2, -1)) for k in range(4)]
    if mirrors:
        orbit += [turned.flip(-1) for turned in orbit]
    with torch.no_grad():
        logits = torch.stack([network(moved) for moved in orbit])
    return ((logits - logits[0]).abs().max() / logits[0].abs().max()).item()


def train_a_little(network, *, sizes=(32, 33), steps=4, channels=1):
    """Some steps on random labels, at even and odd sizes in turn; return the network in evaluation mode."""
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=1e-2)
    for step in range(steps):
        size = sizes[step % len(sizes)]
        logits = network(torch.randn(8, channels, size, size))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.randint(logits.shape[1], (8,))).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="session", name="relative_spread")
def relative_spread_fixture():
    return relative_spread


@pytest.fixture(scope="session", name="train_a_little")
def train_a_little_fixture():
    return train_a_little
