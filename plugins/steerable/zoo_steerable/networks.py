"""The steerable networks: one architecture for every group, and the network published for this task in 2021.

    image -> (disc) -> steerable convolutions -> invariant numbers -> pool over space -> linear

For finite groups the features are regular fields, and the last of them are pooled over the group. For so2 and o2 they
are irreps, and the last convolution returns scalars only. In both cases the input of the head is invariant.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo_steerable.basis import Field, FilterQuery
from zoo_steerable.layers import AntialiasedPool, GroupPool, IrrepsNorm, RegularNorm, SteerableConv
from zoo_steerable.libraries import LIBRARIES
from zoo_steerable.sampling import disc, halve
from zoo_steerable.settings import choose, complete, fit
from zoo_steerable.specs import PUBLISHED_DEFAULTS, defaults_of
from zoo_steerable.symmetry import Symmetry, parse

SCALAR = Field("scalar")
REGULAR = Field("regular")
PUBLISHED_PADDING = (1, 2, 2, 2, 2, 1)


class SteerableNetwork(nn.Module):
    """Classify square images [N, C, H, W] into logits [N, K].

    Args:
        library: Library that derives the filters, "escnn" or "e2cnn".
        symmetry: Symmetry group of the network.
        trunk: Layers from images to a map [N, F, h, w] of scalars, which the group moves in space only.
        head: Layers from this map to logits.
        invariant: Whether the output of the head is independent of positions on the map.
        mask: Image size in pixels if images are first cut to a disc; otherwise None.
    """

    disc: Tensor | None
    identity: Tensor

    def __init__(
        self,
        library: str,
        symmetry: Symmetry,
        trunk: nn.Sequential,
        head: nn.Sequential,
        *,
        invariant: bool,
        mask: int | None,
    ) -> None:
        super().__init__()
        self.library, self.symmetry = library, symmetry
        # Read by zoo after building: both depend on hyper-parameters, so the spec cannot state them.
        self.symmetry_group = symmetry.name
        self.equivariance = ("exact" if symmetry.exact else "approximate") if invariant else None
        self.trunk, self.head = trunk, head
        self.register_buffer("disc", disc(mask) if mask else None, persistent=False)
        # Part of the state dict, so that weights of another group are refused.
        self.register_buffer(
            "identity", torch.tensor([LIBRARIES.index(library), symmetry.order, int(symmetry.mirrors)])
        )
        self.register_load_state_dict_pre_hook(_refuse_other_group)

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to logits [N, K]."""
        if self.disc is not None:
            images = images * _disc_for(images, self.disc)
        logits: Tensor = self.head(self.trunk(images))
        return logits

    def export(self) -> nn.Module:
        """Return an equivalent network with ordinary convolutions.

        If it is trained further, its filters are no longer equivariant.
        """
        return ExportedNetwork(self)


class ExportedNetwork(nn.Module):
    """A steerable network in planar form.

    Args:
        network: Network to export.
    """

    disc: Tensor | None

    def __init__(self, network: SteerableNetwork) -> None:
        super().__init__()
        layers = [
            layer.export() if isinstance(layer, SteerableConv) else copy.deepcopy(layer) for layer in network.trunk
        ]
        self.trunk, self.head = nn.Sequential(*layers), copy.deepcopy(network.head)
        self.register_buffer("disc", network.disc, persistent=False)
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to logits [N, K]."""
        if self.disc is not None:
            images = images * _disc_for(images, self.disc)
        logits: Tensor = self.head(self.trunk(images))
        return logits


def _disc_for(images: Tensor, usual: Tensor) -> Tensor:
    """Return the disc of images, which are of another size than the training images now and then."""
    if images.shape[-2:] == usual.shape:
        return usual
    return disc(images.shape[-1], device=images.device).to(images.dtype)


def _refuse_other_group(module: nn.Module, state_dict: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    """Check that weights were trained with this library and group."""
    assert isinstance(module, SteerableNetwork)
    given = state_dict.get(f"{prefix}identity")
    if (
        given is not None
        and given.shape == module.identity.shape
        and not torch.equal(given.cpu(), module.identity.cpu())
    ):
        library, order, mirrors = given.tolist()
        own = f"{module.library}/{module.symmetry.name}"
        trained = f"{LIBRARIES[library]}/{Symmetry(order, bool(mirrors)).name}"
        raise UsageError(
            f"Weights of {trained} cannot be loaded into {own}: the filters differ.",
            hint=f"Build {trained} with the same hyper-parameters, or train {own}.",
        )


class Halve(nn.Module):
    """Halve the resolution; see `zoo_steerable.sampling.halve`."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C, ceil(H/2), ceil(W/2)]."""
        return halve(maps)


