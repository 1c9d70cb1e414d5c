"""Build any timm classifier for any number of channels and any image size, and cut off no pixel."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo_timm.architectures import find_architecture, import_timm
from zoo_timm.weights import layer_names, load_network


class PaddedNetwork(nn.Module):
    """A network behind a padding by reflection.

    Reflection, because it keeps the scale of the pixels and the statistics of their noise: resampling would blur
    the very residuals in which substructure shows, and zeros would draw an edge around the sky.

    Args:
        network: maps [N, C, P, P] to logits [N, K].
        image_size: H and W of the images, in pixels.
        padded_size: P, at least image_size.
    """

    def __init__(self, network: nn.Module, *, image_size: int, padded_size: int) -> None:
        super().__init__()
        self.network = network
        self.image_size = image_size
        before = (padded_size - image_size) // 2
        after = padded_size - image_size - before
        self.padding = (before, after, before, after)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, K] for images [N, C, H, W].

        Raises:
            UsageError: H or W is not the size that the network was built for; timm would drop pixels in silence.
        """
        if images.shape[-2] != self.image_size or images.shape[-1] != self.image_size:
            raise UsageError(
                f"images of {images.shape[-2]} x {images.shape[-1]} pixels; the network was built for "
                f"{self.image_size} x {self.image_size}."
            )
        if any(self.padding):
            images = F.pad(images, self.padding, mode="reflect")
        logits: Tensor = self.network(images)
        return logits

    def extra_repr(self) -> str:
        """Return what `print(model)` shows of the sizes, in pixels."""
        return f"image_size={self.image_size}, padding={self.padding}"


def build(
    *,
    in_chans: int,
    num_classes: int,
    image_size: int,
    architecture: str,
    pretrained: bool | str = False,
    drop_rate: float | None = None,
    drop_path_rate: float | None = None,
) -> nn.Module:
    """Return a timm network that maps images [N, in_chans, image_size, image_size] to logits [N, num_classes].

    Args:
        in_chans: channels.
        num_classes: K.
        image_size: height and width in pixels.
        architecture: timm's name, with or without a tag such as "resnet50.a1_in1k".
        pretrained: False: random weights; True: the weights that timm knows under the name, from the hub's cache
            or the hub; text: a file .safetensors, .pth or .pt. See `zoo_timm.weights`.
        drop_rate: dropout in front of the classifier, from 0 to less than 1; None: timm's default.
        drop_path_rate: stochastic depth, from 0 to less than 1; None: timm's default.

    Raises:
        UsageError: an unknown architecture, a hyper-parameter that the architecture does not have, a size that it
            cannot take, or a file of weights that does not fit.
        MissingError: timm, or the hub, is out of reach.
        DataError: a file of weights is damaged.
    """
    for label, count in (("in_chans", in_chans), ("num_classes", num_classes), ("image_size", image_size)):
        if type(count) is not int or count < 1:
            raise UsageError(f"{label}={count!r} must be a whole number, at least 1.")
    given = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
    rates: dict[str, Any] = {label: rate for label, rate in given.items() if rate is not None}
    for label, rate in rates.items():
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            raise UsageError(f"{label}={rate!r} must be a number from 0 to less than 1.")
    if not isinstance(pretrained, (bool, str)) or pretrained == "":
        raise UsageError(f"pretrained={pretrained!r} must be true, false or the name of a file.")

    architecture = find_architecture(architecture)
    create = partial(_create, architecture, in_chans=in_chans, **rates)
    padded_size, blueprint = _admissible(
        create, architecture, in_chans=in_chans, num_classes=num_classes, image_size=image_size
    )
    create = partial(create, image_size=padded_size)
    network = (
        create(num_classes=num_classes)
        if pretrained is False
        else load_network(
            architecture,
            pretrained,
            create=create,
            blueprint=blueprint,
            in_chans=in_chans,
            num_classes=num_classes,
        )
    )
    return PaddedNetwork(network, image_size=image_size, padded_size=padded_size)


def _create(architecture: str, *, image_size: int | None = None, **arguments: Any) -> nn.Module:
    """Return timm's network, told the image size where it must know it.

    Args:
        architecture: timm's name.
        image_size: in pixels; None: timm's default for the architecture.
        arguments: of `timm.create_model`, which itself takes no fixed list.
    """
    timm = import_timm()
    config = timm.models.get_pretrained_cfg(architecture)
    if image_size is not None and config is not None and config.fixed_input_size:
        arguments["img_size"] = image_size
    network: nn.Module = timm.create_model(architecture, **arguments)
    return network


def _admissible(
    create: partial[nn.Module], architecture: str, *, in_chans: int, num_classes: int, image_size: int
) -> tuple[int, nn.Module]:
    """Return the smallest tried size that the architecture can take, and the network on the meta device.

    Tried are the next multiples of the patch, and of the patch together with 16, 32 and 64. A network whose first
    layer is no partition into patches counts as having a patch of one pixel. A trial runs the network on the meta
    device: it costs milliseconds and no memory, and meets the shape errors that a real image would meet.

    Raises:
        UsageError: none of them, or the architecture lacks a hyper-parameter.
    """
    try:
        patch = _patch_size(create(num_classes=num_classes, device="meta"))
    except TypeError as error:
        for label in ("drop_rate", "drop_path_rate"):
            if f"'{label}'" in str(error):
                raise UsageError(
                    f"timm/{architecture} has no {label}.", hint=f"Leave it out, or set {label}=null."
                ) from error
        raise
    sizes = sorted({_round_up(image_size, math.lcm(patch, step)) for step in (1, 16, 32, 64)})
    problem = "it would be padded by more than itself"
    for size in sizes:
        # Reflection has no more than image_size - 1 pixels to give on each side.
        if math.ceil((size - image_size) / 2) >= image_size:
            break
        try:
            network = create(num_classes=num_classes, image_size=size, device="meta").eval()
            with torch.no_grad():
                logits = network(torch.empty(2, in_chans, size, size, device="meta"))
        except Exception as error:  # whatever the architecture's own code raises at a size that it cannot take
            problem = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            continue
        if isinstance(logits, Tensor) and logits.shape == (2, num_classes):
            return size, network
        problem = "it returns something else than logits [N, K]"
    raise UsageError(
        f"timm/{architecture} cannot take images of {in_chans} x {image_size} x {image_size}; tried with "
        f"{', '.join(map(str, sizes))} pixels: {problem}",
        hint="Other architectures can. See: zoo list-models 'timm/*'",
    )


def _patch_size(network: nn.Module) -> int:
    """Return the side in pixels of the patches that the first layer cuts the image into; 1 if it cuts none.

    A convolution whose stride is its kernel drops the pixels beyond the last whole patch without a word.
    """
    patch = 1
    for name in layer_names(network, "first_conv"):
        layer = network.get_submodule(name)
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride and not any(layer.padding):
            patch = math.lcm(patch, *layer.stride)
    return patch


def _round_up(size: int, step: int) -> int:
    return -(-size // step) * step
