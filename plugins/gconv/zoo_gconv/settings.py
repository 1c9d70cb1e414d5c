"""Fill in the default hyper-parameters of a network and check every value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from zoo.errors import UsageError, nearest
from zoo_gconv.catalogue import NETWORKS


def complete(
    model: str, *, in_chans: int, num_classes: int, image_size: int, hparams: Mapping[str, Any]
) -> dict[str, Any]:
    """Fill in the defaults of a small network, such as "p4m" or "z2", and check every value.

    Args:
        model: Name of the model in the catalogue.
        in_chans: Number of image channels.
        num_classes: Number of logits.
        image_size: Edge length of the images in pixels, which is only checked.
        hparams: Hyper-parameters set by the user. `kernel_sizes` and `strides` may be one number for all convolutions.

    Returns:
        The keyword arguments of `zoo_gconv.models.GroupNetwork`.

    Raises:
        UsageError: A name is unknown or a value is out of range.
    """
    values = _merged(model, in_chans=in_chans, num_classes=num_classes, image_size=image_size, hparams=hparams)
    widths = values["widths"]
    _check_counts(model, "widths", widths, "one for each convolution")
    for name in ("kernel_sizes", "strides"):
        if _is_whole(values[name]):
            values[name] = [values[name]] * len(widths)
        if not _is_list(values[name]) or len(values[name]) != len(widths):
            allowed = f"a whole number, or one for each of the widths {list(widths)}"
            _refuse(model, name, values[name], allowed)
    kernel_sizes, strides = values["kernel_sizes"], values["strides"]
    if any(kernel_size < 1 or kernel_size % 2 == 0 for kernel_size in kernel_sizes):
        _refuse(model, "kernel_sizes", kernel_sizes, "odd and positive, so that each kernel has a centre pixel")
    if any(stride not in (1, 2) for stride in strides):
        _refuse(model, "strides", strides, "1 or 2 each")

    size = image_size
    for place, (kernel_size, stride) in enumerate(zip(kernel_sizes, strides, strict=True), start=1):
        if kernel_size > size:
            allowed = (
                f"larger: convolution {place} of {len(widths)} has a kernel of {kernel_size} pixels and an input of "
                f"{size} pixels; smaller kernel_sizes or fewer strides of 2 also work"
            )
            _refuse(model, "image_size", image_size, allowed)
        size = -(-size // stride)
    return values


def complete_resnet(
    model: str, *, in_chans: int, num_classes: int, image_size: int, hparams: Mapping[str, Any]
) -> dict[str, Any]:
    """Fill in the defaults of "p4_resnet18" or "p4m_resnet18" and check every value.

    Returns:
        The keyword arguments of `zoo_gconv.resnet.GroupResNet`, and "init".
    """
    values = _merged(model, in_chans=in_chans, num_classes=num_classes, image_size=image_size, hparams=hparams)
    init = values["init"]
    if init is not None and (not isinstance(init, str) or not init):
        _refuse(model, "init", init, "null, a file of weights, or timm/resnet18")
    _check_counts(model, "widths", values["widths"], "one for each of the four stages", length=4)
    # 16 pixels become one pixel in the third stage, which the fourth stage cannot halve.
    if image_size < 17:
        _refuse(model, "image_size", image_size, "17 or more for five halvings")
    return values


def complete_cnn(
    model: str, *, in_chans: int, num_classes: int, image_size: int, hparams: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the checked arguments of `zoo_gconv.p4cnn.GroupCNN`, for "z2cnn", "p4cnn", "p4mcnn" or "p4cnn_pooled"."""
    values = _merged(model, in_chans=in_chans, num_classes=num_classes, image_size=image_size, hparams=hparams)
    if not _is_whole(values["width"]) or values["width"] < 1:
        _refuse(model, "width", values["width"], "a whole number, 1 or more")
    # Two layers, a max pool, four layers and the last 4x4 layer reduce 28 pixels to one; odd sizes round up.
    if image_size < 27:
        _refuse(model, "image_size", image_size, "27 or more for seven layers without padding")
    return values