class SpatialMean(nn.Module):
    """Take the mean over a map, or over its inscribed disc: [N, C, H, W] to [N, C].

    Args:
        round: Whether to take the mean over the disc.
    """

    def __init__(self, *, round: bool) -> None:
        super().__init__()
        self.round = round

    def forward(self, maps: Tensor) -> Tensor:
        """Return the mean."""
        if not self.round:
            return maps.mean((-2, -1))
        weights = disc(maps.shape[-1], device=maps.device).to(maps.dtype)
        return (maps * weights).sum((-2, -1)) / weights.sum()


def build(
    *, library: str, group: str, in_chans: int, num_classes: int, image_size: int, **hparams: Any
) -> SteerableNetwork:
    """Build the network of one library and group.

    Args:
        library: Library that derives the filters, "escnn" or "e2cnn".
        group: Name of the group, such as "c8"; "cn" and "dn" take their order from the hyper-parameters.
        in_chans: Number of image channels C.
        num_classes: Number of classes K.
        image_size: Edge length of the images in pixels. With the head "invariant" it is only checked, and the network
            accepts every size that passes the check.
        hparams: Hyper-parameters that replace the model's defaults.

    Raises:
        UsageError: A hyper-parameter or the image size is invalid.
        MissingError: The library is required but not installed.
    """
    model = f"{library}/{group}"
    shape: dict[str, Any] = {"in_chans": in_chans, "num_classes": num_classes, "image_size": image_size}
    values = complete(model, defaults_of(group), **shape, hparams=hparams)
    order = values.pop("order", None)
    symmetry = Symmetry(order, group == "dn") if order else _symmetry(group)
    return _assemble(model, library, symmetry, **shape, **values)


def build_published(
    *, library: str, group: str, in_chans: int, num_classes: int, image_size: int, **hparams: Any
) -> SteerableNetwork:
    """Build the network that was published for this task in 2021. The arguments are those of `build`."""
    model = f"{library}/{group}_2021"
    shape: dict[str, Any] = {"in_chans": in_chans, "num_classes": num_classes, "image_size": image_size}
    values = complete(model, PUBLISHED_DEFAULTS, **shape, hparams=hparams)
    return _assemble_published(model, library, _symmetry(group), **shape, **values)


def _symmetry(name: str) -> Symmetry:
    symmetry = parse(name)
    assert symmetry is not None
    return symmetry


