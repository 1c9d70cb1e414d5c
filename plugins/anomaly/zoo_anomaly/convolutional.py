"""Convolutional encoder and decoder for square images of any size, as in arXiv:2008.12731 and smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError


@dataclass(frozen=True)
class Layer:
    """A convolution between maps of known sizes.

    Args:
        channels, width: Numbers of channels before and after.
        kernel: Edge length of the filters.
        stride: Stride.
        padding: Zeros around the map.
        size, next_size: Edge lengths of the maps before and after.
    """

    channels: int
    width: int
    kernel: int
    stride: int
    padding: int
    size: int
    next_size: int


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Layers of an encoder; its decoder mirrors them.

    Args:
        widths: Numbers of channels after each convolution.
        kernel_sizes: Edge lengths of the filters of each convolution; a filter larger than its padded map shrinks to
            the map.
        strides: Stride of each convolution.
        paddings: Zeros around the map of each convolution.
        latent: Length of the code.
        last_kernel: Edge length of the decoder's last filters, where filters of this size can make images of the right
            size; elsewhere, and with None, it is that of the encoder's first.
    """

    widths: Sequence[int]
    kernel_sizes: Sequence[int]
    strides: Sequence[int]
    paddings: Sequence[int]
    latent: int
    last_kernel: int | None = None

    def __post_init__(self) -> None:
        lists = {name: getattr(self, name) for name in ("widths", "kernel_sizes", "strides", "paddings")}
        for name, values in lists.items():
            least = 0 if name == "paddings" else 1
            if not isinstance(values, list | tuple) or not all(type(v) is int and v >= least for v in values):
                raise UsageError(f"{name}={values!r} must be a list of whole numbers, {least} or more.")
            if len(values) != len(self.widths) or not values:
                raise UsageError(f"{name}={values!r} must have one number for each of widths={list(self.widths)!r}.")
        if type(self.latent) is not int or self.latent < 1:
            raise UsageError(f"latent={self.latent!r} must be a whole number, 1 or more.")
        if self.last_kernel is not None and (type(self.last_kernel) is not int or self.last_kernel < 1):
            raise UsageError(f"last_kernel={self.last_kernel!r} must be a whole number, 1 or more, or null.")

    def plan(self, *, in_chans: int, image_size: int) -> list[Layer]:
        """Return the convolutions for images of a size."""
        layers = []
        channels, size = in_chans, image_size
        for width, kernel, stride, padding in zip(
            self.widths, self.kernel_sizes, self.strides, self.paddings, strict=True
        ):
            kernel = min(kernel, size + 2 * padding)
            next_size = (size + 2 * padding - kernel) // stride + 1
            layers.append(Layer(channels, width, kernel, stride, padding, size, next_size))
            channels, size = width, next_size
        return layers


PUBLISHED: dict[str, Any] = {
    "widths": [16, 32, 64],
    "kernel_sizes": [7, 7, 7],
    "strides": [3, 3, 1],
    "paddings": [1, 1, 0],
    "latent": 1000,
    "last_kernel": 6,
}
"""The published layers: 150 pixels become 49, 15 and 9, and 64 x 9 x 9 = 5,184 numbers become 1,000."""

SMALL: dict[str, Any] = {
    "widths": [16, 32, 64],
    "kernel_sizes": [5, 5, 5],
    "strides": [2, 2, 2],
    "paddings": [2, 2, 2],
    "latent": 64,
    "last_kernel": None,
}
"""Layers for a laptop: 64 pixels become 32, 16 and 8. A smooth lens with its source has about 13 parameters."""


def _missing(layer: Layer, kernel: int) -> int:
    """Return the pixels by which a transposed convolution falls short of a layer's input; less than the stride."""
    return layer.size - ((layer.next_size - 1) * layer.stride - 2 * layer.padding + kernel)


class Encoder(nn.Module):
    """Map images [N, C, H, W] to features [N, F], F the pixels of the last map over all its channels.

    Args:
        architecture: Layers.
        in_chans: C.
        image_size: H and W.
        last_relu: Whether a ReLU follows the last convolution as well.
    """

    def __init__(self, architecture: Architecture, *, in_chans: int, image_size: int, last_relu: bool) -> None:
        super().__init__()
        layers = architecture.plan(in_chans=in_chans, image_size=image_size)
        modules: list[nn.Module] = []
        for layer in layers:
            modules += [
                nn.Conv2d(layer.channels, layer.width, layer.kernel, stride=layer.stride, padding=layer.padding),
                nn.ReLU(),
            ]
        self.convolutions = nn.Sequential(*(modules if last_relu else modules[:-1]))
        self.features = layers[-1].width * layers[-1].next_size ** 2

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N, F]."""
        return self.convolutions(images).flatten(1)


class Decoder(nn.Module):
    """Map codes [N, Z] to images [N, C, H, W] by a linear map and transposed convolutions.

    Args:
        architecture: Layers of the encoder.
        in_chans: C.
        image_size: H and W.
        first_relu: Whether a ReLU follows the linear map.
        tanh: Whether the images end in a hyperbolic tangent, which keeps them between -1 and 1.
    """

    def __init__(
        self, architecture: Architecture, *, in_chans: int, image_size: int, first_relu: bool, tanh: bool
    ) -> None:
        super().__init__()
        layers = architecture.plan(in_chans=in_chans, image_size=image_size)
        smallest = layers[-1]
        self.shape = (smallest.width, smallest.next_size, smallest.next_size)
        self.linear = nn.Linear(architecture.latent, torch.Size(self.shape).numel())
        modules: list[nn.Module] = [nn.ReLU()] if first_relu else []
        for number, layer in reversed(list(enumerate(layers))):
            kernel = layer.kernel
            last = architecture.last_kernel
            if number == 0 and last is not None and 0 <= _missing(layer, last) < layer.stride:
                kernel = last
            modules.append(
                nn.ConvTranspose2d(
                    layer.width,
                    layer.channels,
                    kernel,
                    stride=layer.stride,
                    padding=layer.padding,
                    output_padding=_missing(layer, kernel),
                )
            )
            if number:
                modules.append(nn.ReLU())
        if tanh:
            modules.append(nn.Tanh())
        self.convolutions = nn.Sequential(*modules)

    def forward(self, codes: Tensor) -> Tensor:
        """Return images [N, C, H, W]."""
        return self.convolutions(self.linear(codes).unflatten(1, self.shape))