def complete_convnext(
    model: str, *, in_chans: int, num_classes: int, image_size: int, hparams: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the checked arguments of `zoo_gconv.convnext.GroupConvNeXt`, for "p4m_convnext" or "octic"."""
    values = _merged(model, in_chans=in_chans, num_classes=num_classes, image_size=image_size, hparams=hparams)
    widths, blocks, kernel_size = values["widths"], values["blocks"], values["kernel_size"]
    _check_counts(model, "widths", widths, "one for each stage")
    _check_counts(model, "blocks", blocks, f"one for each of the widths {list(widths)}", length=len(widths))
    if not _is_whole(kernel_size) or kernel_size < 1 or kernel_size % 2 == 0:
        _refuse(model, "kernel_size", kernel_size, "odd and positive, so that the kernel has a centre pixel")
    smallest = max(kernel_size, 2 ** (len(widths) + 1))
    if image_size < smallest:
        reason = f"{smallest} or more, for {len(widths) + 1} halvings and a kernel of {kernel_size}"
        _refuse(model, "image_size", image_size, reason)
    return values


def complete_autoencoder(
    model: str, *, in_chans: int, num_classes: int, image_size: int, hparams: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the checked arguments of `zoo_gconv.autoencoder.GroupAutoEncoder`, for "p4m_ae"."""
    values = _merged(model, in_chans=in_chans, num_classes=num_classes, image_size=image_size, hparams=hparams)
    widths, latent, kernel_size = values["widths"], values["latent"], values["kernel_size"]
    _check_counts(model, "widths", widths, "one for each halving of the resolution")
    if not _is_whole(latent) or latent < 1:
        _refuse(model, "latent", latent, "a whole number, 1 or more")
    if not _is_whole(kernel_size) or kernel_size < 1 or kernel_size % 2 == 0:
        _refuse(model, "kernel_size", kernel_size, "odd and positive, so that the kernel has a centre pixel")
    if image_size < 2 ** len(widths):
        _refuse(model, "image_size", image_size, f"{2 ** len(widths)} or more, for {len(widths)} halvings")
    del values["num_classes"]
    return values


def _merged(
    model: str, *, in_chans: int, num_classes: int, image_size: int, hparams: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge defaults and settings; check names, shapes and the values that most networks have."""
    defaults = NETWORKS[model].defaults
    for name in hparams:
        if name not in defaults:
            known = ", ".join(defaults)
            raise UsageError(f"gconv/{model} has no hyper-parameter '{name}'; it has {known}.{nearest(name, defaults)}")
    for name, value in (("in_chans", in_chans), ("num_classes", num_classes), ("image_size", image_size)):
        if not _is_whole(value) or value < 1:
            _refuse(model, name, value, "a whole number, 1 or more")
    values = {**defaults, **hparams}
    if "pooling" in values and values["pooling"] not in ("max", "mean"):
        _refuse(model, "pooling", values["pooling"], "'max' or 'mean'")
    dropout = values.get("dropout", 0)
    if not (_is_whole(dropout) or isinstance(dropout, float)) or not 0 <= dropout < 1:
        _refuse(model, "dropout", dropout, "a number from 0 up to, but not including, 1")
    return {"in_chans": in_chans, "num_classes": num_classes, **values}


def _refuse(model: str, name: str, value: object, allowed: str) -> NoReturn:
    raise UsageError(f"gconv/{model}: {name} is {value!r}, but must be {allowed}.")


def _check_counts(model: str, name: str, value: Sequence[int], meaning: str, *, length: int | None = None) -> None:
    """Check that a value is a list of positive whole numbers, of the given length if `length` is set."""
    wrong = not _is_list(value) or not value or any(count < 1 for count in value)
    if wrong or (length is not None and len(value) != length):
        _refuse(model, name, value, f"a list of whole numbers, 1 or more, {meaning}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_whole, value))
