"""Register the networks gconv/p4, gconv/p4m and gconv/z2."""

from __future__ import annotations

import copy
from typing import Any

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec

SHARED: dict[str, Any] = {
    # Every second convolution halves the resolution; the one after it works on what the halving left.
    "kernel_sizes": [5, 3, 3, 3, 3, 3],
    "strides": [2, 1, 2, 1, 2, 1],
    "dropout": 0.0,
}

# A layer's parameters grow as |G| * width^2, so equal counts ask for widths in the ratio 1 / sqrt(|G|).
# Rounding is spread over the layers so that the three counts agree within two per cent; a test holds this.
DEFAULTS: dict[str, dict[str, Any]] = {
    "p4": {"widths": [8, 8, 12, 14, 14, 20], **SHARED, "pooling": "max"},
    "p4m": {"widths": [6, 6, 8, 10, 10, 14], **SHARED, "pooling": "max"},
    "z2": {"widths": [17, 17, 23, 28, 27, 40], **SHARED},
}

SEARCH_SPACE: dict[str, Any] = {
    "kernel_sizes": [[5, 3, 3, 3, 3, 3], [7, 3, 3, 3, 3, 3], [7, 3, 5, 3, 3, 3], [7, 5, 5, 5, 3, 3]],
    "strides": [[2, 1, 2, 1, 2, 1], [2, 1, 2, 1, 1, 1], [2, 2, 1, 2, 1, 1], [1, 2, 2, 1, 2, 1]],
    "pooling": ["max", "mean"],
    "dropout": {"low": 0.0, "high": 0.5, "log": False},
}

CARD = """\
{promise}

One lifting convolution and {further} convolutions {filters}, each with batch norm and ReLU; down-sampling is
folded into the filters, so no full-resolution map is made. The head pools over the group, then over space.
p4, p4m and z2 differ in nothing but the group and the widths, chosen for equal parameter counts.

Source: Cohen & Welling 2016, *Group Equivariant Convolutional Networks*, arXiv:1602.07576; written anew.
"""


def _spec(name: str, *, symmetry: str, promise: str, filters: str, tags: tuple[str, ...]) -> ModelSpec:
    plain = name == "z2"
    # Specs are handed out: no two of them may share a list.
    defaults, search_space = copy.deepcopy((DEFAULTS[name], SEARCH_SPACE))
    search_space = {key: choices for key, choices in search_space.items() if key in defaults}
    return ModelSpec(
        id=f"gconv/{name}",
        target=f"zoo_gconv.models:{name}",
        summary=f"{symmetry}, {len(defaults['widths'])} layers, plain torch",
        tags=("convolutional", "small", "from-scratch", *tags),
        card=CARD.format(promise=promise, filters=filters, further=len(defaults["widths"]) - 1),
        group=None if plain else name,
        equivariance=None if plain else "exact",
        defaults=defaults,
        search_space=search_space,
        training={"lr": 5e-3, "weight_decay": 1e-4},
    )


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Return the two group networks and their plain twin."""
    exact = "at every image size, odd or even, trained or not, up to rounding."
    return [
        _spec(
            "p4",
            symmetry="group convolutions, quarter turns",
            promise=f"The logits do not change when the image is turned by 90, 180 or 270 degrees: {exact}",
            filters="on p4 (rotations by quarter turns)",
            tags=("equivariant",),
        ),
        _spec(
            "p4m",
            symmetry="group convolutions, quarter turns and mirrors",
            promise=f"The logits do not change when the image is turned by quarter turns or mirrored: {exact}",
            filters="on p4m (quarter turns and mirrors)",
            tags=("equivariant",),
        ),
        _spec(
            "z2",
            symmetry="plain convolutions, twin of p4 and p4m",
            promise="The control of p4 and p4m: no symmetry but translations, all else equal.",
            filters="of the ordinary kind",
            tags=("baseline",),
        ),
    ]
