"""Choose the device and the precision of a training, here or for a plan; scores are computed in float32."""

from __future__ import annotations

import contextlib
import logging
import platform
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from zoo.errors import MissingError, UsageError, nearest
from zoo.plurals import counted
from zoo.processor import has_fast_bf16

logger = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda", "mps")
Precision: TypeAlias = Literal["fp32", "tf32", "bf16"]
"""Arithmetic of a training."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def resolve_device(device: str) -> str:
    """Return "cpu", "cuda" or "mps".

    Raises:
        UsageError: The name is unknown.
        MissingError: The device is not available.
    """
    if device not in DEVICES:
        raise UsageError(f"device '{device}' is not one of {', '.join(DEVICES)}.{nearest(device, DEVICES)}")
    if device == "cpu" or (device == "auto" and _surely_no_gpu()):
        return "cpu"
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    available = torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()
    if not available:
        raise MissingError(f"device '{device}' is not available on this machine.", hint="Try: --device cpu")
    return device


def device_here(device: str) -> str:
    """Return the device that this machine has for work that any device does; the CPU stands in for one that is absent.

    Raises:
        UsageError: The name is unknown.
    """
    try:
        return resolve_device(device)
    except MissingError:
        logger.warning("device '%s' is not available on this machine: the CPU is used", device)
        return "cpu"


def planned_device(device: str) -> str:
    """Return the device that a plan is made for: a device that is named need not be on this machine.

    Raises:
        UsageError: The name is unknown.
    """
    return device if device in DEVICES and device != "auto" else resolve_device(device)


def note_on_auto(device: str) -> str:
    """Return a sentence on a plan that is made for the CPU because no GPU was found, or ""."""
    if device != "auto" or planned_device(device) != "cpu":
        return ""
    return "no GPU was found on this machine, so the plan is for the CPU; to plan for GPUs elsewhere: --device cuda"


def note_on_processes(device: str, processes: int) -> str:
    """Return a sentence on a network that several processes train on the CPU because no GPU was found, or "".

    Args:
        device: Requested device.
        processes: Number of processes that train a network together.
    """
    if device != "auto" or processes == 1 or planned_device(device) != "cpu":
        return ""
    return f"no GPU was found: {counted(processes, 'process')} on CPU cores train each network"


def _surely_no_gpu() -> bool:
    """Return whether the device files rule out a GPU; importing torch to find out would take seconds."""
    nodes = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
    return platform.system() == "Linux" and not any(Path(node).exists() for node in nodes)


def resolve_precision(precision: str, device: str, *, bf16_devices: Collection[str] = ("cpu", "cuda")) -> Precision:
    """Return the precision of a training.

    Args:
        precision: "auto", or a precision. "auto" is bf16 on CUDA and on this machine's processor where bf16 is fast;
            "tf32" is "fp32" on other devices than CUDA.
        device: "cpu", "cuda" or "mps".
        bf16_devices: Devices on which "auto" may be bf16 (`ModelSpec.bf16_devices`).

    Raises:
        UsageError: The name is unknown.
    """
    if precision == "auto":
        fast = device in bf16_devices and (device == "cuda" or (device == "cpu" and has_fast_bf16()))
        return "bf16" if fast else "fp32"
    if precision not in PRECISIONS:
        raise UsageError(
            f"precision '{precision}' is not one of auto, {', '.join(PRECISIONS)}.{nearest(precision, PRECISIONS)}"
        )
    return "fp32" if precision == "tf32" and device != "cuda" else precision


def note_on_precision(device: str, precisions: Collection[str], *, own_fits: Collection[str] = ()) -> str:
    """Return a sentence on the processors that a plan for the CPU is made for, or "".

    Args:
        device: Requested device.
        precisions: Precisions of the plan's trainings.
        own_fits: Precisions of its networks that fit themselves, other than "fp32" where the request states one.
    """
    if planned_device(device) != "cpu":
        return ""
    if not precisions:
        stated = ", ".join(sorted({*own_fits} - {"fp32"}))
        return f"networks that fit themselves do not train with a precision: {stated} has no use" if stated else ""
    if "bf16" in precisions:
        return (
            "the plan is for processors with avx512_bf16 or amx; on others a training in bf16 takes several times as "
            "long; to plan for those: --precision fp32"
        )
    if has_fast_bf16():
        return ""
    return (
        "the plan is in float32, since this machine's processor has neither avx512_bf16 nor amx; to plan for "
        "processors that have one of them: --precision bf16"
    )


@contextlib.contextmanager
def in_float32() -> Iterator[None]:
    """Let convolutions and matrix products of float32 tensors use all digits, whatever a training has set."""
    import torch

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
