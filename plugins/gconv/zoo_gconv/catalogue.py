"""The networks of this plugin as plain data: descriptions, invariance and hyper-parameters. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EXACT = "at every image size, odd or even, trained or not, up to rounding"
PROMISES = {
    "p4": f"The logits do not change when the image is turned by 90, 180 or 270 degrees: {EXACT}.",
    "p4m": f"The logits do not change when the image is turned by quarter turns or mirrored: {EXACT}.",
}
PROMISE_OF_SCORE = PROMISES["p4m"].replace("The logits do", "The anomaly score does")
SHIPPED = {
    "p4m": (
        "modelA",
        "modelB",
        "modelA_residual_flexible",
        "modelB_residual_flexible",
        "modelA_residual_centred",
        "modelB_residual_centred",
    ),
    "p4m_resnet18": ("modelA", "modelB"),
    "octic_small": ("modelA", "modelB"),
}
"""Networks with bundled weights, and their data sets, with a derived channel behind the name; the files are made by
benchmarks/ship_weights.py."""
COHEN = "Cohen & Welling 2016, *Group Equivariant Convolutional Networks*, arXiv:1602.07576; new implementation."


@dataclass(frozen=True, kw_only=True)
class Network:
    """One row of the catalogue.

    Args:
        group: Group of the network, "p4" or "p4m"; None for a plain counterpart.
        target: Function that builds the network, as "module:function"; its argument `model` is the network's name.
        summary: One line for lists.
        body: Description, sources and purpose, in Markdown.
        defaults: All hyper-parameters with their default values.
        initialisers: Hyper-parameters that choose the initial weights only, with the values for random weights.
        search_space: Values that `zoo tune` tries.
        training: Recommended learning rate and weight decay.
        tags: Words for searching.
        twins: Ids of the plain networks of equal parameters or equal multiply-accumulates.
        bf16_devices: Devices on which training in bf16 is clearly faster (benchmarks/precision.py).
        tasks: Tasks that it answers.
    """

    group: str | None
    target: str
    summary: str
    body: str
    defaults: Mapping[str, Any]
    initialisers: Mapping[str, Any] = field(default_factory=dict)
    search_space: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=lambda: {"lr": 5e-3, "weight_decay": 1e-4})
    tags: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    bf16_devices: tuple[str, ...] = ("cpu", "cuda")
    tasks: tuple[str, ...] = ("classify",)

    @property
    def card(self) -> str:
        """The text of `zoo show`."""
        promise = PROMISES[self.group] if self.group else "A plain counterpart: only translations are symmetries."
        if self.tasks == ("anomaly",):
            promise = PROMISE_OF_SCORE
        return f"{promise}\n\n{self.body.strip()}\n"


SHARED: dict[str, Any] = {
    # Every second convolution, starting with the first, halves the resolution.
    "kernel_sizes": [5, 3, 3, 3, 3, 3],
    "strides": [2, 1, 2, 1, 2, 1],
    "dropout": 0.0,
}
SMALL_SEARCH: dict[str, Any] = {
    "kernel_sizes": [[5, 3, 3, 3, 3, 3], [7, 3, 3, 3, 3, 3], [7, 3, 5, 3, 3, 3], [7, 5, 5, 5, 3, 3]],
    "strides": [[2, 1, 2, 1, 2, 1], [2, 1, 2, 1, 1, 1], [2, 2, 1, 2, 1, 1], [1, 2, 2, 1, 2, 1]],
    "dropout": {"low": 0.0, "high": 0.5, "log": False},
}


def _widths_search(widths: list[int]) -> dict[str, Any]:
    """Return a network's default widths, and widths for about half and twice its parameters."""
    return {"widths": [list(widths), [max(1, round(0.7 * w)) for w in widths], [round(1.4 * w) for w in widths]]}


POOLING_SEARCH: dict[str, Any] = {"pooling": ["max", "mean"]}
DROPOUT_SEARCH: dict[str, Any] = {"dropout": {"low": 0.0, "high": 0.5, "log": False}}