def _assemble(
    model: str,
    library: str,
    symmetry: Symmetry,
    *,
    in_chans: int,
    num_classes: int,
    image_size: int,
    widths: Sequence[int],
    kernel_sizes: Sequence[int],
    strides: Sequence[int],
    frequency_cutoff: float | None,
    nonlinearity: str,
    mask: bool,
    head: str,
    dropout: float,
    max_frequency: int = 0,
) -> SteerableNetwork:
    """Build the network of one group; the arguments are those of the specs."""
    finite = symmetry.order > 0
    choose(model, "nonlinearity", nonlinearity, ("relu", "elu") if finite else ("gated", "norm"))
    choose(model, "head", head, ("invariant", "flatten"))
    last_size = fit(model, image_size, kernel_sizes, strides)

    hidden = REGULAR if finite else Field("irreps", max_frequency)
    produced = Field("gated", max_frequency) if nonlinearity == "gated" else hidden
    layers: list[nn.Module] = []
    field, fields = SCALAR, in_chans
    for place, (width, kernel_size, stride) in enumerate(zip(widths, kernel_sizes, strides, strict=True), start=1):
        # A network for an infinite group ends with scalars, since a maximum over the group cannot be taken.
        outgoing = SCALAR if place == len(widths) and not finite else produced
        query = FilterQuery(
            library=library, symmetry=symmetry, incoming=field, outgoing=outgoing, kernel_size=kernel_size,
            frequency_cutoff=frequency_cutoff,
        )  # fmt: skip
        layers.append(SteerableConv(query, fields, width))
        if finite:
            layers.append(RegularNorm(width, symmetry.size, nonlinearity=nonlinearity))
        elif outgoing is SCALAR:
            layers.append(RegularNorm(width, 1, nonlinearity="relu"))
        else:
            layers.append(IrrepsNorm(width, max_frequency, nonlinearity=nonlinearity))
        if stride == 2:
            layers.append(Halve())
        field, fields = hidden, width
    if finite:
        layers.append(GroupPool(symmetry.size))
    ending: list[nn.Module] = [SpatialMean(round=mask), nn.Dropout(dropout), nn.Linear(fields, num_classes)]
    if head == "flatten":
        ending = [nn.Flatten(), *_dense(fields * last_size**2, num_classes)]
    return SteerableNetwork(
        library, symmetry, nn.Sequential(*layers), nn.Sequential(*ending), invariant=head == "invariant",
        mask=image_size if mask else None,
    )  # fmt: skip


def _assemble_published(
    model: str,
    library: str,
    symmetry: Symmetry,
    *,
    in_chans: int,
    num_classes: int,
    image_size: int,
    widths: Sequence[int],
    kernel_sizes: Sequence[int],
    frequency_cutoff: float | None,
) -> SteerableNetwork:
    """Build the network that was published for this task in 2021 (DeepLense, equivariant networks; see the card)."""
    if len(widths) != len(PUBLISHED_PADDING):
        raise UsageError(
            f"{model}: widths is {list(widths)}, but must be six numbers: the network has six convolutions."
        )
    layers: list[nn.Module] = []
    field, fields, size = SCALAR, in_chans, image_size
    for place, (width, kernel_size, padding) in enumerate(zip(widths, kernel_sizes, PUBLISHED_PADDING, strict=True)):
        if kernel_size > size + 2 * padding:
            raise UsageError(
                f"{model}: image_size is {image_size}, but must be larger: convolution {place + 1} has a kernel of "
                f"{kernel_size} pixels and an input of {size} pixels."
            )
        query = FilterQuery(
            library=library, symmetry=symmetry, incoming=field, outgoing=REGULAR, kernel_size=kernel_size,
            frequency_cutoff=frequency_cutoff,
        )  # fmt: skip
        layers += [
            SteerableConv(query, fields, width, padding=padding),
            RegularNorm(width, symmetry.size, nonlinearity="relu"),
        ]
        size += 2 * padding - kernel_size + 1
        if place in (1, 3):
            layers.append(AntialiasedPool(stride=2, padding=2))
            size = (size - 1) // 2 + 1
        field, fields = REGULAR, width
    layers += [AntialiasedPool(stride=1, padding=0), GroupPool(symmetry.size)]
    size -= 4
    if size < 1:
        raise UsageError(f"{model}: image_size is {image_size}, but must be 29 or more: the last window has 5 pixels.")
    head = nn.Sequential(nn.Flatten(), *_dense(fields * size**2, num_classes))
    return SteerableNetwork(library, symmetry, nn.Sequential(*layers), head, invariant=False, mask=image_size)


def _dense(features: int, num_classes: int) -> list[nn.Module]:
    """Return the published head, which depends on positions on the map."""
    return [nn.Linear(features, 64), nn.BatchNorm1d(64), nn.ELU(), nn.Linear(64, num_classes)]
