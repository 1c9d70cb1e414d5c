"""Complete a network's hyper-parameters, and refuse in words what cannot be built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from zoo.errors import UsageError, nearest
from zoo_gconv.plugin import DEFAULTS


def complete(
    model: str, *, in_chans: int, num_classes: int, image_size: int, hparams: Mapping[str, Any]
) -> dict[str, Any]:
    """Fill in the defaults and check every value.

    Args:
        model: "p4", "p4m" or "z2".
        in_chans: channels of the images.
        num_classes: number of logits.
        image_size: edge length of the images in pixels; it is checked, and then not needed.
        hparams: what the user set. `kernel_sizes` and `strides` may be one number for all convolutions.

    Returns:
        the keyword arguments of `zoo_gconv.models.GroupNetwork`.

    Raises:
        UsageError: unknown name, or a value outside its range.
    """
    defaults = DEFAULTS[model]

    def refuse(name: str, value: object, allowed: str) -> NoReturn:
        raise UsageError(f"gconv/{model}: {name} is {value!r}, but must be {allowed}.")

    for name in hparams:
        if name not in defaults:
            known = ", ".join(defaults)
            raise UsageError(f"gconv/{model}: no hyper-parameter '{name}'; it has {known}.{nearest(name, defaults)}")
    values = {**defaults, **hparams}

    for name, value in (("in_chans", in_chans), ("num_classes", num_classes), ("image_size", image_size)):
        if not _is_whole(value) or value < 1:
            refuse(name, value, "a whole number, 1 or more")

    widths = values["widths"]
    if not _is_list(widths) or not widths or any(width < 1 for width in widths):
        refuse("widths", widths, "a list of whole numbers, 1 or more, one for each convolution")
    for name in ("kernel_sizes", "strides"):
        if _is_whole(values[name]):
            values[name] = [values[name]] * len(widths)
        if not _is_list(values[name]) or len(values[name]) != len(widths):
            refuse(name, values[name], f"a whole number, or one for each of the {len(widths)} widths {list(widths)}")
    kernel_sizes, strides = values["kernel_sizes"], values["strides"]
    if any(kernel_size < 1 or kernel_size % 2 == 0 for kernel_size in kernel_sizes):
        refuse("kernel_sizes", kernel_sizes, "odd and positive, so that a kernel has a centre to turn about")
    if any(stride not in (1, 2) for stride in strides):
        refuse("strides", strides, "1 or 2 each")

    size = image_size
    for place, (kernel_size, stride) in enumerate(zip(kernel_sizes, strides, strict=True), start=1):
        if kernel_size > size:
            refuse(
                "image_size",
                image_size,
                f"larger: convolution {place} of {len(widths)} has a kernel of {kernel_size} and sees {size} pixels; "
                "smaller kernel_sizes or fewer strides of 2 would do as well",
            )
        size = -(-size // stride)

    if "pooling" in values and values["pooling"] not in ("max", "mean"):
        refuse("pooling", values["pooling"], "'max' or 'mean'")
    dropout = values["dropout"]
    if not (_is_whole(dropout) or isinstance(dropout, float)) or not 0 <= dropout < 1:
        refuse("dropout", dropout, "a number from 0 up to, but not including, 1")
    return {"in_chans": in_chans, "num_classes": num_classes, **values}


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_whole, value))
