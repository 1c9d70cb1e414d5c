"""Specs of the networks that both plugin modules register. Imports nothing heavy."""

from __future__ import annotations

import copy
from typing import Any

from zoo.errors import UsageError
from zoo.specs import ModelSpec
from zoo_steerable.symmetry import NAMES, Symmetry, parse

# A layer's parameters grow as width^2 times the number of basis filters between two fields, and that number grows as
# the group's order; equal counts require widths in the ratio 1 / sqrt(order). A test checks the counts.
WIDTHS: dict[str, list[int]] = {
    "c4": [6, 8, 12, 14, 16],
    "c8": [4, 6, 8, 10, 12],
    "c16": [3, 4, 6, 7, 8],
    "d4": [4, 6, 8, 10, 12],
    "d8": [3, 4, 6, 7, 8],
    "so2": [6, 8, 10, 12, 24],
    "o2": [8, 10, 14, 18, 32],
    "cn": [4, 6, 8, 10, 12],
    "dn": [3, 5, 7, 8, 10],
}
PARAMETERS: dict[str, int] = {
    "c16": 23_721,
    "c4": 23_855,
    "c8": 24_127,
    "cn": 18_143,
    "d4": 24_127,
    "d8": 23_721,
    "dn": 24_705,
    "o2": 22_203,
    "so2": 19_843,
}
"""Parameters of each network with its defaults, in both libraries, measured by benchmarks/parameters.py."""
SHARED: dict[str, Any] = {
    "kernel_sizes": [7, 5, 5, 5, 5],
    "strides": [2, 2, 1, 1, 1],
    "frequency_cutoff": None,
}
DEFAULT_ORDER = 6
SHIPPED = {"escnn/c4": {data: f"weights/c4.{data}.safetensors" for data in ("modelA", "modelB")}}
"""Bundled weights, made by benchmarks/ship_weights.py."""
PUBLISHED = tuple(f"{name}_2021" for name in ("c4", "c8", "d4", "d8"))
PUBLISHED_DEFAULTS: dict[str, Any] = {
    "widths": [24, 48, 48, 96, 96, 64],
    "kernel_sizes": [7, 5, 5, 5, 5, 5],
    "frequency_cutoff": None,
}

CARD = """\
Steerable convolutions under {words}, with filters from {library} {version}. {promise}

Five convolutions, each with batch norm and a non-linearity. Two of them halve the resolution in a way that commutes
with the symmetries of the square at odd and even image sizes. The head pools over the group and over space
(`head=invariant`), or takes the flattened map (`head=flatten`), which is not invariant.

Hyper-parameters: `widths`, numbers of fields after each convolution; `kernel_sizes`; `strides`; `frequency_cutoff`,
highest angular frequency of a filter per pixel of radius, null for the library's rule; `nonlinearity`; `mask`, whether
images and the last pooling are cut to a disc; `head`; `dropout`{more}.

Source: Weiler & Cesa 2019, *General E(2)-Equivariant Steerable CNNs*, arXiv:1911.08251. The network that was published
for this task in 2021: {library}/d8_2021 and c4_2021, c8_2021, d4_2021.
"""
PUBLISHED_CARD = """\
The network that was published for this task in 2021 (DeepLense, equivariant networks; e2cnn), layer by layer, under
{words}: a disc, six steerable convolutions with 24, 48, 48, 96, 96, 64 regular fields and kernels 7, 5, 5, 5, 5, 5,
inner batch norm and ReLU, antialiased pooling after the 2nd, 4th and 6th, pooling over the group, and a flattened map
(64x26x26 for its images of 129x129) into Linear 64, batch norm, ELU and Linear. Because it is flattened, the network is
*not* invariant. It is large (hundreds of channels): use a GPU.

It was trained with Adam, learning rate 5e-5, weight decay 1e-5, batch 64, 30 to 40 epochs, augmentation by
rotations, 75,000 images. One-vs-rest AUC on Model A .9986 / .9942 / .9986 (c4) to .9991 / .9976 / .9995 (c8), with the
checkpoint chosen on the test set.
"""


def defaults_of(name: str) -> dict[str, Any]:
    """Return a copy of the hyper-parameters of a network."""
    finite = name not in ("so2", "o2")
    exact = name in ("c4", "d4")
    values = {
        "widths": WIDTHS[name],
        **SHARED,
        "nonlinearity": "relu" if finite else "gated",
        # Corners of a square rotated by 45 degrees leave the image, so an invariant network must not use them.
        "mask": not exact,
        "head": "invariant",
        "dropout": 0.0,
    }
    if name in ("cn", "dn"):
        values["order"] = DEFAULT_ORDER
    if not finite:
        values["max_frequency"] = 2
    return copy.deepcopy(values)


