"""Muon of timm trains a network, and an interrupted training goes on to the same bits."""

import torch
from zoo_timm.optimizers import muon

from zoo.host import load_plugins
from zoo.testing.training_parts import check_optimizer
from zoo.train.average import MovingAverage
from zoo.train.checkpoint import TrainingState, read_checkpoint, take_checkpoint, weights_of, write_checkpoint


def test_it_keeps_the_contract_of_an_optimiser():
    check_optimizer(load_plugins(), "timm/muon")


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    first, second = torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 6, 3)
    return torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.Flatten(), torch.nn.Linear(6 * 16, 3))


def steps(net, optimizer, number, *, first=0):
    """Train on images that depend on the number of the step; return the last loss."""
    for step in range(first, first + number):
        generator = torch.Generator().manual_seed(step)
        labels = torch.arange(24) % 3
        images = torch.randn(24, 1, 8, 8, generator=generator) + labels[:, None, None, None]
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_kernels_of_several_channels_have_muon():
    net = network()
    optimizer = muon(list(net.parameters()), lr=1e-2, weight_decay=0.0)
    steps(net, optimizer, 1)
    chosen = [name for name, parameter in net.named_parameters() if optimizer.state[parameter]["use_muon"]]
    assert chosen == ["2.weight"]


def test_the_step_of_a_kernel_is_orthogonal_and_about_as_large_as_adamw_s():
    net = network()
    optimizer = muon(list(net.parameters()), lr=1e-2, weight_decay=0.0)
    kernel = net[2].weight
    before = kernel.detach().clone()
    steps(net, optimizer, 1)
    step = (kernel.detach() - before).flatten(1)
    # Five Newton-Schulz steps leave singular values between about 0.7 and 1.2 of the nominal one.
    singular = torch.linalg.svdvals(step) / (1e-2 * 0.2 * max(step.shape) ** 0.5)
    assert 0.6 < float(singular.min()) <= float(singular.max()) < 1.3
    assert 0.1 < float(step.square().mean().sqrt()) / 1e-2 < 0.4  # Liu et al. 2025: AdamW's steps have 0.2 to 0.4


def test_a_training_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path):
    whole, halves = network(), network()
    optimizer = muon(list(whole.parameters()), lr=1e-2, weight_decay=1e-2)
    steps(whole, optimizer, 20)
    first = muon(list(halves.parameters()), lr=1e-2, weight_decay=1e-2)
    steps(halves, first, 10)
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, TrainingState(), halves, MovingAverage(halves, decay=0.5), [first], {})

    resumed = network()
    average = MovingAverage(resumed, decay=0.5)
    checkpoint = read_checkpoint(path, weights_of(resumed, average))
    assert checkpoint is not None
    second = muon(list(resumed.parameters()), lr=1e-2, weight_decay=1e-2)
    take_checkpoint(checkpoint, resumed, average, [second])
    flag = second.state[resumed[2].weight]["use_muon"]
    assert bool(flag)
    loss = steps(resumed, second, 10, first=10)
    assert loss < 0.9  # of ln 3
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
