"""Register a few networks and an optimiser of timm by name, and resolve the names of all its other architectures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec, OptimizerSpec

NAMESPACE = "timm"
TARGET = "zoo_timm.models:build"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One row of the table below.

    Args:
        architecture: Full name of the architecture in timm.
        summary: One line for lists.
        paper: Authors, year, title and arXiv number.
        note: Remark for interpreting its score.
        drop_rate: Dropout before the classifier.
        drop_path_rate: Stochastic depth (arXiv:1603.09382); None for networks without it.
        lr, weight_decay: Learning rate and weight decay of AdamW for training from scratch.
        tags: Words for searching.
        bf16_devices: Devices on which training in bf16 is clearly faster (benchmarks/precision.py).
    """

    architecture: str
    summary: str
    paper: str
    note: str
    drop_rate: float = 0.0
    drop_path_rate: float | None = None
    lr: float = 1e-3
    weight_decay: float = 1e-2
    tags: tuple[str, ...] = ("convolutional",)
    bf16_devices: tuple[str, ...] = ("cpu", "cuda")


# Dropout and stochastic depth are the papers' values where stated; learning rates are for batches of about 64.
# Transformers need the larger weight decay (Touvron et al. 2021, table 9: 0.05).
BASELINES: dict[str, Baseline] = {
    "resnet18": Baseline(
        architecture="resnet18",
        summary="residual network of 18 layers, the usual first baseline",
        paper="He et al. 2016, *Deep Residual Learning for Image Recognition*, arXiv:1512.03385",
        note="The network that most published DeepLense baselines build on.",
        drop_path_rate=0.0,
    ),
    "resnet50": Baseline(
        architecture="resnet50",
        summary="residual network of 50 layers with bottlenecks",
        paper="He et al. 2016, *Deep Residual Learning for Image Recognition*, arXiv:1512.03385",
        note="Better than resnet18 only with tens of thousands of images.",
        drop_path_rate=0.0,
    ),
    "vgg16_bn": Baseline(
        architecture="vgg16_bn",
        summary="16 plain 3x3 layers with batch norm; by far the most parameters",
        paper="Simonyan & Zisserman 2015, *Very Deep Convolutional Networks*, arXiv:1409.1556",
        note="Three quarters of the parameters are in one 7x7 layer after the convolutions; maps smaller than "
        "7x7 (images below 224 pixels) are stretched to it by average pooling.",
        drop_rate=0.5,
        lr=3e-4,
    ),
    "densenet121": Baseline(
        architecture="densenet121",
        summary="121 densely connected layers, few parameters for their depth",
        paper="Huang et al. 2017, *Densely Connected Convolutional Networks*, arXiv:1608.06993",
        note="Slow on a CPU for its size, because it computes many small maps.",
    ),
    "efficientnet_b1": Baseline(
        architecture="efficientnet_b1",
        summary="depth-wise convolutions, compound scaling",
        paper="Tan & Le 2019, *EfficientNet: Rethinking Model Scaling*, arXiv:1905.11946",
        note="Few operations, but memory-bound: slower on GPUs than its MACs suggest.",
        drop_rate=0.2,
        drop_path_rate=0.2,
    ),
    "convnext_atto": Baseline(
        architecture="convnext_atto",
        summary="the smallest ConvNeXt: 7x7 depth-wise layers, layer norm",
        paper="Liu et al. 2022, *A ConvNet for the 2020s*, arXiv:2201.03545; the atto size is timm's",
        note="Its first layer maps patches of 4x4 pixels, so detail below four pixels passes one linear layer only.",
        drop_path_rate=0.1,
        weight_decay=0.05,
        bf16_devices=("cuda",),
    ),
    "vit_tiny": Baseline(
        architecture="vit_tiny_patch16_224",
        summary="plain vision transformer, patches of 16 pixels",
        paper="Dosovitskiy et al. 2021, *An Image is Worth 16x16 Words*, arXiv:2010.11929; the tiny size is "
        "DeiT's (Touvron et al. 2021, arXiv:2012.12877)",
        note="Needs many images or pretrained weights; an image of 64 pixels has only 16 patches.",
        drop_path_rate=0.1,
        lr=5e-4,
        weight_decay=0.05,
        tags=("transformer",),
    ),
    "swin_tiny": Baseline(
        architecture="swin_tiny_patch4_window7_224",
        summary="transformer with shifted 7x7 windows over patches of 4 pixels",
        paper="Liu et al. 2021, *Swin Transformer*, arXiv:2103.14030",
        note="The windows are smaller if the map of a stage is smaller than 7x7 (images below 224 pixels).",
        drop_path_rate=0.2,
        lr=3e-4,
        weight_decay=0.05,
        tags=("transformer",),
    ),
    "coatnet_nano": Baseline(
        architecture="coatnet_nano_rw_224",
        summary="convolutions first, attention with relative positions after",
        paper="Dai et al. 2021, *CoAtNet: Marrying Convolution and Attention*, arXiv:2106.04803; the nano size "
        "is timm's",
        note="Most image sizes are padded to the next multiple of 16 or 32.",
        drop_path_rate=0.1,
        lr=3e-4,
        weight_decay=0.05,
        tags=("convolutional", "transformer"),
    ),
}