def search_space_of(name: str) -> dict[str, Any]:
    """Return the values that `zoo tune` tries."""
    width = list(WIDTHS[name])
    space: dict[str, Any] = {
        "widths": [width, [max(1, round(0.7 * w)) for w in width], [round(1.4 * w) for w in width]],
        "kernel_sizes": [[7, 5, 5, 5, 5], [5, 5, 5, 5, 5], [9, 7, 5, 5, 5], [7, 7, 7, 5, 5]],
        "strides": [[2, 2, 1, 1, 1], [2, 1, 2, 1, 1], [1, 2, 2, 1, 1]],
        "frequency_cutoff": [None, 1.0, 1.5, 2.0],
        "nonlinearity": ["relu", "elu"] if name not in ("so2", "o2") else ["gated", "norm"],
        "mask": [False, True],
        "head": ["invariant", "flatten"],
        "dropout": {"low": 0.0, "high": 0.5, "log": False},
    }
    if name in ("cn", "dn"):
        space["order"] = [2, 3, 4, 5, 6, 8, 10, 12, 16]
    if name in ("so2", "o2"):
        space["max_frequency"] = [1, 2, 3]
    return space


def words_of(name: str) -> str:
    """Describe the elements of a group in words."""
    if name in ("cn", "dn"):
        return f"rotations by 360 degrees / `order`{' and mirrors' if name == 'dn' else ''}"
    symmetry = parse(name) or Symmetry(0, False)
    turns = f"rotations by {360 / symmetry.order:g} degrees" if symmetry.order else "rotations by any angle"
    return turns + (" and mirrors" if symmetry.mirrors else "")


def specs(library: str, version: str) -> list[ModelSpec]:
    """Return the networks of one library, one for each group."""
    found = []
    for name in (*NAMES, "cn", "dn"):
        symmetry = parse(name)
        exact = symmetry is not None and symmetry.exact
        promise = (
            "The logits do not change, up to rounding, at every image size, trained or not."
            if exact
            else "Quarter turns (if the group contains them) and mirrors change the logits by rounding only, "
            "other angles also by the sampling on pixels."
        )
        more = {"cn": "; `order`", "dn": "; `order`", "so2": "; `max_frequency`", "o2": "; `max_frequency`"}.get(
            name, ""
        )
        found.append(
            ModelSpec(
                id=f"{library}/{name}",
                target="zoo_steerable.networks:build",
                arguments={"library": library, "group": name},
                summary=f"steerable, {words_of(name).replace('`', '')}; filters from {library}",
                tags=("convolutional", "small", "from-scratch", "equivariant", "steerable"),
                card=CARD.format(words=words_of(name), library=library, version=version, promise=promise, more=more),
                # The group of cn and dn depends on their order, so the network states it.
                group=name if symmetry else None,
                equivariance="exact" if exact else "approximate",
                defaults=defaults_of(name),
                search_space=search_space_of(name),
                parameters=PARAMETERS[name],
                training={"lr": 5e-3, "weight_decay": 1e-4},
                cuda_graphs=True,
                weights=SHIPPED.get(f"{library}/{name}", {}),
            )
        )
    return found


def resolve(library: str, name: str) -> ModelSpec | None:
    """Return the network of 2021 for an id such as "e2cnn/d8_2021"; it is not listed because of its size.

    Raises:
        UsageError: The name is a group of this library without a network of its own.
    """
    namespace, _, model = name.strip().lower().partition("/")
    if namespace != library:
        return None
    if model not in PUBLISHED:
        symmetry = parse(model)
        if symmetry is None:
            return None
        family = "dn" if symmetry.mirrors else "cn"
        offers = "escnn" if symmetry.order == 1 else library
        raise UsageError(
            f"Model '{library}/{model}' was not found; the number of rotations is a setting of {library}/{family}.",
            hint=f"Use: --model {offers}/{family} --set model.order={symmetry.order}",
        )
    group = model.partition("_")[0]
    return ModelSpec(
        id=f"{library}/{model}",
        target="zoo_steerable.networks:build_published",
        arguments={"library": library, "group": group},
        summary=f"the steerable network of 2021, {words_of(group)}; filters from {library}",
        tags=("convolutional", "large", "from-scratch", "steerable", "published"),
        card=PUBLISHED_CARD.format(words=words_of(group)),
        group=group,
        equivariance=None,
        defaults=copy.deepcopy(PUBLISHED_DEFAULTS),
        search_space={"frequency_cutoff": [None, 1.0, 1.5, 2.0]},
        training={"lr": 5e-5, "weight_decay": 1e-5, "augment": "rotate"},
    )