SMALL_BODY = f"""
One lifting convolution and 5 group convolutions, each with batch norm and ReLU; down-sampling is folded into the
filters, so no full-resolution map is made. The head pools over the group, then over space. {{twin}}

Source: {COHEN}
"""
EQUAL_COUNTS = "p4, p4m and z2 differ only in the group and in the widths, which give equal numbers of parameters."
TWINS_OF_GROUP = f"""{EQUAL_COUNTS} z2 does a fraction of the multiply-accumulates ({{share}} of {{group}}'s), so
z2_{{group}}_macs, a plain network with as many multiply-accumulates as {{group}}, belongs beside it in a comparison."""
TWIN_OF_WORK = """Plain twin of {group}: the same layers and as many multiply-accumulates, from 32 to 150 pixels within
1.5 %, with {times} times the parameters (z2 is the plain twin with as many parameters). The widths are those that
`zoo bench --model {group},z2 --match macs` finds for 64 x 64 pixels."""
TWIN_OF_PARAMETERS = f"""{EQUAL_COUNTS} Its multiply-accumulates are fewer; z2_p4_macs and z2_p4m_macs have as many as
p4 and p4m."""

RESNET_BODY = f"""
ResNet-18 with every convolution a group convolution; strides and max pool are those of the planar network, each group
element on its own grid. {{size}} `--set model.init=timm/resnet18` (or a file; requires the timm plugin) with
`--set model.widths=[64,128,256,512]` starts from planar weights: the initial logits are the planar logits averaged
over the group. The cost is |G|^2 times the planar cost.

Sources: He et al. 2016, *Deep Residual Learning for Image Recognition*, arXiv:1512.03385; {COHEN}
"""
EQUAL_WIDTH = (
    "It has as many channels as the planar ResNet-18, about the same cost, and a fraction 1/|G| of its parameters."
)
EQUAL_PARAMETERS = "It has as many parameters as the planar ResNet-18 and |G| times its cost."


def _resnet(group: str, widths: list[int], *, wide: bool) -> Network:
    size = EQUAL_PARAMETERS if wide else EQUAL_WIDTH
    return Network(
        group=group,
        target="zoo_gconv.resnet:build",
        summary=f"ResNet-18 on {group}, {'equal parameters' if wide else 'equal channels'}",
        body=RESNET_BODY.format(size=size),
        defaults={"widths": widths, "dropout": 0.0, "pooling": "mean", "init": None},
        initialisers={"init": None},
        search_space={**_widths_search(widths), **POOLING_SEARCH, **DROPOUT_SEARCH},
        training={"lr": 1e-3, "weight_decay": 1e-2},
        tags=("equivariant", "residual", *(["large"] if wide else [])),
        twins=("timm/resnet18",),
    )


CONVNEXT_BODY = """
ConvNeXt with group convolutions: depthwise filters turned with each element, group layer norm, GELU and pointwise
layers {pointwise}. The resolution is halved by a depthwise convolution combined with an equivariant mean.

Sources: Liu et al. 2022, *A ConvNet for the 2020s*, arXiv:2201.03545; {more}
"""
DENSE = "that mix all group elements by a dense matrix"
OCTIC = """in the Fourier basis of D4, where they fall into blocks: 5.33 times fewer operations than the dense layers of
`p4m_convnext`, for the same functions"""
OCTIC_SOURCES = """Nordström et al. 2025, *Stronger ViTs With Octic Equivariance*, arXiv:2505.15441; Bökman et al. 2025,
*Flopping for FLOPs*, arXiv:2502.05169 (the idea, for transformers); new implementation."""


