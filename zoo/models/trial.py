"""A trial of a network before it is trained: whatever would end or spoil the training later is found now.

`zoo bench` runs it on two training images of every cell, and the conformance kit on images of its own.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from zoo import registry
from zoo.devices import Precision
from zoo.errors import TrainingError, ZooError, described
from zoo.models.classifier import Classifier, build_classifier, with_columns
from zoo.models.copies import copy_of, tensors_for_file
from zoo.models.cost import NetworkCost, count_cost
from zoo.models.load import GOLDEN_TOLERANCE, differences, hparams_for_loading
from zoo.models.own_training import Loss, check_loss, own_losses, trains_in_turns
from zoo.plurals import counted
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from zoo.host import Host


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Findings of a trial of a network that can be trained.

    Args:
        cost: Parameters and multiply-accumulates.
        refuses_single: Error of a forward pass in training on one image, such as that of batch norm with one value in
            each channel; "" where one image is enough.
    """

    cost: NetworkCost
    refuses_single: str = ""


def try_classifier(
    host: Host,
    classifier: Classifier,
    images: Tensor,
    *,
    model: str,
    hparams: Mapping[str, Any],
    classes: int,
    precision: Precision = "fp32",
    labels: Sequence[int] = (),
) -> Trial:
    """Try a classifier as `try_network` does, and build it again as `zoo.load` does.

    Args:
        host: The plugins.
        classifier: Classifier on the device of the images.
        images: [2, C, H, W].
        model: Id of the network.
        hparams: Resolved hyper-parameters of the model.
        classes: K, the number of predictions for an image.
        precision: Precision of the training.
        labels: Labels that a training may show; empty for 0 to K - 1.

    Raises:
        TrainingError: The network cannot be trained, or its weights could not be used.
    """
    spec = registry.find(host, ModelSpec, model)
    channels, height, width = images.shape[1:]

    def build() -> Classifier:
        return build_classifier(
            host,
            model,
            hparams_for_loading(spec, hparams),
            image_shape=(channels, height, width),
            num_classes=classes,
        )

    trained = not spec.fits_itself
    return try_network(
        classifier,
        images,
        classes=classes,
        build=build,
        name=spec.id,
        trained=trained,
        precision=precision,
        labels=labels,
    )


def try_network(
    network: nn.Module,
    images: Tensor,
    *,
    classes: int,
    build: Callable[[], nn.Module],
    name: str,
    trained: bool = True,
    precision: Precision = "fp32",
    labels: Sequence[int] = (),
) -> Trial:
    """Take copies of a network through everything that a training does with it, on two images.

    Neither the network nor the state of random numbers changes. Where memory is exhausted by two images, one is used.

    Args:
        network: Maps images to logits; on the device of the images.
        images: [2, C, H, W], or [1, C, H, W].
        classes: K.
        build: Function that builds the network again, as it is done for a file of weights.
        name: Name of the network for the messages.
        trained: Whether the training loop trains it; False for a network that fits itself, which needs no gradient.
        precision: Precision of the training; all else is in float32.
        labels: Labels that a training may show; empty for 0 to K - 1.

    Raises:
        TrainingError: The network cannot be trained, or its weights could not be used; the error names the step.
        torch.OutOfMemoryError: One image exceeds the memory, or two do and the network cannot be trained on one.
    """
    shown = torch.tensor(tuple(labels) or tuple(range(classes)), device=images.device)
    two_labels = shown[torch.arange(len(images), device=images.device) % len(shown)]
    try:
        return _try(
            network, images, two_labels, classes=classes, build=build, name=name, trained=trained, precision=precision
        )
    except torch.OutOfMemoryError:
        if len(images) == 1:
            raise
    # Outside of the handler: the exception would keep the tensors of the failed pass alive.
    with same_random_numbers(images.device):
        refused = _refuses_single(copy_of(network), images[:1], two_labels[:1]) if trained else ""
    if refused:
        raise torch.OutOfMemoryError(f"two images are too much, and {name} cannot be trained on one: {refused}")
    return _try(
        network, images[:1], two_labels[:1], classes=classes, build=build, name=name, trained=trained,
        precision=precision,
    )  # fmt: skip


def _try(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    classes: int,
    build: Callable[[], nn.Module],
    name: str,
    trained: bool,
    precision: Precision,
) -> Trial:
    """Carry out the trial of `try_network` on these images."""
    with same_random_numbers(images.device):
        with _step(name, "cannot be copied"):
            tried = copy_of(network)
        refuses_single = ""
        if trained:
            try:
                _one_pass(tried, images, labels, classes=classes, name=name, precision=precision)
            except TrainingError:
                if precision == "bf16":  # the error of float32, if it fails as well
                    _one_pass(copy_of(network), images, labels, classes=classes, name=name, precision="fp32")
                raise
            _first_step(tried)
            refuses_single = _refuses_single(copy_of(network), images[:1], labels[:1])
        with _step(name, f"fails on images {list(images.shape)} in evaluation"), torch.inference_mode():
            expected = with_columns(tried.eval()(images), images=images)
        _check_logits(expected, (len(images), classes), name)
        with _step(name, "cannot be copied after a training step"):
            copy_of(tried)
        with _step(name, "has weights that cannot be saved"):
            content = save(tensors_for_file(tried.state_dict()))
        with _step(name, "has weights that cannot be loaded again"):
            again, state = build(), load(content)
            if problems := differences(state, again.state_dict()):
                raise TrainingError("; ".join(problems))
            again.load_state_dict(state)
        with _step(name, "fails with weights that were loaded again"), torch.no_grad():
            found = with_columns(again.to(images.device).eval()(images), images=images)
        _check_loaded(found, expected, name)
        return Trial(cost=count_cost(network, images[:1]), refuses_single=refuses_single)


