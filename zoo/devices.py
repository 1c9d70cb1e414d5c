"""Resolve the requested device and the precision for it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from zoo.errors import MissingError, UsageError, nearest

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


def _surely_no_gpu() -> bool:
    """Return whether the device files rule out a GPU; importing torch to find out would take seconds."""
    nodes = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
    return platform.system() == "Linux" and not any(Path(node).exists() for node in nodes)


def resolve_precision(precision: str, device: str) -> Precision:
    """Return the precision for a device.

    Raises:
        UsageError: The name is unknown.
    """
    if precision == "auto":
        return "bf16" if device == "cuda" else "fp32"
    if precision not in PRECISIONS:
        raise UsageError(
            f"precision '{precision}' is not one of auto, {', '.join(PRECISIONS)}.{nearest(precision, PRECISIONS)}"
        )
    return precision
