"""Build any timm classifier for any number of channels and any image size, without cropping."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo_timm.architectures import find_architecture, import_timm
from zoo_timm.weights import layer_names, load_network


class PaddedNetwork(nn.Module):
    """A network whose input is padded by reflection.

    Reflection keeps the pixel scale and the statistics of the noise. Resampling would blur the small residuals that
    substructure causes, and zeros would add an edge around the sky.

    Args:
        network: Network from padded images [N, C, P, P] to logits [N, K].
        image_size: Height and width of the images in pixels.
        padded_size: Height and width P of the padded images in pixels, at least `image_size`.
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
            UsageError: H or W differs from the size that the network was built for; timm would silently drop pixels.
        """
        if images.shape[-2] != self.image_size or images.shape[-1] != self.image_size:
            raise UsageError(
                f"The images have {images.shape[-2]} x {images.shape[-1]} pixels, but the network was built for "
                f"{self.image_size} x {self.image_size}."
            )
        if any(self.padding):
            images = F.pad(images, self.padding, mode="reflect")
        logits: Tensor = self.network(images)
        return logits

    def extra_repr(self) -> str:
        """Describe the sizes, in pixels, in `repr`."""
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
        in_chans: Number of image channels.
        num_classes: Number of classes K.
        image_size: Height and width of the images in pixels.
        architecture: Name of the architecture in timm, with or without a tag, for example "resnet50.a1_in1k".
        pretrained: False for random weights, True for the weights that timm provides under the name (from the hub's
            cache or the hub), or the path of a .safetensors, .pth or .pt file. See `zoo_timm.weights`.
        drop_rate: Dropout before the classifier, from 0 to less than 1; None for timm's default.
        drop_path_rate: Stochastic depth, from 0 to less than 1; None for timm's default.

    Raises:
        UsageError: The architecture is unknown, it does not have a given hyper-parameter or does not support the image
            size, or the weights file does not fit.
        MissingError: Timm cannot be imported, or the hub cannot be reached.
        DataError: The weights file is damaged.
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
        raise UsageError(f"pretrained={pretrained!r} must be true, false or the path of a file.")

    architecture = find_architecture(architecture)
    padded_size, blueprint = _admissible(architecture, in_chans, num_classes, image_size, **rates)
    create = partial(_create, architecture, in_chans=in_chans, image_size=padded_size, **rates)
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
    """Return timm's network, built for an image size if the architecture requires one.

    Args:
        architecture: Name of the architecture in timm.
        image_size: Height and width in pixels; None for timm's default.
        arguments: Further arguments of `timm.create_model`.
    """
    timm = import_timm()
    config = timm.models.get_pretrained_cfg(architecture)
    if image_size is not None and config is not None and config.fixed_input_size:
        arguments["img_size"] = image_size
    network: nn.Module = timm.create_model(architecture, **arguments)
    return network


@lru_cache(maxsize=4)  # a training builds the same network several times
def _admissible(
    architecture: str, in_chans: int, num_classes: int, image_size: int, **rates: Any
) -> tuple[int, nn.Module]:
    """Return the smallest tested size that the architecture supports, and the network on the meta device.

    The tested sizes are the next multiples of the patch size, and of its least common multiples with 16, 32 and 64. The
    patch size is one pixel if the first layer does not divide the image into patches. A test runs the network on the
    meta device, which takes tenths of a second, needs no memory, and raises the same shape errors as a real image.

    Raises:
        UsageError: All sizes fail, or the architecture does not have a given hyper-parameter.
    """
    create = partial(_create, architecture, in_chans=in_chans, num_classes=num_classes, device="meta", **rates)
    try:
        patch = _patch_size(create())
    except TypeError as error:
        for label in ("drop_rate", "drop_path_rate"):
            if f"'{label}'" in str(error):
                raise UsageError(
                    f"timm/{architecture} has no {label}.", hint=f"Leave it out, or set {label}=null."
                ) from error
        raise
    sizes = sorted({_round_up(image_size, math.lcm(patch, step)) for step in (1, 16, 32, 64)})
    problem = "the padding would be larger than the image"
    for size in sizes:
        # Reflection can add at most image_size - 1 pixels on each side.
        if math.ceil((size - image_size) / 2) >= image_size:
            break
        try:
            network = create(image_size=size).eval()
            with torch.no_grad():
                logits = network(torch.empty(2, in_chans, size, size, device="meta"))
        except Exception as error:  # any error by the architecture's own code at an unsupported size
            problem = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            continue
        if isinstance(logits, Tensor) and logits.shape == (2, num_classes):
            return size, network
        problem = "the output is not logits [N, K]"
    raise UsageError(
        f"timm/{architecture} does not support images of {in_chans} x {image_size} x {image_size}, also when padded to "
        f"{', '.join(map(str, sizes))} pixels: {problem}",
        hint="Choose another architecture: zoo list-models 'timm/*'",
    )


def _patch_size(network: nn.Module) -> int:
    """Return the edge length in pixels of the patches that the first layer divides the image into, or 1.

    A convolution whose stride equals its kernel size silently drops the pixels beyond the last whole patch.
    """
    patch = 1
    for name in layer_names(network, "first_conv"):
        layer = network.get_submodule(name)
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride and not any(layer.padding):
            patch = math.lcm(patch, *layer.stride)
    return patch


def _round_up(size: int, step: int) -> int:
    return -(-size // step) * step