def _one_pass(
    network: nn.Module, images: Tensor, labels: Tensor, *, classes: int, name: str, precision: Precision
) -> None:
    """Take a network through a forward and a backward pass in training.

    Raises:
        TrainingError: It fails, or returns other than finite logits; the error names the precision if that is bf16.
    """
    bf16 = precision == "bf16"
    how, hint = (" in bf16", "Try: --precision fp32") if bf16 else ("", _KIT)
    autocast = torch.autocast(images.device.type, torch.bfloat16, enabled=bf16)
    with _step(name, f"fails on images {list(images.shape)} in training{how}", hint=hint), autocast:
        losses = [] if (own := _losses(network.train())) else [_cross_entropy(network, images, labels, classes, name)]
        losses += [check_loss(loss(images, labels), name=name) for loss in own[:1]]
    with _step(name, f"fails in the backward pass{how}", hint=hint):
        losses[0].backward()
    for turn, loss in enumerate(own[1:], 1):  # of the weights that the turn before has left its gradients in
        with _step(name, f"fails in turn {turn} of its training{how}", hint=hint), autocast:
            check_loss(loss(images, labels), name=name).backward()


def _cross_entropy(network: nn.Module, images: Tensor, labels: Tensor, classes: int, name: str) -> Tensor:
    logits = with_columns(network(images), images=images)
    _check_logits(logits, (len(images), classes), name)
    return F.cross_entropy(logits.float(), labels)


def _losses(network: nn.Module) -> list[Loss]:
    """Return the losses that a network, or that of a classifier, brings for its training; of raw images."""
    if not isinstance(network, Classifier):
        return own_losses(network)
    count = len(own_losses(network.network))
    turns = [None] if count == 1 and not trains_in_turns(network.network) else list(range(count))
    return [partial(network, turn=turn) for turn in turns]


@contextlib.contextmanager
def same_random_numbers(device: torch.device) -> Iterator[None]:
    """Restore the random numbers of torch (CPU and this device), numpy and Python at the end."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - a network may draw from the global one
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002 - see above


@contextlib.contextmanager
def _step(name: str, failure: str, *, hint: str = "") -> Iterator[None]:
    """Give every error of a step the step's name.

    Raises:
        TrainingError: The step raised an error other than exhausted memory.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        cause = error.args[0] if isinstance(error, ZooError) else described(error)
        raise TrainingError(f"{name} {failure}: {cause}", hint=hint or _KIT) from error


_STEP = 1e-3
_KIT = "Check the network by itself: zoo check ID, or of a file: zoo check FILE.py:CLASS; see docs/plugins.md"


def _check_logits(logits: object, shape: tuple[int, int], name: str) -> None:
    """Check what a network returned.

    Raises:
        TrainingError: The output is not a tensor of finite floating-point numbers in this shape.
    """
    if not isinstance(logits, Tensor):
        raise TrainingError(f"{name} returns a {type(logits).__name__}, not a tensor of logits.", hint=_KIT)
    if logits.shape != shape:
        raise TrainingError(
            f"{name} returns logits of shape {tuple(logits.shape)}, not {shape} for {counted(shape[0], 'image')} "
            f"and num_classes={shape[1]}.",
            hint=_KIT,
        )
    if not logits.is_floating_point():
        raise TrainingError(f"{name} returns logits of type {logits.dtype}, not floating-point numbers.", hint=_KIT)
    if not logits.isfinite().all():
        raise TrainingError(f"{name} returns logits that are not finite before any training.", hint=_KIT)


@torch.no_grad()
def _first_step(network: nn.Module) -> None:
    """Change the weights as the first step of Adam does, so that a network which keeps old ones is noticed."""
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.sub_(_STEP * parameter.grad.sign())
            parameter.grad = None


def _refuses_single(network: nn.Module, image: Tensor, label: Tensor) -> str:
    """Return the error of a forward pass in training on one image, or ""."""
    try:
        network.train()
        if own := _losses(network):
            own[0](image, label)
        else:
            network(image)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _check_loaded(found: Tensor, expected: Tensor, name: str) -> None:
    """Compare logits of weights that were saved and loaded with those from before.

    Raises:
        TrainingError: The logits differ by more than is allowed for golden predictions.
    """
    scale = max(1.0, float(expected.abs().max()))
    error = float((found - expected).abs().max()) / scale if found.shape == expected.shape else float("inf")
    if not error <= GOLDEN_TOLERANCE:
        raise TrainingError(
            f"{name} gives other logits after its weights were saved and loaded: they differ by {error:.1e} of the "
            f"largest, allowed are {GOLDEN_TOLERANCE:g}. Its state dict lacks something that they depend on, or they "
            "are random.",
            hint=_KIT,
        )