def _convnext(
    pointwise: str,
    more: str,
    *,
    summary: str,
    widths: list[int],
    blocks: list[int],
    kernel_size: int = 7,
    twins: tuple[str, ...] = (),
) -> Network:
    return Network(
        group="p4m",
        target="zoo_gconv.convnext:build",
        summary=summary,
        body=CONVNEXT_BODY.format(pointwise=pointwise, more=more),
        defaults={"widths": widths, "blocks": blocks, "kernel_size": kernel_size, "dropout": 0.0, "pooling": "mean"},
        search_space={**_widths_search(widths), "kernel_size": [3, 5, 7], **POOLING_SEARCH, **DROPOUT_SEARCH},
        training={"lr": 1e-3, "weight_decay": 1e-2},
        tags=("equivariant",),
        twins=twins,
        bf16_devices=("cuda",),  # depthwise filters and small products: hardly faster in bf16 on a CPU, slower on some
    )


AUTOENCODER_BODY = f"""
Group convolutions halve the resolution four times; the code is a small map on the group, and keeps its place and its
direction. The decoder doubles the resolution by the nearest neighbour, followed by group convolutions, and ends in the
mean over the group: the reconstruction of a turned image is the turned reconstruction. The score is the mean chi square
of the residual (`residual=chi_square`; `zoo.models.residual`), or its mean square (`mean_square`).

Source: {COHEN}
"""

ROTATION_POOLING = (
    "each layer is followed by the maximum over the four rotations, and the next layer lifts the result again"
)
CNN_BODY = """
The network of Cohen & Welling for rotated MNIST, for any image from 28 pixels: six layers of 3x3 without padding, batch
norm and ReLU, max pool after the second, and a last layer of 4x4 whose features are the classes{variant}.
At 28 pixels its map is a single pixel; for larger images the mean over the map is taken. Published errors on rotated
MNIST: 5.03 % (Z2CNN), 3.21 % (rotation pooling after each layer), 2.28 % (P4CNN).

Source: {source}
"""


def _cnn(group: str | None, width: int, *, dropout: float, summary: str, variant: str = "") -> Network:
    pooling = {} if group is None else {"pooling": "max"}
    return Network(
        group=group,
        target="zoo_gconv.p4cnn:build",
        summary=summary,
        body=CNN_BODY.format(variant=variant, source=COHEN),
        defaults={"width": width, "dropout": dropout, **pooling},
        search_space={
            "width": [width, max(1, round(0.7 * width)), round(1.4 * width)],
            **DROPOUT_SEARCH,
            **(POOLING_SEARCH if pooling else {}),
        },
        training={"lr": 1e-3, "weight_decay": 1e-4},
        tags=("equivariant", "small") if group else ("baseline", "small"),
        twins=("gconv/z2cnn",) if group else (),
    )


# A layer's parameters grow as |G| * width^2, so equal counts require widths in the ratio 1 / sqrt(|G|).
# Rounding is spread over the layers so that the three counts agree within two per cent; a test checks this.
WIDTHS: dict[str, list[int]] = {
    "p4": [8, 8, 12, 14, 14, 20],
    "p4m": [6, 6, 8, 10, 10, 14],
    "z2": [17, 17, 23, 28, 27, 40],
    # Products of a layer grow as |G|^2 * width^2, so equal multiply-accumulates require widths in the ratio 1 / |G|.
    # Found by `--match macs` at 64 pixels; a test compares them from 32 to 150 pixels.
    "z2_p4_macs": [34, 34, 45, 55, 53, 79],
    "z2_p4m_macs": [48, 48, 65, 79, 77, 113],
}


def _small(name: str, group: str | None, *, summary: str, twin: str) -> Network:
    pooling = {"pooling": "max"} if group else {}
    return Network(
        group=group,
        target="zoo_gconv.models:build",
        summary=summary,
        body=SMALL_BODY.format(twin=twin),
        defaults={"widths": WIDTHS[name], **SHARED, **pooling},
        search_space={**_widths_search(WIDTHS[name]), **SMALL_SEARCH, **(POOLING_SEARCH if group else {})},
        tags=("equivariant", "small") if group else ("baseline", "small"),
        twins=("gconv/z2", f"gconv/z2_{group}_macs") if group else (),
    )


