"""Builds the network of a spec: the only place that calls the target of a `ModelSpec`."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo import registry
from zoo.errors import TrainingError, UsageError, ZooError, described, nearest
from zoo.isolation import contained
from zoo.specs import ModelSpec

if TYPE_CHECKING:
    from torch import nn


def build_network(
    spec: ModelSpec, *, in_chans: int, num_classes: int, image_size: int, hparams: Mapping[str, Any]
) -> nn.Module:
    """Return a freshly initialised network that maps images [N, C, H, W] to logits [N, K].

    Args:
        spec: Description of the network.
        in_chans: C.
        num_classes: K, the number of predictions for an image; 1 in tasks with one number.
        image_size: H and W in pixels.
        hparams: Hyper-parameters that differ from the spec's defaults.

    Raises:
        UsageError: An unknown hyper-parameter, or an impossible value.
        MissingError: The target cannot be imported, or needs something that is absent.
        TrainingError: The target raises another error, or returns something other than a module, or than what its
            spec declares.
    """
    from torch import nn

    from zoo.models.own_fit import check_declared

    for name in hparams:
        if name not in spec.defaults:
            raise UsageError(f"{spec.id} has no hyper-parameter '{name}'.{nearest(name, spec.defaults)}")
    build = registry.load_target(spec)
    try:
        with contained():
            network = build(
                in_chans=in_chans,
                num_classes=num_classes,
                image_size=image_size,
                # A copy: a builder that changes a list would change the spec.
                **copy.deepcopy({**spec.arguments, **spec.defaults, **hparams}),
            )
    except ZooError:
        raise
    except Exception as error:
        raise TrainingError(f"{spec.id} cannot be built: {described(error)}") from error
    if not isinstance(network, nn.Module):
        raise TrainingError(f"{spec.id}: {spec.target} returned a {type(network).__name__}, not a torch.nn.Module.")
    check_declared(network, spec)
    _complete(network, spec, image_shape=(in_chans, image_size, image_size))
    return network


def _complete(network: nn.Module, spec: ModelSpec, *, image_shape: tuple[int, int, int]) -> None:
    """Give lazy layers (`torch.nn.LazyLinear`, ...) their shapes, which they have after a first forward pass only.

    Raises:
        TrainingError: The network refuses the images, or a layer is not used by the forward pass.
    """
    import torch
    from torch.nn.parameter import is_lazy

    def lazy() -> list[str]:
        named = itertools.chain(network.named_parameters(), network.named_buffers())
        return [name for name, tensor in named if is_lazy(tensor)]

    if not lazy():
        return
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *image_shape))
    except Exception as error:
        raise TrainingError(
            f"{spec.id} has lazy layers, and refuses images [1, {', '.join(map(str, image_shape))}]: {described(error)}"
        ) from error
    network.train(training)
    if names := lazy():
        raise TrainingError(f"{spec.id} has lazy layers that a forward pass does not use: {', '.join(names[:3])}.")
