"""Initialise a group ResNet from a planar one: before training it gives the planar logits averaged over the group.

Let f be the planar network in evaluation mode and (L_r x)(y) = x(r^-1 y) the group's action on images. Copy the stem's
filters psi into the lifting convolution as they are; put every other filter psi[o, i] at the identity element of the
filter on the group, psi[o, i](y, s) = psi[o, i](y) delta(s, e), zeros elsewhere; copy batch norms and the linear layer.
Write f = linear(mean over space(phi)), phi the last feature maps. Then, by induction over the layers, the group network
holds at element r the maps

    h_r(x) = L_r phi(L_r^-1 x),

since each step keeps this form:
  - convolution: the lifted filter at element r is L_r psi and reads element r alone, and convolving with L_r psi is
    L_r (convolution with psi) L_r^-1;
  - strides and the stem's max pool: element r samples its own grid and pools its own windows, that is
    L_r (planar stride) L_r^-1 at odd and at even sizes (`zoo_gconv.sampling`). With one grid for all elements, as
    in other libraries, the two would agree only at sizes 32 n + 1, where all five halvings have an odd input;
  - batch norm with its running statistics, ReLU and the sum with the shortcut act on each number separately, and
    their constants are the same for all elements.
The mean over space does not depend on L_r, and the mean over the group and the last layer are linear:

    F(x) = 1/|G| sum_r f(L_r^-1 x).

Zero padding transforms with the image, so the equality is exact at every size and padding. It requires the mean over
the group (`pooling="mean"`) and the planar widths: the group network has |G| times the channels of the planar one and
|G| times its parameters. The additional parameters are zero at first; training uses them to mix the elements. In
training mode batch norm uses the statistics of all transformed copies, so the equality does not hold there.

Images of one channel: the stem's filters are summed over their input channels, which is what the planar network
computes from three equal channels (timm does the same).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from zoo.errors import MissingError, UsageError
from zoo.paths import user_path

logger = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)

SETTING = "model.init"
"""Hyper-parameter that names planar weights; --set init=RUN is another one, of the training."""
BLOCKS = ("layer1", "layer2", "layer3", "layer4")


def read_planar(source: str) -> dict[str, Tensor]:
    """Read a planar ResNet-18's state dict.

    Args:
        source: Name of weights on the hub, "timm/resnet18" with or without a tag like ".a1_in1k", or the path of a
            .safetensors, .pth or .pt file with the parameter names of timm and torchvision.

    Raises:
        MissingError: The timm plugin, which reads the weights, is not installed, or the hub cannot be reached.
        UsageError: The file or weights do not exist.
        DataError: The file is damaged.
    """
    try:
        from zoo_timm import weights
    except ImportError as error:
        raise MissingError(
            f"init={source!r} requires the timm plugin to read weights: {error}",
            hint="Install it: pip install 'lens-zoo-gconv[timm]'",
        ) from error
    if source.startswith("timm/"):
        from zoo_timm.architectures import find_architecture

        architecture = find_architecture(source.removeprefix("timm/"))
        return weights.read_state(weights.fetch_from_hub(architecture, setting=SETTING, random="null"))
    return weights.read_state(user_path(source), setting=SETTING)


def planar_widths(state: Mapping[str, Tensor], source: str) -> list[int]:
    """Return the numbers of channels of the four stages.

    Raises:
        UsageError: The weights do not belong to a ResNet of basic blocks.
    """
    keys = [f"{block}.0.conv2.weight" for block in BLOCKS]
    missing = [key for key in keys if key not in state]
    if missing:
        known = ", ".join(list(state)[:3])
        raise UsageError(
            f"init={source!r} is not a ResNet-18: {', '.join(missing)} missing; its first keys are {known}.",
            hint="Use the weights of a ResNet-18 saved by timm or torchvision.",
        )
    return [len(state[key]) for key in keys]


def lift(planar: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Convert a planar state dict into that of a group ResNet, as described in the module's docstring.

    Args:
        planar: State dict of the planar network.
        expected: State dict of the group network. Its linear layer is kept, with a log message, if the planar one has
            a different number of classes.
        source: Origin of the weights, for messages.

    Returns:
        A complete state dict with the names of `expected`.

    Raises:
        UsageError: Names or shapes differ; nothing is loaded.
    """
    lifted: dict[str, Tensor] = {}
    problems: list[str] = []
    for name, target in expected.items():
        if name == "identity":  # added by the group network
            lifted[name] = target
            continue
        value = planar.get(name)
        if value is None and name.endswith("num_batches_tracked"):
            value = target.new_zeros(())
        if value is None:
            problems.append(f"{name} is missing")
            continue
        value = value.to(target.dtype)
        if name.startswith("fc.") and len(value) != len(target):
            logger.warning(
                "%s: head for %d classes not loaded; the head for %d classes is initialised at random",
                source, len(value), len(target),
            )  # fmt: skip
            value = target
        elif name == "conv1.weight" and target.shape[1] == 1 and value.ndim == 4:
            value = value.sum(1, keepdim=True)
        elif target.ndim == 5 and value.ndim == 4:
            whole = value.new_zeros(*value.shape[:2], target.shape[2], *value.shape[2:])
            whole[:, :, 0] = value  # the identity comes first in every group
            value = whole
        if value.shape != target.shape:
            problems.append(f"{name} is {tuple(planar[name].shape)} and becomes {tuple(value.shape)}, "
                            f"not {tuple(target.shape)}")  # fmt: skip
        lifted[name] = value
    problems += [f"{name} is unexpected" for name in planar if name not in expected]
    if problems:
        more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise UsageError(
            f"init={source!r} does not fit: {'; '.join(problems[:4])}{more}.",
            hint="Use the weights of a ResNet-18 with the same number of image channels, or images of one channel.",
        )
    return lifted


def start(build: Callable[..., Network], settings: Mapping[str, Any], *, source: str) -> Network:
    """Build a group ResNet and initialise it from planar weights.

    Args:
        build: Function that builds the network from keyword arguments.
        settings: Keyword arguments of `build`; `widths` must equal those of the planar network.
        source: Source of the weights; see `read_planar`.

    Raises:
        UsageError: `widths` or `pooling` do not match the planar network, or its weights do not fit.
    """
    planar = read_planar(source)
    widths = planar_widths(planar, source)
    if list(settings["widths"]) != widths:
        raise UsageError(
            f"widths is {list(settings['widths'])}, but the network of init={source!r} has {widths}.",
            hint=f"Use: --set model.widths={str(widths).replace(' ', '')}",
        )
    if settings["pooling"] != "mean":
        raise UsageError(f"pooling is {settings['pooling']!r}, but must be 'mean' with init={source!r}.")
    network = build(**settings)
    network.load_state_dict(lift(planar, network.state_dict(), source=source))
    return network