NETWORKS: dict[str, Network] = {
    "p4": _small(
        "p4",
        "p4",
        summary="group convolutions, quarter turns, 6 layers, plain torch",
        twin=TWINS_OF_GROUP.format(group="p4", share="0.27"),
    ),
    "p4m": _small(
        "p4m",
        "p4m",
        summary="group convolutions, quarter turns and mirrors, 6 layers, plain torch",
        twin=TWINS_OF_GROUP.format(group="p4m", share="0.13"),
    ),
    "z2": _small(
        "z2",
        None,
        summary="plain convolutions, twin of p4 and p4m with equal parameters, 6 layers",
        twin=TWIN_OF_PARAMETERS,
    ),
    "z2_p4_macs": _small(
        "z2_p4_macs",
        None,
        summary="plain convolutions, twin of p4 with equal multiply-accumulates, 6 layers",
        twin=TWIN_OF_WORK.format(group="p4", times="3.8"),
    ),
    "z2_p4m_macs": _small(
        "z2_p4m_macs",
        None,
        summary="plain convolutions, twin of p4m with equal multiply-accumulates, 6 layers",
        twin=TWIN_OF_WORK.format(group="p4m", times="7.8"),
    ),
    "p4_resnet18": _resnet("p4", [16, 32, 64, 128], wide=False),
    "p4_resnet18_wide": _resnet("p4", [32, 64, 128, 256], wide=True),
    "p4m_resnet18": _resnet("p4m", [8, 16, 32, 64], wide=False),
    # 64 / sqrt(8) and its multiples, rounded.
    "p4m_resnet18_wide": _resnet("p4m", [23, 45, 91, 181], wide=True),
    # 40 to 320 channels are those of the smallest ConvNeXt in use, "atto" of timm.
    "p4m_convnext": _convnext(
        DENSE,
        COHEN,
        summary="ConvNeXt on p4m, dense pointwise layers",
        widths=[5, 10, 20, 40],
        blocks=[2, 2, 6, 2],
        twins=("timm/convnext_atto",),
    ),
    # 256, 512 and 1,024 channels: wide enough for the Fourier blocks to save time, and cheap at these resolutions.
    "octic": _convnext(
        OCTIC,
        OCTIC_SOURCES,
        summary="ConvNeXt on p4m in the Fourier basis of D4: wide and cheap",
        widths=[32, 64, 128],
        blocks=[2, 2, 2],
    ),
    # 64, 192 and 512 channels: trains in minutes without a GPU. The first stage has most of the pixels and most of the
    # cost.
    "octic_small": _convnext(
        OCTIC,
        OCTIC_SOURCES,
        summary="a narrow, shallow octic for small images and CPUs",
        widths=[8, 24, 64],
        blocks=[1, 1, 1],
        kernel_size=5,
    ),
    # As in the paper: 20 channels and dropout 0.3 for z2cnn and for rotation pooling, 10 features on p4 for the same
    # number of parameters; 7 = 10 / sqrt(2) on p4m.
    "z2cnn": _cnn(None, 20, dropout=0.3, summary="Z2CNN of Cohen & Welling, plain counterpart of p4cnn"),
    "p4cnn": _cnn("p4", 10, dropout=0.0, summary="P4CNN of Cohen & Welling, quarter turns"),
    "p4mcnn": _cnn("p4m", 7, dropout=0.0, summary="P4CNN on p4m: quarter turns and mirrors"),
    "p4cnn_pooled": _cnn(
        "p4",
        20,
        dropout=0.3,
        summary="P4CNN with rotation pooling after each layer",
        variant=f"; {ROTATION_POOLING}",
    ),
}

NETWORKS["p4m_ae"] = Network(
    group="p4m",
    target="zoo_gconv.autoencoder:build",
    summary="auto-encoder on p4m: its reconstruction turns with the image",
    body=AUTOENCODER_BODY,
    defaults={"widths": [4, 8, 12, 16], "latent": 2, "kernel_size": 3, "residual": "chi_square"},
    search_space={**_widths_search([4, 8, 12, 16]), "latent": [1, 2, 4], "kernel_size": [3, 5]},
    training={"lr": 5e-3, "weight_decay": 1e-5},
    tags=("equivariant",),
    tasks=("anomaly",),
)