PARAMETERS: dict[str, int] = {
    "coatnet_nano": 14_609_495,
    "convnext_atto": 3_374_203,
    "densenet121": 6_950_659,
    "efficientnet_b1": 6_516_451,
    "resnet18": 11_171_779,
    "resnet50": 23_507_907,
    "swin_tiny": 27_514_365,
    "vgg16_bn": 134_280_131,
    "vit_tiny": 5_408_259,
}
"""Parameters of each network with its defaults, measured by benchmarks/parameters.py."""

_CARD = """\
{about}

Any number of input channels and classes. If the network does not support the image size, the image is padded on all
sides by reflection to the next size that it supports; images are never cropped or resampled.

`architecture` is timm's name and is fixed; `timm/NAME` accepts every name in timm. `pretrained=true` loads
timm's default weights from the hub, `pretrained=FILE` a local .safetensors, .pth or .pt file, also the weights of an
earlier run. A first layer for RGB is summed over its channels, and a head for other classes is replaced.

Source: {source}
"""


def _listed(name: str, baseline: Baseline) -> ModelSpec:
    defaults: dict[str, Any] = {"pretrained": False, "drop_rate": baseline.drop_rate}
    search_space: dict[str, Any] = {"drop_rate": [0.0, 0.2, 0.5]}
    if baseline.drop_path_rate is not None:
        defaults["drop_path_rate"] = baseline.drop_path_rate
        search_space["drop_path_rate"] = {"low": 0.0, "high": 0.3, "log": False}
    return ModelSpec(
        id=f"{NAMESPACE}/{name}",
        target=TARGET,
        arguments={"architecture": baseline.architecture},
        summary=baseline.summary,
        tags=("baseline", *baseline.tags),
        requires=("timm",),
        card=_CARD.format(about=baseline.note, source=f"{baseline.paper}; implementation of timm."),
        defaults=defaults,
        initialisers={"pretrained": False},
        paths=("pretrained",),
        search_space=search_space,
        parameters=PARAMETERS[name],
        training={"lr": baseline.lr, "weight_decay": baseline.weight_decay},
        bf16_devices=baseline.bf16_devices,
        cuda_graphs=True,
    )


_MUON = """\
Jordan et al. 2024, *Muon*, kellerjordan.github.io/posts/muon, as timm implements it. timm chooses by the shape of a
weight, whose axes but the first are one side of a matrix: meaningful where the first axis is that of the output
channels, as in p4m, its plain twins and ResNets, and not in octic and in depthwise kernels. Vectors, weights whose
second axis is 1, and matrices with a side below 4 (such as a head of three classes) or sides that differ by more than
128 times are trained with AdamW, with betas of 0.9 and 0.95. Steps have about the size of AdamW's (Liu et al. 2025,
arXiv:2502.16982), so learning rates of AdamW are a start. Networks that train in turns have optimisers of their own."""


@hookimpl
def zoo_optimizers() -> list[OptimizerSpec]:
    """Return the optimisers that are listed."""
    return [
        OptimizerSpec(
            id=f"{NAMESPACE}/muon",
            target="zoo_timm.optimizers:muon",
            summary="orthogonalised momentum for kernels of several channels, AdamW for the rest",
            requires=("timm",),
            card=_MUON,
        )
    ]


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Return the networks of the table."""
    return [_listed(name, baseline) for name, baseline in BASELINES.items()]


@hookimpl
def zoo_resolve_model(name: str) -> ModelSpec | None:
    """Return the spec of any timm architecture, such as "timm/resnet26d" or "timm/resnet50.a1_in1k".

    A name in the table, or timm's full name of the same network, gives the listed spec, so that a network has one id. A
    tag selects weights: `pretrained` is then true, unless timm has no weights with that tag.

    Args:
        name: Full id as the user wrote it; case is ignored.

    Raises:
        UsageError: The namespace is "timm", but timm has no architecture of this name. The error is raised here because
            only timm has the 1,300 names among which the nearest is found.
        MissingError: Timm cannot be imported.
    """
    namespace, _, wanted = name.strip().partition("/")
    if namespace.lower() != NAMESPACE or not wanted:
        return None
    for short, baseline in BASELINES.items():
        if wanted.lower() in (short, baseline.architecture):
            return _listed(short, baseline)

    from zoo_timm.architectures import find_architecture, has_weights

    architecture = find_architecture(wanted, also=tuple(BASELINES))
    tag = architecture.partition(".")[2]
    return ModelSpec(
        id=f"{NAMESPACE}/{architecture}",
        target=TARGET,
        arguments={"architecture": architecture},
        summary="an architecture of timm" + (f", with its weights '{tag}'" if tag else ""),
        tags=("baseline",),
        requires=("timm",),
        card=_CARD.format(
            about="This architecture is not in the plugin's table: its dropout is timm's default, and its training has "
            "not been tuned for lenses.",
            source="see `timm.models`, which names the paper in the module of each architecture.",
        ),
        # None for timm's default, since some architectures have neither.
        defaults={
            "pretrained": bool(tag) and has_weights(architecture),
            "drop_rate": None,
            "drop_path_rate": None,
        },
        initialisers={"pretrained": False},
        paths=("pretrained",),
    )
