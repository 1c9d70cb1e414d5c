"""Fill in the default hyper-parameters of a network and check every value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from zoo.errors import UsageError, nearest
from zoo_steerable.symmetry import MOST


def complete(
    model: str,
    defaults: Mapping[str, Any],
    *,
    in_chans: int,
    num_classes: int,
    image_size: int,
    hparams: Mapping[str, Any],
) -> dict[str, Any]:
    """Fill in the defaults and check every value.

    Args:
        model: Id of the model, for error messages.
        defaults: Default hyper-parameters.
        in_chans: Number of image channels.
        num_classes: Number of logits.
        image_size: Edge length of the images in pixels.
        hparams: Hyper-parameters set by the user. `kernel_sizes` and `strides` may be one number for all convolutions.

    Returns:
        All hyper-parameters.

    Raises:
        UsageError: A name is unknown or a value is out of range.
    """

    def refuse(name: str, value: object, allowed: str) -> NoReturn:
        raise UsageError(f"{model}: {name} is {value!r}, but must be {allowed}.")

    for name in hparams:
        if name not in defaults:
            raise UsageError(
                f"{model} has no hyper-parameter '{name}'; it has {', '.join(defaults)}.{nearest(name, defaults)}"
            )
    values = {**defaults, **hparams}
    for name, value in (("in_chans", in_chans), ("num_classes", num_classes), ("image_size", image_size)):
        if not _is_whole(value) or value < 1:
            refuse(name, value, "a whole number, 1 or more")
    least = 2 if model.startswith("e2cnn/") else 1  # e2cnn has other classes for a group without rotations
    if "order" in values and not (_is_whole(values["order"]) and least <= values["order"] <= MOST):
        refuse("order", values["order"], f"a whole number of rotations, from {least} to {MOST}")

    widths = values["widths"]
    if not _is_list(widths) or not widths or any(width < 1 for width in widths):
        refuse("widths", widths, "a list of whole numbers, 1 or more: the fields after each convolution")
    for name in ("kernel_sizes", "strides"):
        if name not in values:
            continue
        if _is_whole(values[name]):
            values[name] = [values[name]] * len(widths)
        if not _is_list(values[name]) or len(values[name]) != len(widths):
            refuse(name, values[name], f"a whole number, or one for each of the widths {list(widths)}")
    if any(kernel_size < 3 or kernel_size % 2 == 0 for kernel_size in values["kernel_sizes"]):
        refuse("kernel_sizes", values["kernel_sizes"], "odd numbers, 3 or more, so that a filter can have directions")
    if any(stride not in (1, 2) for stride in values.get("strides", ())):
        refuse("strides", values["strides"], "1 or 2 each")
    cutoff = values["frequency_cutoff"]
    if cutoff is not None and not (_is_number(cutoff) and 0 < cutoff <= 10):
        refuse(
            "frequency_cutoff",
            cutoff,
            "null (the library's rule) or a number above 0 and up to 10, per pixel of radius",
        )
    if "max_frequency" in values and not (_is_whole(values["max_frequency"]) and 1 <= values["max_frequency"] <= 8):
        refuse("max_frequency", values["max_frequency"], "a whole number from 1 to 8")
    if "mask" in values and not isinstance(values["mask"], bool):
        refuse("mask", values["mask"], "true or false")
    dropout = values.get("dropout", 0)
    if not _is_number(dropout) or not 0 <= dropout < 1:
        refuse("dropout", dropout, "a number from 0 up to, but not including, 1")
    return values


def choose(model: str, name: str, value: object, allowed: Sequence[str]) -> None:
    """Check that a value is one of the allowed names.

    Raises:
        UsageError: The value is not allowed.
    """
    if value not in allowed:
        words = " or ".join(map(repr, allowed))
        raise UsageError(f"{model}: {name} is {value!r}, but must be {words}.{nearest(str(value), allowed)}")


def fit(model: str, image_size: int, kernel_sizes: Sequence[int], strides: Sequence[int]) -> int:
    """Return the size of the last map, in pixels.

    Raises:
        UsageError: The kernel of a convolution is larger than its input.
    """
    size = image_size
    for place, (kernel_size, stride) in enumerate(zip(kernel_sizes, strides, strict=True), start=1):
        if kernel_size > size:
            raise UsageError(
                f"{model}: image_size is {image_size}, but must be larger: convolution {place} of {len(kernel_sizes)} "
                f"has a kernel of {kernel_size} pixels and an input of {size} pixels. Smaller kernel_sizes or fewer "
                "strides of 2 also work."
            )
        size = -(-size // stride)
    return size


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_whole, value))
