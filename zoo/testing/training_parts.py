"""Checks of augmentations, losses and optimisers, for plugin authors: each raises ConformanceError."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.plan.parts import find_part
from zoo.specs import CLASSIFY, AugmentationSpec, LossSpec, OptimizerSpec, Spec
from zoo.testing.outcome import Check, ConformanceError, NotApplicable, named
from zoo.testing.surroundings import left_as_they_are

if TYPE_CHECKING:
    from zoo.host import Host


@dataclass(frozen=True, kw_only=True)
class PartSubject:
    """A part of a training.

    Args:
        host: The plugins.
        spec: Spec of the part.
    """

    host: Host
    spec: Spec


def images(subject: PartSubject) -> None:
    """Images keep shape and type, stay finite, and depend on the generator only; settings stay as they are."""
    with left_as_they_are():
        check_augmentation(subject.host, subject.spec.id)


def mean_over_images(subject: PartSubject) -> None:
    """It is a finite mean over the images with a gradient, lower for right predictions; settings stay as they are."""
    if isinstance(subject.spec, LossSpec) and CLASSIFY not in subject.spec.tasks:
        raise NotApplicable(f"it trains {', '.join(subject.spec.tasks)}, of which the kit has no examples")
    with left_as_they_are():
        check_loss(subject.host, subject.spec.id)


def fits_a_plane(subject: PartSubject) -> None:
    """It lowers a loss, and continues from its state to the same bits; settings stay as they are."""
    with left_as_they_are():
        check_optimizer(subject.host, subject.spec.id)


CHECKS: dict[type[Spec], tuple[Check, ...]] = {
    AugmentationSpec: named(images),
    LossSpec: named(mean_over_images),
    OptimizerSpec: named(fits_a_plane),
}
"""Kind of a part -> its checks."""


def check_augmentation(host: Host, name: str) -> None:
    """Change a few images twice with the same random numbers, and once with others.

    Raises:
        ConformanceError: Shape or type change, values are not finite, or the result does not follow from the generator.
    """
    import torch

    spec = find_part(host, "augment", name)
    target: Any = registry.load_target(spec)
    for channels, size in ((1, 12), (3, 9)):
        images = torch.randn(16, channels, size, size, generator=torch.Generator().manual_seed(0))
        kept = images.clone()
        found = [target(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
        first, again, other = found
        for each in found:
            shape = tuple(each.shape) if isinstance(each, torch.Tensor) else type(each).__name__
            _require(shape == tuple(images.shape), f"{spec.id} returns {shape}; its images are {tuple(images.shape)}")
            _require(each.dtype == images.dtype, f"{spec.id} returns {each.dtype} for {images.dtype}")
            _require(bool(each.isfinite().all()), f"{spec.id} returns values that are not finite")
        _require(torch.equal(images, kept), f"{spec.id} changes the images that it is given")
        _require(torch.equal(first, again), f"{spec.id}: equal generators give other images")
        _require(not torch.equal(first, other), f"{spec.id}: other random numbers give the same images")


def check_loss(host: Host, name: str) -> None:
    """Compute a loss of a few predictions, of right and wrong ones, and of their halves.

    Raises:
        ConformanceError: It is not a finite scalar, not the mean over the images, has no gradient, or is not lower for
            right predictions.
    """
    import torch

    spec = find_part(host, "loss", name)
    target: Any = registry.load_target(spec)
    labels = torch.arange(12) % 3
    right = 5 * torch.nn.functional.one_hot(labels, 3).float()
    noisy = (right + torch.randn(12, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
    loss = target(noisy, labels)
    scalar = isinstance(loss, torch.Tensor) and loss.numel() == 1
    _require(scalar and bool(loss.isfinite()), f"{spec.id} returns {loss!r}, not a finite scalar")
    parts = [float(target(noisy[rows], labels[rows]).detach()) for rows in (slice(0, 6), slice(6, 12))]
    value = float(loss.detach())
    _require(abs(sum(parts) / 2 - value) <= 1e-4 * max(1, abs(value)), f"{spec.id} is not a mean over the images")
    loss.backward()
    _require(noisy.grad is not None and bool(noisy.grad.any()), f"{spec.id} has no gradient")
    wrong = float(target(right.roll(1, 1), labels))
    _require(float(target(right, labels)) < wrong, f"{spec.id} is not lower for right predictions than for wrong ones")


def check_optimizer(host: Host, name: str) -> None:
    """Let an optimiser fit a plane through a matrix of weights and a vector, stop and continue it from its state.

    Raises:
        ConformanceError: It is not an optimiser of the parameters, does not lower the loss, or continues otherwise.
    """
    import copy
    import json

    import torch

    from zoo.paths import parse_json
    from zoo.train.optimizers import set_state, state_of
    from zoo.train.parts import checked_optimizer

    spec = find_part(host, "optimizer", name)
    make = checked_optimizer(registry.load_target(spec), spec.id)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 6, generator=generator)
    plane = x @ torch.randn(6, 4, generator=generator) + 1

    def stepped(layer: Any, optimizer: Any, steps: int) -> float:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (layer(x) - plane).square().mean()
            loss.backward()
            optimizer.step()
        return float((layer(x) - plane).square().mean().detach())

    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 4)
    optimizer = make(list(layer.parameters()), 1e-2, 0.0)
    before = stepped(layer, optimizer, 0)
    stepped(layer, optimizer, 10)
    copied = copy.deepcopy(layer)
    other = make(list(copied.parameters()), 1e-2, 0.0)
    tensors, values = copy.deepcopy(state_of(optimizer))  # what a checkpoint holds
    set_state(other, tensors | parse_json(json.dumps(values)))
    ends = stepped(layer, optimizer, 10), stepped(copied, other, 10)
    _require(ends[0] < before, f"{spec.id} does not lower a loss in 20 steps")
    _require(
        ends[0] == ends[1], f"{spec.id} continues otherwise from its state and groups: a resumed training would differ"
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConformanceError(message)
